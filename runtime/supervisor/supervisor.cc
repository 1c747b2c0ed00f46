#include "runtime/supervisor/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "gofer/gofer.h"
#include "runtime/handoff.h"
#include "runtime/packet_socket.h"
#include "runtime/state_directory.h"
#include "runtime/supervisor/hidden_paths.h"
#include "runtime/supervisor/namespaces.h"
#include "sentry/base/landlock.h"
#include "sentry/base/log.h"
#include "sentry/base/scoped_fd.h"
#include "sentry/boot/boot.h"
#include "sentry/control/control.pb.h"

namespace msentry::runtime {
namespace {

// What the client left us. Taken before anything is opened, which could get the number of an absent
// one.
struct Inherited {
  Inherited() {
    ScopedFd* owners[kHandoffEnd] = {};
    owners[kConfigFd] = &config;
    owners[kControlFd] = &control;
    owners[kReportFd] = &report;
    owners[kStateFd] = &state;
    owners[kConsoleFd] = &console;
    owners[kLogFd] = &log;
    owners[kTerminalFd] = &terminal;
    for (int i = 0; i < 3; i++) owners[kGuestFd + i] = &guest[i];
    for (int fd = 0; fd < kHandoffEnd; fd++) {
      if (owners[fd] != nullptr && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0) owners[fd]->Reset(fd);
    }
  }
  // What only the sentry uses.
  void ResetGuestEnds() {
    control.Reset();
    console.Reset();
    for (ScopedFd& fd : guest) fd.Reset();
  }
  // What only the supervisor uses.
  void ResetOwn() {
    config.Reset();
    report.Reset();
    state.Reset();
    terminal.Reset();
  }
  ScopedFd config, control, report, state, console, log, terminal, guest[3];
};

bool ReadConfig(int fd, control::Config* config) {
  std::string bytes;
  char buffer[16384];
  ssize_t n;
  while ((n = read(fd, buffer, sizeof buffer)) > 0) bytes.append(buffer, n);
  return n == 0 && config->ParseFromString(bytes) && config->stdio_size() == 3;
}

void SetUpLog(const control::Config& config, int log) {
  LogLevel level = LogLevel::kWarning;
  if (config.log_level() == control::LOG_INFO) level = LogLevel::kInfo;
  if (config.log_level() == control::LOG_DEBUG) level = LogLevel::kDebug;
  if (config.strace().enabled() && level == LogLevel::kWarning) level = LogLevel::kInfo;
  // Also what libc and the sanitizers print goes there, and not to the guest's descriptors.
  if (log >= 0) dup2(log, 2);
  SetLog(2, level);
}

constexpr int kSentryLingersMs = 200;

// Version 2 is the first that lets files be renamed between directories.
constexpr int kLandlockForGofer = 2;

class Supervisor {
 public:
  Supervisor(Inherited fds, control::Config config)
      : fds_(std::move(fds)), config_(std::move(config)) {}

  int Run() {
    // Whatever is left when the sentry ends becomes ours to kill (hosts without pid namespaces).
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    // The parent is the client, or, when it is dead already, whoever adopts: then the report socket
    // has ended.
    client_.Reset(static_cast<int>(syscall(SYS_pidfd_open, getppid(), 0)));
    sigset_t signals;
    sigemptyset(&signals);
    for (int signal : {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT}) sigaddset(&signals, signal);
    sigprocmask(SIG_BLOCK, &signals, &old_mask_);
    signals_.Reset(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));

    if (Start()) Watch();
    EndEverything();
    if (!config_.keep_state()) RemoveStateDirectory(config_.state_directory());
    return 0;
  }

 private:
  gofer::Config GoferConfig() const {
    gofer::Config gofer;
    gofer.attaches.push_back(
        {.aname = boot::kLowerAttach, .host_path = config_.rootfs(), .read_only = true});
    // What the host refuses (an ordinary user gives no file away, nobody makes device nodes) is
    // kept beside the file.
    gofer.attaches.push_back({.aname = boot::kUpperAttach,
                              .host_path = UpperPath(config_.state_directory()),
                              .attributes = gofer::AttributePolicy::kMapped});
    for (int i = 0; i < config_.binds_size(); i++) {
      gofer.attaches.push_back({.aname = boot::kBindAttachPrefix + std::to_string(i),
                                .host_path = config_.binds(i).source(),
                                .read_only = config_.binds(i).read_only()});
    }
    gofer.hidden = HiddenPaths(config_);
    return gofer;
  }

