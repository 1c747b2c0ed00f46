#include "sentry/syscalls/dispatch.h"

#include "sentry/base/log.h"
#include "sentry/syscalls/table.h"

namespace msentry::syscalls {
namespace {

// Logs a call that nobody implements, once a number.
void NoteUnsupported(uint64_t number, const SyscallEntry* entry) {
  static std::atomic<bool> seen[abi::kMaxSyscall];
  if (number < abi::kMaxSyscall && seen[number].exchange(true, std::memory_order_relaxed)) return;
  LogInfo("syscalls: %s (%llu) is not supported", entry ? entry->name : "?",
          static_cast<unsigned long long>(number));
}

}  // namespace

void Dispatch(kernel::Task& task, arch::Registers& regs) {
  const uint64_t number = regs.syscall_number();
  const SyscallEntry* entry = FindSyscall(number);
  if (entry == nullptr || entry->handler == nullptr) [[unlikely]] {
    NoteUnsupported(number, entry);
    regs.rax = -static_cast<uint64_t>(Errno::kENOSYS);
    return;
  }
  const SyscallArgs args{{regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9}};
  Result<int64_t> result = entry->handler(task, args);
  regs.rax = result.ok() ? static_cast<uint64_t>(*result)
                         : -static_cast<uint64_t>(static_cast<int>(result.error()));
}

}  // namespace msentry::syscalls
