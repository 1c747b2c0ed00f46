// What the kernel log says of a program that dies of a fault, in Linux's words
// (arch/x86/mm/fault.c, traps.c): dmesg(1) is where people look for it.
#include "absl/strings/str_format.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"

namespace msentry::kernel {
namespace {

constexpr uint64_t kGeneralProtection = 13, kPageFault = 14;

// The trap's name in "trap NAME ip:..."; null: Linux says nothing of this one.
const char* TrapName(uint64_t trap) {
  switch (trap) {
    case 0:
      return "divide error";
    case 3:
      return "int3";
    case 4:
      return "overflow";
    case 5:
      return "bounds";
    case 6:
      return "invalid opcode";
    case 11:
      return "segment not present";
    case 12:
      return "stack segment";
    default:
      return nullptr;
  }
}

// " in NAME[START+SIZE]" for code that comes from a file.
std::string WhereOf(const mm::MemoryManager& memory, uint64_t address) {
  const std::optional<mm::Vma> vma = memory.Find(address);
  if (!vma || !vma->file) return "";
  const std::string path = vma->file->MapsPath();
  return absl::StrFormat(" in %s[%x+%x]", path.substr(path.rfind('/') + 1), vma->start,
                         vma->length());
}

}  // namespace

void Task::ReportFault(const platform::Event& event) {
  if (kernel_.exception_trace.load(std::memory_order_relaxed) == 0) return;
  const SigAction action = group_->handlers()->Get(event.signo);
  if (action.handler > 1 && tgid() != 1) return;  // the program deals with it
  const uint64_t ip = registers_.rip, sp = registers_.rsp, error = event.error_code;
  std::string text;
  if (event.trap_number == kPageFault) {
    if (event.signo != SIGSEGV) return;
    text = absl::StrFormat("%s[%d]: segfault at %x ip %016x sp %016x error %x", comm(), tid(),
                           event.address, ip, sp, error);
  } else if (event.trap_number == kGeneralProtection) {
    text = absl::StrFormat("traps: %s[%d] general protection ip:%x sp:%x error:%x", comm(), tid(),
                           ip, sp, error);
  } else if (const char* name = TrapName(event.trap_number)) {
    text = absl::StrFormat("traps: %s[%d] trap %s ip:%x sp:%x error:%x", comm(), tid(), name, ip,
                           sp, error);
  } else {
    return;
  }
  int suppressed = 0;
  if (!kernel_.dmesg().AllowBurst(kernel_.uptime_ns(), &suppressed)) return;
  if (suppressed > 0) {
    kernel_.Print(kLogWarning,
                  absl::StrFormat("%s: %d callbacks suppressed", "show_signal_msg", suppressed));
  }
  const bool is_init = event.trap_number == kPageFault && tgid() == 1;
  kernel_.Print(is_init ? kLogEmergency : kLogInfo, text + WhereOf(*mm_, ip));
}

}  // namespace msentry::kernel