  void Fail(const std::string& text) {
    control::Event event;
    event.mutable_failed()->set_message(text);
    event.mutable_failed()->set_exit_code(125);
    SendMessage(fds_.report.get(), event);
  }
  void TellKilled(bool timed_out) {
    control::Event event;
    event.mutable_exited()->set_wait_status(SIGKILL);
    event.mutable_exited()->set_timed_out(timed_out);
    SendMessage(fds_.report.get(), event);
  }

  // In a child: dies with us, and has none of what only the supervisor needs.
  void BecomeChild(const char* name) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, name);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
    signals_.Reset();
    client_.Reset();
    fds_.ResetOwn();
  }

  bool Start() {
    gofer::RaiseFdLimit();
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
      Fail(std::string("socketpair: ") + strerror(errno));
      return false;
    }
    ScopedFd sentry_end(pair[0]), gofer_end(pair[1]);
    gofer::Config gofer = GoferConfig();
    // An ordinary user's gofer does better outside the user namespace, where it sees who owns the
    // files it serves; Landlock keeps it to them. Root's namespace knows every id, and mounts of
    // one's own are the stronger wall.
    bool outside = geteuid() != 0 && LandlockAbi() >= kLandlockForGofer;
    if (outside) {
      for (gofer::AttachConfig& attach : gofer.attaches) {
        attach.uid_map = GuestAsHost(config_.user().uid(), config_.host_uid());
        attach.gid_map = GuestAsHost(config_.user().gid(), config_.host_gid());
      }
      if (!StartGofer(gofer, gofer_end, sentry_end)) return false;
    }
    namespaces_ = EnterNamespaces(config_);
    for (const std::string& warning : namespaces_.warnings) {
      control::Event event;
      event.set_warning(warning);
      SendMessage(fds_.report.get(), event);
    }
    // First in the new pid namespace, hence its pid 1.
    if (!StartSentry(sentry_end, gofer_end)) return false;
    for (gofer::AttachConfig& attach : gofer.attaches) {
      attach.uid_map = OwnerMap(namespaces_, config_.host_uid());
      attach.gid_map = OwnerMap(namespaces_, config_.host_gid());
    }
    if (!outside && !StartGofer(gofer, gofer_end, sentry_end)) return false;
    // The guest's descriptors are not ours to hold open: its readers wait for end of file.
    fds_.ResetGuestEnds();
    return true;
  }

  // What the host's user owns is the guest's user's, and the other way round when one is made.
  static std::vector<gofer::IdRange> GuestAsHost(uint32_t guest_id, uint32_t host_id) {
    if (guest_id == host_id) return {};
    return {{.inside = guest_id, .outside = host_id, .count = 1},
            {.inside = 0, .outside = 0, .count = UINT32_MAX}};
  }

  bool StartSentry(ScopedFd& own_end, ScopedFd& other_end) {
    sentry_ = fork();
    if (sentry_ > 0) return true;
    if (sentry_ < 0) {
      Fail(std::string("fork: ") + strerror(errno));
      return false;
    }
    BecomeChild("msentry-sentry");
    other_end.Reset();
    boot::Handoff handoff;
    handoff.config = config_;
    handoff.control = std::move(fds_.control);
    handoff.gofer = std::move(own_end);
    handoff.console = std::move(fds_.console);
    for (int i = 0; i < 3; i++) handoff.stdio[i] = std::move(fds_.guest[i]);
    handoff.own_namespaces = namespaces_.user || namespaces_.privileged;
    handoff.host_root = geteuid() == 0 && namespaces_.identity_ids;
    _exit(boot::Main(std::move(handoff)));
  }

  bool StartGofer(gofer::Config& config, ScopedFd& own_end, ScopedFd& other_end) {
    gofer_ = fork();
    if (gofer_ > 0) return true;
    if (gofer_ < 0) {
      Fail(std::string("fork: ") + strerror(errno));
      return false;
    }
    BecomeChild("msentry-gofer");
    other_end.Reset();
    fds_.ResetGuestEnds();
    config.connection_fds = {own_end.Release()};
    _exit(gofer::Main(config));
  }

  void Watch() {
    ScopedFd timer;
    if (config_.timeout_ms() > 0) {
      timer.Reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
      itimerspec when{};
      when.it_value.tv_sec = config_.timeout_ms() / 1000;
      when.it_value.tv_nsec = config_.timeout_ms() % 1000 * 1000000;
      timerfd_settime(timer.get(), 0, &when, nullptr);
    }
    for (;;) {
      pollfd fds[] = {{signals_.get(), POLLIN, 0},
                      {fds_.report.get(), POLLIN, 0},
                      {client_.get(), POLLIN, 0},
                      {timer.get(), POLLIN, 0}};
      int ready = poll(fds, 4, gofer_failure_.empty() ? -1 : kSentryLingersMs);
      if (ready == 0) return Fail(gofer_failure_);
      if (ready < 0) {
        if (errno == EINTR) continue;
        return;
      }
      if (fds[2].revents != 0 || (fds[1].revents & POLLHUP) != 0) return RestoreTerminal();
      if (fds[1].revents != 0) return TellKilled(false);  // it has closed its end, and listens
      if (fds[3].revents != 0) return TellKilled(true);
      signalfd_siginfo info;
      while (read(signals_.get(), &info, sizeof info) == sizeof info) {
        if (info.ssi_signo != SIGCHLD) return TellKilled(false);
      }
      if (ReapUntilEnd()) return;
    }
  }

  // The client died with its terminal in raw mode.
  void RestoreTerminal() {
    termios saved;
    if (config_.terminal_settings().size() != sizeof saved || !fds_.terminal) return;
    memcpy(&saved, config_.terminal_settings().data(), sizeof saved);
    tcsetattr(fds_.terminal.get(), TCSADRAIN, &saved);
  }

  // Collects dead children. true when the sandbox is over.
  bool ReapUntilEnd() {
    int status;
    pid_t pid;
    bool over = false;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
      if (pid == sentry_) {
        sentry_ = -1;
        over = true;
        if (WIFSIGNALED(status)) Fail(Describe("sentry", status));
      } else if (pid == gofer_) {
        gofer_ = -1;
        // When the sentry dies, the kernel kills the gofer with it and lets us see the gofer's end
        // first.
        if (sentry_ > 0 && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
          gofer_failure_ = Describe("gofer", status);
      }
    }
    return over;
  }

  static std::string Describe(const char* what, int status) {
    std::string text = std::string("the ") + what;
    if (WIFSIGNALED(status)) {
      int signal = WTERMSIG(status);
      return text + " was killed by signal " + std::to_string(signal) + " (" + strsignal(signal) +
             ")";
    }
    return text + " ended with status " + std::to_string(WEXITSTATUS(status)) + "; see the log";
  }

  void EndEverything() {
    for (pid_t pid : {sentry_, gofer_}) {
      if (pid > 0) kill(pid, SIGKILL);
    }
    // With a pid namespace, the kernel kills the rest before the sentry can be waited for. Without
    // one, orphans are our children now.
    for (;;) {
      pid_t pid = waitpid(-1, nullptr, WNOHANG);
      if (pid < 0) return;
      if (pid > 0) continue;
      KillChildren();
      waitpid(-1, nullptr, 0);
    }
  }

  static void KillChildren() {
    std::string self = std::to_string(getpid());
    FILE* file = fopen(("/proc/self/task/" + self + "/children").c_str(), "re");
    if (file == nullptr) return;
    int pid;
    while (fscanf(file, "%d", &pid) == 1) kill(pid, SIGKILL);
    fclose(file);
  }

  Inherited fds_;
  control::Config config_;
  Namespaces namespaces_;
  ScopedFd client_, signals_;
  sigset_t old_mask_{};
  pid_t sentry_ = -1, gofer_ = -1;
  std::string gofer_failure_;  // set while we wait to see whether the sentry was the first to die
};

}  // namespace

int SupervisorMain() {
  prctl(PR_SET_NAME, "msentry-super");
  Inherited fds;
  control::Config config;
  if (!fds.config || !ReadConfig(fds.config.get(), &config)) {
    fprintf(stderr, "msentry: `supervise` is started by msentry itself, not by hand\n");
    return 125;
  }
  SetUpLog(config, fds.log.get());
  return Supervisor(std::move(fds), std::move(config)).Run();
}

}  // namespace msentry::runtime
