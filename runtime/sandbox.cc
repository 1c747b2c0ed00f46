// The client side of a sandbox: hands the config and descriptors to the supervisor, then listens.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cstring>
#include <mutex>

#include "runtime/config.h"
#include "runtime/handoff.h"
#include "runtime/msentry.h"
#include "runtime/packet_socket.h"
#include "runtime/spawn.h"
#include "runtime/state_directory.h"
#include "sentry/base/scoped_fd.h"
#include "sentry/control/control.pb.h"

#ifndef MSENTRY_VERSION
#define MSENTRY_VERSION "0"
#endif

namespace msentry {
namespace {

using runtime::HandoffFd;

bool Socketpair(int type, ScopedFd* ours, ScopedFd* theirs) {
  int pair[2];
  if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) != 0) return false;
  ours->Reset(pair[0]);
  theirs->Reset(pair[1]);
  return true;
}

ScopedFd ConfigFile(const control::Config& config) {
  ScopedFd fd(memfd_create("msentry-config", MFD_CLOEXEC));
  std::string bytes = config.SerializeAsString();
  size_t done = 0;
  while (fd && done < bytes.size()) {
    ssize_t n = write(fd.get(), bytes.data() + done, bytes.size() - done);
    if (n <= 0) return ScopedFd();
    done += n;
  }
  if (fd) lseek(fd.get(), 0, SEEK_SET);
  return fd;
}

}  // namespace

struct Sandbox::Impl {
  Config config;
  control::Config message;
  std::string binary;
  runtime::StateDirectory state;
  bool started = false;

  ScopedFd control, report, console;
  ScopedFd pipes[3];  // our ends
  pid_t supervisor = -1;
  ScopedFd supervisor_pidfd;
  ScopedFd events;        // epoll over the above
  std::mutex send_mutex;  // Kill() and Resize() come from any thread; guards sends on `control`

  std::vector<std::string> warnings;
  bool ended = false;
  ExitStatus status;
  bool have_status = false;

  bool PrepareStdio(std::vector<std::pair<int, int>>* descriptors, std::vector<ScopedFd>* theirs,
                    std::string* error);
  void Take(const control::Event& event);
  void Drain();
  void Finish(bool supervisor_failed, int supervisor_status);
  bool Reap(bool wait);
  bool Send(const control::Request& request);
};

