#include "sentry/syscalls/strace.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bitset>

#include "absl/strings/str_format.h"
#include "sentry/syscalls/dispatch.h"
#include "sentry/syscalls/table.h"

namespace msentry::syscalls {
namespace {

constexpr size_t kShownBytes = 48;  // of a buffer
constexpr size_t kShownPath = 256;

std::atomic<bool> enabled{false};
std::bitset<abi::kMaxSyscall> traced;  // written before Run()
int trace_fd = -1;

struct FlagName {
  uint64_t bit;
  const char* name;
};

#define FLAG(name) \
  { static_cast<uint64_t>(name), #name }
constexpr FlagName kOpenFlags[] = {
    FLAG(O_CREAT),     FLAG(O_EXCL),     FLAG(O_NOCTTY),  FLAG(O_TRUNC),   FLAG(O_APPEND),
    FLAG(O_NONBLOCK),  FLAG(O_TMPFILE),  FLAG(O_SYNC),    FLAG(O_DSYNC),   FLAG(O_DIRECT),
    FLAG(O_DIRECTORY), FLAG(O_NOFOLLOW), FLAG(O_NOATIME), FLAG(O_CLOEXEC), FLAG(O_PATH)};
constexpr FlagName kAtFlags[] = {FLAG(AT_SYMLINK_NOFOLLOW), FLAG(AT_SYMLINK_FOLLOW),
                                 FLAG(AT_EMPTY_PATH), FLAG(AT_NO_AUTOMOUNT)};
constexpr FlagName kProtFlags[] = {FLAG(PROT_READ), FLAG(PROT_WRITE), FLAG(PROT_EXEC)};
constexpr FlagName kMapFlags[] = {FLAG(MAP_SHARED),    FLAG(MAP_PRIVATE),  FLAG(MAP_FIXED),
                                  FLAG(MAP_ANONYMOUS), FLAG(MAP_STACK),    FLAG(MAP_NORESERVE),
                                  FLAG(MAP_POPULATE),  FLAG(MAP_DENYWRITE)};
#undef FLAG

std::string Names(uint64_t value, std::span<const FlagName> names, std::string text) {
  for (const FlagName& flag : names) {
    if ((value & flag.bit) != flag.bit) continue;
    value &= ~flag.bit;
    absl::StrAppend(&text, text.empty() ? "" : "|", flag.name);
  }
  if (value != 0) absl::StrAppendFormat(&text, "%s%#x", text.empty() ? "" : "|", value);
  return text.empty() ? "0" : text;
}

std::string FlagText(uint16_t number, int index, uint64_t value) {
  switch (number) {
    case SYS_open:
    case SYS_openat: {
      static constexpr const char* kAccess[] = {"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"};
      return Names(value & ~uint64_t{O_ACCMODE}, kOpenFlags, kAccess[value & O_ACCMODE]);
    }
    case SYS_newfstatat:
    case SYS_linkat:
    case SYS_unlinkat:
    case SYS_fchownat:
    case SYS_utimensat:
    case SYS_faccessat2:
      if (number == SYS_unlinkat && value == AT_REMOVEDIR) return "AT_REMOVEDIR";
      return Names(value, kAtFlags, "");
    case SYS_statx:
      return index == 2 ? Names(value, kAtFlags, "") : absl::StrFormat("%#x", value);
    case SYS_mmap:
      if (index == 3) return Names(value, kMapFlags, "");
      [[fallthrough]];
    case SYS_mprotect:
      return value == 0 ? "PROT_NONE" : Names(value, kProtFlags, "");
  }
  return absl::StrFormat("%#x", value);
}

// Bytes as a C string literal, with "..." when there were more.
std::string Quoted(std::string_view bytes, bool cut) {
  std::string text = "\"";
  for (unsigned char c : bytes) {
    if (c == '\n') {
      text += "\\n";
    } else if (c == '\t') {
      text += "\\t";
    } else if (c == '\r') {
      text += "\\r";
    } else if (c == '"' || c == '\\') {
      text += '\\';
      text += static_cast<char>(c);
    } else if (c >= 0x20 && c < 0x7f) {
      text += static_cast<char>(c);
    } else {
      absl::StrAppendFormat(&text, "\\%o", c);
    }
  }
  return text + (cut ? "\"..." : "\"");
}

std::string BufferText(kernel::Task& task, uint64_t address, uint64_t length) {
  if (address == 0) return "NULL";
  char bytes[kShownBytes];
  const size_t shown = std::min<uint64_t>(length, sizeof bytes);
  Result<size_t> n =
      task.memory().CopyInSome(address, std::as_writable_bytes(std::span(bytes, shown)));
  if (!n.ok()) return absl::StrFormat("%#x", address);
  return Quoted({bytes, *n}, *n < length);
}

std::string PathText(kernel::Task& task, uint64_t address) {
  if (address == 0) return "NULL";
  char bytes[kShownPath];
  Result<size_t> n = task.memory().CopyInSome(address, std::as_writable_bytes(std::span(bytes)));
  if (!n.ok()) return absl::StrFormat("%#x", address);
  const size_t length = strnlen(bytes, *n);
  return Quoted({bytes, length}, length == *n);
}

// A register that the prototype may declare as int: small negative numbers in 32 bits are shown as
// such.
std::string IntText(uint64_t value) {
  if (value >> 32 == 0) return absl::StrCat(static_cast<int32_t>(value));
  return absl::StrCat(static_cast<int64_t>(value));
}

std::string ArgumentText(kernel::Task& task, const SyscallEntry& entry, const SyscallArgs& args,
                         int i, int64_t result) {
  const uint64_t value = args[i];
  const abi::ArgSpec& spec = entry.args.arg[i];
  switch (spec.kind) {
    case abi::ArgKind::kInt:
      return IntText(value);
    case abi::ArgKind::kFd:
      if (static_cast<int>(value) == AT_FDCWD) return "AT_FDCWD";
      return absl::StrCat(static_cast<int>(value));
    case abi::ArgKind::kFlags:
      return FlagText(entry.number, i, value);
    case abi::ArgKind::kMode:
      return absl::StrFormat("%#o", value & 0xffffffff);
    case abi::ArgKind::kSignal: {
      const char* name = sigabbrev_np(static_cast<int>(value));
      return name != nullptr ? absl::StrCat("SIG", name) : IntText(value);
    }
    case abi::ArgKind::kPath:
      return PathText(task, value);
    case abi::ArgKind::kBufferIn:
      return BufferText(task, value, args[spec.length_arg]);
    case abi::ArgKind::kBufferOut:
      if (result < 0) return absl::StrFormat("%#x", value);
      return BufferText(task, value, std::min<uint64_t>(result, args[spec.length_arg]));
    default:
      return value == 0 ? "NULL" : absl::StrFormat("%#x", value);
  }
}

}  // namespace

bool Traced(uint64_t number) {
  if (!enabled.load(std::memory_order_relaxed)) [[likely]]
    return false;
  return number < traced.size() && traced[number];
}

bool StraceEnabled() { return enabled.load(std::memory_order_relaxed); }

Result<> EnableStrace(std::string_view calls, int fd, std::string* bad) {
  traced.reset();
  if (calls.empty() || calls == "all") traced.set();
  while (!calls.empty() && calls != "all") {
    const std::string_view name = calls.substr(0, calls.find(','));
    calls.remove_prefix(std::min(calls.size(), name.size() + 1));
    const SyscallEntry* entry = FindSyscall(name);
    if (entry == nullptr) {
      *bad = std::string(name);
      return Errno::kEINVAL;
    }
    traced.set(entry->number);
  }
  trace_fd = fd;
  enabled.store(true);
  return Ok();
}

std::string FormatArguments(kernel::Task& task, const SyscallEntry& entry, const SyscallArgs& args,
                            int64_t result) {
  std::string text = absl::StrCat(entry.name, "(");
  for (int i = 0; i < 6 && entry.args.arg[i].kind != abi::ArgKind::kNone; i++) {
    absl::StrAppend(&text, i == 0 ? "" : ", ", ArgumentText(task, entry, args, i, result));
  }
  return text + ")";
}

std::string FormatResult(const SyscallEntry& entry, int64_t result) {
  if (result < 0 && result >= -4095) {
    const auto error = static_cast<Errno>(-result);
    switch (error) {
      case Errno::kERESTARTSYS:
        return "? ERESTARTSYS";
      case Errno::kERESTARTNOINTR:
        return "? ERESTARTNOINTR";
      case Errno::kERESTARTNOHAND:
        return "? ERESTARTNOHAND";
      case Errno::kERESTART_RESTARTBLOCK:
        return "? ERESTART_RESTARTBLOCK";
      default:
        return absl::StrCat("-1 ", ErrnoName(error));
    }
  }
  switch (entry.number) {
    case SYS_mmap:
    case SYS_mremap:
    case SYS_brk:
    case SYS_shmat:
      return absl::StrFormat("%#x", result);
  }
  return absl::StrCat(result);
}

void WriteTrace(kernel::Task& task, std::string_view arguments, std::string_view result) {
  std::string line = absl::StrFormat("[%5d] ", task.tid());
  line.append(arguments).append(" = ").append(result).append("\n");
  // A trace that cannot be written is no reason to disturb the guest.
  [[maybe_unused]] ssize_t n = write(trace_fd, line.data(), line.size());
}

}  // namespace msentry::syscalls
