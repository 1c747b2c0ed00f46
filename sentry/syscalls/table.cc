#include "sentry/syscalls/table.h"

#include "sentry/syscalls/calls_cred.h"
#include "sentry/syscalls/calls_event.h"
#include "sentry/syscalls/calls_fd.h"
#include "sentry/syscalls/calls_futex.h"
#include "sentry/syscalls/calls_io.h"
#include "sentry/syscalls/calls_ipc.h"
#include "sentry/syscalls/calls_mm.h"
#include "sentry/syscalls/calls_mount.h"
#include "sentry/syscalls/calls_path.h"
#include "sentry/syscalls/calls_poll.h"
#include "sentry/syscalls/calls_process.h"
#include "sentry/syscalls/calls_rlimit.h"
#include "sentry/syscalls/calls_sched.h"
#include "sentry/syscalls/calls_session.h"
#include "sentry/syscalls/calls_signal.h"
#include "sentry/syscalls/calls_socket.h"
#include "sentry/syscalls/calls_splice.h"
#include "sentry/syscalls/calls_stat.h"
#include "sentry/syscalls/calls_system.h"
#include "sentry/syscalls/calls_time.h"

namespace msentry::syscalls {
namespace {

using Table = std::array<SyscallEntry, abi::kMaxSyscall>;

// Not constexpr on purpose: reaching it while the table is being joined stops the compiler.
void SyscallNumberStandsTwiceOrIsTooLarge() {}

template <size_t N>
constexpr void Join(Table& table, const SyscallEntry (&family)[N]) {
  for (const SyscallEntry& entry : family) {
    if (entry.number >= table.size() || table[entry.number].name != nullptr ||
        (entry.handler == nullptr) != (entry.support == Support::kUnsupported)) {
      SyscallNumberStandsTwiceOrIsTooLarge();
    }
    table[entry.number] = entry;
  }
}

constexpr Table kTable = [] {
  Table table{};
  Join(table, process_calls::kTable);
  Join(table, signal_calls::kTable);
  Join(table, time_calls::kTable);
  Join(table, futex_calls::kTable);
  Join(table, cred_calls::kTable);
  Join(table, sched_calls::kTable);
  Join(table, session_calls::kTable);
  Join(table, rlimit_calls::kTable);
  Join(table, system_calls::kTable);
  Join(table, mm_calls::kTable);
  Join(table, ipc_calls::kTable);
  Join(table, io_calls::kTable);
  Join(table, splice_calls::kTable);
  Join(table, fd_calls::kTable);
  Join(table, stat_calls::kTable);
  Join(table, path_calls::kTable);
  Join(table, mount_calls::kTable);
  Join(table, poll_calls::kTable);
  Join(table, event_calls::kTable);
  Join(table, socket_calls::kTable);
  return table;
}();

constexpr std::array<abi::SyscallArgSpecs, abi::kMaxSyscall> kArgSpecs = [] {
  std::array<abi::SyscallArgSpecs, abi::kMaxSyscall> specs{};
  for (size_t i = 0; i < specs.size(); i++) specs[i] = kTable[i].args;
  return specs;
}();

}  // namespace

const SyscallEntry* FindSyscall(uint64_t number) {
  if (number >= kTable.size() || kTable[number].name == nullptr) return nullptr;
  return &kTable[number];
}

const SyscallEntry* FindSyscall(std::string_view name) {
  for (const SyscallEntry& entry : kTable) {
    if (entry.name != nullptr && name == entry.name) return &entry;
  }
  return nullptr;
}

const abi::SyscallArgSpecs* ArgSpecs() { return kArgSpecs.data(); }

}  // namespace msentry::syscalls