Sandbox::Sandbox(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

std::unique_ptr<Sandbox> Sandbox::Create(const Config& config, std::string* error) {
  std::string ignored;
  if (error == nullptr) error = &ignored;
  auto impl = std::make_unique<Impl>();
  impl->config = config;
  if (!runtime::ConvertConfig(config, &impl->message, error)) return nullptr;
  impl->binary = runtime::FindBinary(config.msentry_binary, error);
  if (impl->binary.empty()) return nullptr;
  bool made =
      config.keep.empty()
          ? runtime::CreateStateDirectory(runtime::DefaultStateParent(), &impl->state, error)
          : runtime::OpenKeptStateDirectory(config.keep, &impl->state, error);
  if (!made) return nullptr;
  impl->message.set_state_directory(impl->state.path);
  impl->message.set_keep_state(impl->state.keep);
  return std::unique_ptr<Sandbox>(new Sandbox(std::move(impl)));
}

Sandbox::~Sandbox() { Close(); }

bool Sandbox::Impl::PrepareStdio(std::vector<std::pair<int, int>>* descriptors,
                                 std::vector<ScopedFd>* theirs, std::string* error) {
  const Stdio* modes[] = {&config.stdin_mode, &config.stdout_mode, &config.stderr_mode};
  bool terminal = false;
  for (int i = 0; i < 3; i++) {
    int fd = -1;
    switch (modes[i]->kind) {
      case Stdio::Kind::kFd:
        fd = modes[i]->fd;
        if (fcntl(fd, F_GETFD) < 0) {
          *error = "descriptor " + std::to_string(fd) + " for the program's " + std::to_string(i) +
                   " is not open";
          return false;
        }
        break;
      case Stdio::Kind::kPipe: {
        int pair[2];
        if (pipe2(pair, O_CLOEXEC) != 0) {
          *error = std::string("pipe: ") + strerror(errno);
          return false;
        }
        pipes[i].Reset(pair[i == 0 ? 1 : 0]);
        theirs->emplace_back(fd = pair[i == 0 ? 0 : 1]);
        break;
      }
      case Stdio::Kind::kNull:
        theirs->emplace_back(fd = open("/dev/null", O_RDWR | O_CLOEXEC));
        break;
      case Stdio::Kind::kTerminal:
        terminal = true;
        break;
      case Stdio::Kind::kClosed:
        break;
    }
    if (fd >= 0) descriptors->emplace_back(fd, HandoffFd::kGuestFd + i);
  }
  if (!terminal) return true;
  ScopedFd far;
  if (!Socketpair(SOCK_STREAM, &console, &far)) {
    *error = std::string("socketpair: ") + strerror(errno);
    return false;
  }
  descriptors->emplace_back(far.get(), HandoffFd::kConsoleFd);
  theirs->push_back(std::move(far));
  return true;
}

bool Sandbox::Start(std::string* error) {
  std::string ignored;
  if (error == nullptr) error = &ignored;
  Impl& s = *impl_;
  if (s.started) {
    *error = "the sandbox was started before";
    return false;
  }
  std::vector<std::pair<int, int>> descriptors;
  std::vector<ScopedFd> theirs;
  if (!s.PrepareStdio(&descriptors, &theirs, error)) return false;
  termios settings;
  if (s.config.guarded_terminal_fd >= 0 &&
      tcgetattr(s.config.guarded_terminal_fd, &settings) == 0) {
    s.message.set_terminal_settings(&settings, sizeof settings);
    descriptors.emplace_back(s.config.guarded_terminal_fd, HandoffFd::kTerminalFd);
  }
  ScopedFd control_far, report_far;
  ScopedFd config_fd = ConfigFile(s.message);
  if (!config_fd || !Socketpair(SOCK_SEQPACKET, &s.control, &control_far) ||
      !Socketpair(SOCK_SEQPACKET, &s.report, &report_far)) {
    *error = std::string("cannot prepare the sandbox: ") + strerror(errno);
    return false;
  }
  descriptors.emplace_back(config_fd.get(), HandoffFd::kConfigFd);
  descriptors.emplace_back(control_far.get(), HandoffFd::kControlFd);
  descriptors.emplace_back(report_far.get(), HandoffFd::kReportFd);
  descriptors.emplace_back(s.state.lock.get(), HandoffFd::kStateFd);
  if (s.config.log_fd >= 0 && fcntl(s.config.log_fd, F_GETFD) >= 0) {
    descriptors.emplace_back(s.config.log_fd, HandoffFd::kLogFd);
  }
  s.supervisor = runtime::SpawnSupervisor(s.binary, descriptors, error);
  if (s.supervisor < 0) return false;
  s.started = true;
  s.supervisor_pidfd.Reset(static_cast<int>(syscall(SYS_pidfd_open, s.supervisor, 0)));
  s.events.Reset(epoll_create1(EPOLL_CLOEXEC));
  for (int fd : {s.control.get(), s.report.get(), s.supervisor_pidfd.get()}) {
    epoll_event event{.events = EPOLLIN, .data = {}};
    epoll_ctl(s.events.get(), EPOLL_CTL_ADD, fd, &event);
  }
  return true;
}

int Sandbox::stdin_fd() const { return impl_->pipes[0].get(); }
int Sandbox::stdout_fd() const { return impl_->pipes[1].get(); }
int Sandbox::stderr_fd() const { return impl_->pipes[2].get(); }
void Sandbox::CloseStdin() { impl_->pipes[0].Reset(); }
int Sandbox::console_fd() const { return impl_->console.get(); }
int Sandbox::event_fd() const { return impl_->events.get(); }
const std::vector<std::string>& Sandbox::warnings() const { return impl_->warnings; }

bool Sandbox::Impl::Send(const control::Request& request) {
  std::lock_guard<std::mutex> lock(send_mutex);
  return started && runtime::SendMessage(control.get(), request);
}

bool Sandbox::Resize(const WindowSize& size) {
  control::Request request;
  control::WindowSize* window = request.mutable_resize();
  window->set_rows(size.rows);
  window->set_columns(size.columns);
  window->set_x_pixels(size.x_pixels);
  window->set_y_pixels(size.y_pixels);
  return impl_->Send(request);
}

bool Sandbox::Kill(int signal, bool foreground) {
  if (signal < 0 || signal > 64) return false;
  control::Request request;
  request.mutable_signal()->set_number(signal);
  request.mutable_signal()->set_foreground(foreground);
  return impl_->Send(request);
}

void Sandbox::Impl::Take(const control::Event& event) {
  switch (event.kind_case()) {
    case control::Event::kWarning:
      warnings.push_back(event.warning());
      break;
    case control::Event::kExited: {
      if (have_status) break;
      have_status = true;
      int wait_status = event.exited().wait_status();
      status.timed_out = event.exited().timed_out();
      status.out_of_memory = event.exited().out_of_memory();
      status.kind =
          WIFSIGNALED(wait_status) ? ExitStatus::Kind::kSignaled : ExitStatus::Kind::kExited;
      status.code = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
      break;
    }
    case control::Event::kFailed:
      if (have_status) break;
      have_status = true;
      status.kind = ExitStatus::Kind::kFailed;
      status.code = event.failed().exit_code();
      status.message = event.failed().message();
      break;
    default:
      break;
  }
}

// Events of the sentry first: what it says about the program counts more than what the supervisor
// saw of the sentry.
void Sandbox::Impl::Drain() {
  for (int fd : {control.get(), report.get()}) {
    if (fd < 0) continue;
    control::Event event;
    runtime::Receive got;
    while ((got = runtime::ReceiveMessage(fd, &event)) == runtime::Receive::kMessage) Take(event);
    // An end of file is readable for ever: nothing more to wait for here.
    if (got == runtime::Receive::kEnd) epoll_ctl(events.get(), EPOLL_CTL_DEL, fd, nullptr);
  }
}

void Sandbox::Impl::Finish(bool supervisor_failed, int supervisor_status) {
  Drain();
  if (!have_status) {
    have_status = true;
    status.kind = ExitStatus::Kind::kFailed;
    status.code = 125;
    status.message = "the supervisor ended without a word";
    if (supervisor_failed && WIFSIGNALED(supervisor_status)) {
      int signal = WTERMSIG(supervisor_status);
      status.message = "the supervisor was killed by signal " + std::to_string(signal) + " (" +
                       strsignal(signal) + ")";
    }
  }
  // The supervisor has removed it, unless something killed the supervisor.
  if (!state.keep && !state.path.empty()) runtime::RemoveStateDirectory(state.path);
  state.lock.Reset();
  ended = true;
}

bool Sandbox::Impl::Reap(bool wait) {
  if (ended) return true;
  if (!started) {
    status.message = "the sandbox was not started";
    return true;
  }
  int wait_status = 0;
  pid_t got;
  do {
    got = waitpid(supervisor, &wait_status, wait ? 0 : WNOHANG);
  } while (got < 0 && errno == EINTR);
  if (got == 0) {
    Drain();
    return false;
  }
  // ECHILD: the program that embeds us has waited for it (or ignores SIGCHLD). The pidfd tells when
  // it is over.
  if (got < 0 && supervisor_pidfd) {
    pollfd p{supervisor_pidfd.get(), POLLIN, 0};
    while (poll(&p, 1, wait ? -1 : 0) < 0 && errno == EINTR) {
    }
    if (!(p.revents & POLLIN)) return false;
  }
  Finish(got > 0, wait_status);
  return true;
}

ExitStatus Sandbox::Wait() {
  impl_->Reap(true);
  return impl_->status;
}

bool Sandbox::Poll(ExitStatus* status) {
  if (!impl_->Reap(false)) return false;
  *status = impl_->status;
  return true;
}

void Sandbox::Close() {
  Impl& s = *impl_;
  if (s.started && !s.ended) {
    // The end of file on the report socket makes the supervisor end everything.
    shutdown(s.report.get(), SHUT_WR);
    s.Reap(true);
  } else if (!s.started && !s.state.keep && !s.state.path.empty()) {
    runtime::RemoveStateDirectory(s.state.path);
    s.state.path.clear();
  }
  for (ScopedFd& pipe : s.pipes) pipe.Reset();
  s.console.Reset();
}

const char* Version() { return MSENTRY_VERSION; }

}  // namespace msentry
