#include "sentry/syscalls/dispatch.h"

#include <sys/syscall.h>

#include "sentry/base/log.h"
#include "sentry/syscalls/strace.h"
#include "sentry/syscalls/table.h"

namespace msentry::syscalls {
namespace {

uint64_t ResultRegister(const Result<int64_t>& result) {
  return result.ok() ? static_cast<uint64_t>(*result)
                     : -static_cast<uint64_t>(static_cast<int>(result.error()));
}

// Logs a call that nobody implements, once a number.
void NoteUnsupported(uint64_t number, const SyscallEntry* entry) {
  static std::atomic<bool> seen[abi::kMaxSyscall];
  if (number < abi::kMaxSyscall && seen[number].exchange(true, std::memory_order_relaxed)) return;
  LogInfo("syscalls: %s (%llu) is not supported", entry ? entry->name : "?",
          static_cast<unsigned long long>(number));
}

// Calls whose arguments are gone when they return.
bool ShownBefore(uint64_t number) {
  return number == SYS_execve || number == SYS_execveat || number == SYS_rt_sigreturn;
}

// The slow way, with --strace.
uint64_t DispatchTraced(kernel::Task& task, const SyscallEntry& entry, const SyscallArgs& args) {
  const bool exits = entry.number == SYS_exit || entry.number == SYS_exit_group;
  std::string text;
  if (exits) WriteTrace(task, FormatArguments(task, entry, args, 0), "?");
  if (ShownBefore(entry.number)) text = FormatArguments(task, entry, args, 0);
  const uint64_t rax = entry.handler == nullptr ? -static_cast<uint64_t>(Errno::kENOSYS)
                                                : ResultRegister(entry.handler(task, args));
  if (exits) return rax;
  const auto result = static_cast<int64_t>(rax);
  if (text.empty()) text = FormatArguments(task, entry, args, result);
  WriteTrace(task, text, FormatResult(entry, result));
  return rax;
}

}  // namespace

void Dispatch(kernel::Task& task, arch::Registers& regs) {
  const uint64_t number = regs.syscall_number();
  const SyscallEntry* entry = FindSyscall(number);
  if (entry == nullptr || entry->handler == nullptr) [[unlikely]] {
    NoteUnsupported(number, entry);
    if (entry == nullptr || !Traced(number)) {
      regs.rax = -static_cast<uint64_t>(Errno::kENOSYS);
      return;
    }
  }
  const SyscallArgs args{{regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9}};
  // The handler may replace the registers: the result is stored after it.
  const uint64_t rax = Traced(number) ? DispatchTraced(task, *entry, args)
                                      : ResultRegister(entry->handler(task, args));
  regs.rax = rax;
}

}  // namespace msentry::syscalls
