#include "platform/ptrace/wait_or_kick.h"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "sentry/base/check.h"

extern "C" {
int msentry_wait_or_kick(const uint32_t* awake, int idtype, int id, siginfo_t* info, int options);
extern const char msentry_wait_begin[], msentry_wait_end[], msentry_wait_abort[];
void msentry_kick_restorer();
}

namespace msentry::platform::pt {
namespace {

int KickSignal() { return SIGRTMIN + 7; }

__attribute__((no_sanitize("address", "thread", "undefined"))) void OnKick(int, siginfo_t*,
                                                                           void* context) {
  greg_t& rip = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP];
  if (rip >= reinterpret_cast<greg_t>(msentry_wait_begin) &&
      rip < reinterpret_cast<greg_t>(msentry_wait_end)) {
    rip = reinterpret_cast<greg_t>(msentry_wait_abort);
  }
}

}  // namespace

void InstallKickHandler() {
  // The raw call: sanitizers wrap handlers and run them later, which would undo the point.
  struct KernelSigaction {
    void (*handler)(int, siginfo_t*, void*);
    uint64_t flags;
    void (*restorer)();
    uint64_t mask;
  } action = {OnKick, SA_SIGINFO | 0x04000000 /* SA_RESTORER */, msentry_kick_restorer, 0};
  CHECK(syscall(SYS_rt_sigaction, KickSignal(), &action, nullptr, sizeof(action.mask)) == 0);
}

int WaitOrKick(Kick& kick, siginfo_t* info, int options) {
  return msentry_wait_or_kick(reinterpret_cast<const uint32_t*>(&kick.awake), P_ALL, 0, info,
                              options);
}

void SendKick(Kick& kick) {
  if (kick.awake.exchange(1, std::memory_order_seq_cst) == 0) {
    syscall(SYS_tgkill, getpid(), kick.tid, KickSignal());
  }
}

}  // namespace msentry::platform::pt
