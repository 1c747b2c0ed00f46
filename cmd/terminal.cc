#include "cmd/terminal.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>

#include "sentry/base/scoped_fd.h"

namespace msentry::cmd {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kGrace{2};
constexpr int kLookForForegroundMs = 500;

// The terminal is ours, raw, while we are its foreground job. A background job that touched it
// would be stopped, guest and all.
class RawMode {
 public:
  explicit RawMode(bool wanted) : wanted_(wanted) { Enter(); }
  ~RawMode() { Restore(); }
  void Enter() {
    if (!waiting()) return;
    const pid_t foreground = tcgetpgrp(0);  // -1: not our controlling terminal, nobody stops us
    if (foreground >= 0 && foreground != getpgrp()) return;
    if (tcgetattr(0, &saved_) != 0) return;
    termios raw = saved_;
    cfmakeraw(&raw);
    active_ = tcsetattr(0, TCSADRAIN, &raw) == 0;
  }
  bool waiting() const { return wanted_ && !active_; }
  bool active() const { return active_; }
  void Restore() {
    if (active_) tcsetattr(0, TCSADRAIN, &saved_);
    active_ = false;
  }

 private:
  const bool wanted_;
  termios saved_{};
  bool active_ = false;
};

bool WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {
      pollfd p{fd, POLLOUT, 0};
      poll(&p, 1, -1);
      continue;
    }
    if (n <= 0) return false;
    bytes.remove_prefix(n);
  }
  return true;
}

class Attendance {
 public:
  Attendance(Sandbox& sandbox, const TerminalUse& use)
      : sandbox_(sandbox), raw_(use.is_terminal[0]), console_(sandbox.console_fd()) {
    input_open_ = use.is_terminal[0];
    for (int fd : {1, 2, 0}) {
      if (use.is_terminal[fd] && output_ < 0) output_ = fd;
    }
    sigset_t set;
    sigemptyset(&set);
    for (int signal : kSignals) sigaddset(&set, signal);
    sigprocmask(SIG_BLOCK, &set, &old_mask_);
    signals_.Reset(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    signal(SIGPIPE, SIG_IGN);
  }
  ~Attendance() { sigprocmask(SIG_SETMASK, &old_mask_, nullptr); }

  ExitStatus Run() {
    ExitStatus status;
    for (;;) {
      if (sandbox_.Poll(&status)) break;
      PrintWarnings();
      raw_.Enter();
      pollfd fds[] = {{sandbox_.event_fd(), POLLIN, 0},
                      {signals_.get(), POLLIN, 0},
                      {output_open_ ? console_ : -1, POLLIN, 0},
                      {input_open_ && raw_.active() ? 0 : -1, POLLIN, 0}};
      if (poll(fds, 4, Timeout()) < 0 && errno != EINTR) break;
      TakeSignals();
      if (fds[2].revents != 0) output_open_ = CopyOutput();
      if (fds[3].revents != 0) input_open_ = CopyInput();
      if (ending_ && Clock::now() >= deadline_) sandbox_.Close();
    }
    while (output_open_ && CopyOutput()) {
    }
    raw_.Restore();
    PrintWarnings();
    bool by_us =
        status.kind == ExitStatus::Kind::kSignaled && status.code == SIGKILL && ending_ != 0;
    if (by_us) status.code = ending_;
    return status;
  }

 private:
  static constexpr int kSignals[] = {SIGINT, SIGQUIT,  SIGTSTP, SIGCONT, SIGTERM,
                                     SIGHUP, SIGWINCH, SIGUSR1, SIGUSR2};

  int Timeout() const {
    // Nobody tells a job that runs already when it comes to the foreground.
    if (ending_ == 0) return raw_.waiting() ? kLookForForegroundMs : -1;
    auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - Clock::now()).count();
    return left < 0 ? 0 : static_cast<int>(left) + 1;
  }

  void PrintWarnings() {
    for (; printed_ < sandbox_.warnings().size(); printed_++) {
      std::string line =
          "msentry: warning: " + sandbox_.warnings()[printed_] + (raw_.active() ? "\r\n" : "\n");
      WriteAll(2, line);
    }
  }

  void TakeSignals() {
    signalfd_siginfo info;
    while (read(signals_.get(), &info, sizeof info) == sizeof info) {
      int signal = static_cast<int>(info.ssi_signo);
      switch (signal) {
        case SIGWINCH:
          sandbox_.Resize(CurrentWindowSize());
          break;
        case SIGTERM:
        case SIGHUP:
          // The second one does not wait.
          deadline_ = ending_ == 0 ? Clock::now() + kGrace : Clock::now();
          ending_ = signal;
          sandbox_.Kill(signal);
          break;
        case SIGTSTP:
          // Not typed (the terminal is raw then) but sent: stop with the guest's job, as it would
          // have been stopped.
          sandbox_.Kill(SIGTSTP, true);
          raw_.Restore();
          raise(SIGSTOP);
          raw_.Enter();
          sandbox_.Kill(SIGCONT, true);
          break;
        case SIGCONT:
          break;
        case SIGUSR1:
        case SIGUSR2:
          sandbox_.Kill(signal);
          break;
        default:
          sandbox_.Kill(signal, true);
      }
    }
  }

  bool CopyOutput() {
    char buffer[16384];
    ssize_t n = read(console_, buffer, sizeof buffer);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return true;
    return n > 0 && WriteAll(output_, {buffer, static_cast<size_t>(n)});
  }

  bool CopyInput() {
    char buffer[4096];
    ssize_t n = read(0, buffer, sizeof buffer);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return true;
    if (n > 0) return WriteAll(console_, {buffer, static_cast<size_t>(n)});
    // The terminal is gone: for the guest too.
    sandbox_.Kill(SIGHUP, true);
    return false;
  }

  Sandbox& sandbox_;
  RawMode raw_;
  const int console_;
  int output_ = -1;
  bool input_open_ = false;
  bool output_open_ = true;
  ScopedFd signals_;
  sigset_t old_mask_{};
  size_t printed_ = 0;
  int ending_ = 0;  // the signal that asked for the end
  Clock::time_point deadline_;
};

}  // namespace

TerminalUse FindTerminals() {
  TerminalUse use;
  for (int fd = 0; fd < 3; fd++) use.is_terminal[fd] = isatty(fd) == 1;
  return use;
}

WindowSize CurrentWindowSize() {
  for (int fd = 0; fd < 3; fd++) {
    winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_row > 0) {
      return {size.ws_row, size.ws_col, size.ws_xpixel, size.ws_ypixel};
    }
  }
  return {};
}

ExitStatus Attend(Sandbox& sandbox, const TerminalUse& use) {
  return Attendance(sandbox, use).Run();
}

}  // namespace msentry::cmd
