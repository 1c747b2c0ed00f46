#include "sentry/boot/crash.h"

#include <execinfo.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>

#include "sentry/control/control.pb.h"

namespace msentry::boot {
namespace {

constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP};
constexpr size_t kStackBytes = 64 * 1024;
int report_fd = 2;
int client_fd = -1;
std::atomic<bool> reported{false};

// Not async-signal-safe in every step (backtrace, protobuf), and that is accepted: the process is
// lost anyway, and a second fault in here ends it at once.
void Report(int signal, siginfo_t* info, void* context) {
  if (reported.exchange(true)) _exit(125);
  char line[256];
  const ucontext_t* u = static_cast<const ucontext_t*>(context);
  unsigned long rip = u->uc_mcontext.gregs[REG_RIP];
  int n;
  if (signal == SIGSYS) {
    n = snprintf(line, sizeof line, "the sentry made host call %d, which it may not (rip %#lx)",
                 info->si_syscall, rip);
  } else {
    n = snprintf(line, sizeof line, "the sentry crashed: %s (rip %#lx, address %p)",
                 strsignal(signal), rip, info->si_addr);
  }
  (void)!write(report_fd, "E ", 2);
  (void)!write(report_fd, line, n);
  (void)!write(report_fd, "\n", 1);
  void* frames[64];
  backtrace_symbols_fd(frames, backtrace(frames, 64), report_fd);
  control::Event event;
  event.mutable_failed()->set_message(std::string(line) +
                                      "; this is a bug in msentry, the log has a backtrace");
  event.mutable_failed()->set_exit_code(125);
  std::string bytes = event.SerializeAsString();
  send(client_fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  _exit(125);
}

}  // namespace

void InstallCrashReport(int log_fd, int control_fd) {
  report_fd = log_fd;
  client_fd = control_fd;
  // backtrace() loads libgcc on its first call, which it could not do later.
  void* frame[1];
  backtrace(frame, 1);
  void* stack =
      mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (stack != MAP_FAILED) {
    stack_t alternate{};
    alternate.ss_sp = stack;
    alternate.ss_size = kStackBytes;
    sigaltstack(&alternate, nullptr);
  }
  struct sigaction action {};
  action.sa_sigaction = Report;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (int signal : kSignals) sigaction(signal, &action, nullptr);
}

}  // namespace msentry::boot
