// /proc/sysvipc/{shm,sem,msg}, and the limits in /proc/sys/kernel: of the reader's ipc namespace.
#include <algorithm>
#include <charconv>

#include "absl/strings/str_format.h"
#include "procfs/system_files.h"
#include "sentry/arch/registers.h"
#include "sentry/kernel/ipc/msg.h"
#include "sentry/kernel/ipc/sem.h"
#include "sentry/kernel/ipc/shm.h"

namespace msentry::procfs {

namespace {

using kernel::IpcLimits;
using kernel::IpcNamespace;
using pseudofs::MakeText;
using Text = Result<std::string>;

// The reader's; of the first namespace for a reader that is no task.
RefPtr<IpcNamespace> NamespaceOf(const ProcFs& fs, const vfs::OpContext& ctx) {
  auto* task = static_cast<kernel::Task*>(ctx.task);
  RefPtr<IpcNamespace> ns = task != nullptr ? task->ipc() : nullptr;
  return ns ? ns : fs.kernel().ipc();
}

Text Segments(const IpcNamespace& ns) {
  std::string s =
      absl::StrFormat("%10s %10s %5s %21s %5s %5s %6s %5s %5s %5s %5s %10s %10s %10s %21s %21s\n",
                      "key", "shmid", "perms", "size", "cpid", "lpid", "nattch", "uid", "gid",
                      "cuid", "cgid", "atime", "dtime", "ctime", "rss", "swap");
  for (const auto& object : ns.segments.All()) {
    auto& segment = static_cast<kernel::ShmSegment&>(*object);
    const uint64_t resident = segment.ResidentPages() * arch::kPageSize;
    const int key = ns.segments.KeyOf(segment);
    MutexLock lock(segment.mutex());
    if (segment.removed()) continue;
    const abi::Shmid64Ds i = segment.StatLocked();
    absl::StrAppendFormat(
        &s, "%10d %10d  %4o %21u %5u %5u  %5u %5u %5u %5u %5u %10d %10d %10d %21u %21u\n", key,
        segment.id(), i.perm.mode, i.segsz, i.cpid, i.lpid, i.nattch, i.perm.uid, i.perm.gid,
        i.perm.cuid, i.perm.cgid, i.atime, i.dtime, i.ctime, resident, 0);
  }
  return s;
}

Text Semaphores(const IpcNamespace& ns) {
  std::string s = absl::StrFormat("%10s %10s %5s %10s %5s %5s %5s %5s %10s %10s\n", "key", "semid",
                                  "perms", "nsems", "uid", "gid", "cuid", "cgid", "otime", "ctime");
  for (const auto& object : ns.semaphores.All()) {
    auto& set = static_cast<kernel::SemSet&>(*object);
    const int key = ns.semaphores.KeyOf(set);
    MutexLock lock(set.mutex());
    if (set.removed()) continue;
    const abi::Semid64Ds i = set.StatLocked();
    absl::StrAppendFormat(&s, "%10d %10d  %4o %10u %5u %5u %5u %5u %10d %10d\n", key, set.id(),
                          i.perm.mode, i.nsems, i.perm.uid, i.perm.gid, i.perm.cuid, i.perm.cgid,
                          i.otime, i.ctime);
  }
  return s;
}

Text Queues(const IpcNamespace& ns) {
  std::string s = absl::StrFormat(
      "%10s %10s %5s %11s %10s %5s %5s %5s %5s %5s %5s %10s %10s %10s\n", "key", "msqid", "perms",
      "cbytes", "qnum", "lspid", "lrpid", "uid", "gid", "cuid", "cgid", "stime", "rtime", "ctime");
  for (const auto& object : ns.queues.All()) {
    auto& queue = static_cast<kernel::MsgQueue&>(*object);
    const int key = ns.queues.KeyOf(queue);
    MutexLock lock(queue.mutex());
    if (queue.removed()) continue;
    const abi::Msqid64Ds i = queue.StatLocked();
    absl::StrAppendFormat(&s, "%10d %10d  %4o  %10u %10u %5u %5u %5u %5u %5u %5u %10d %10d %10d\n",
                          key, queue.id(), i.perm.mode, i.cbytes, i.qnum, i.lspid, i.lrpid,
                          i.perm.uid, i.perm.gid, i.perm.cuid, i.perm.cgid, i.stime, i.rtime,
                          i.ctime);
  }
  return s;
}

// The whitespace-separated numbers of a line written to a limit, each within [0, max]. EINVAL.
template <typename T>
Result<std::vector<T>> Numbers(std::string_view text, size_t most, T max) {
  constexpr std::string_view kSpace = " \t\n";
  std::vector<T> numbers;
  for (;;) {
    text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
    if (text.empty()) break;
    T value;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    if (error != std::errc() || (!text.empty() && kSpace.find(text[0]) == kSpace.npos))
      return Errno::kEINVAL;
    if (numbers.size() == most || value < 0 || value > max) return Errno::kEINVAL;
    numbers.push_back(value);
  }
  if (numbers.empty()) return Errno::kEINVAL;
  return numbers;
}

template <typename T>
void AddLimit(ProcFs& fs, pseudofs::StaticDir& dir, const char* name,
              std::atomic<T> IpcLimits::*limit, T max) {
  dir.Add(name,
          MakeText(
              fs, 0644,
              [&fs, limit](const vfs::OpContext& ctx) -> Text {
                return absl::StrCat((NamespaceOf(fs, ctx)->limits.*limit).load(), "\n");
              },
              [&fs, limit, max](const vfs::OpContext& ctx, std::string_view text) -> Result<> {
                const std::vector<T> numbers = TRY(Numbers<T>(text, 1, max));
                (NamespaceOf(fs, ctx)->limits.*limit).store(numbers[0]);
                return Ok();
              }));
}

Text SemLimits(const IpcLimits& l) {
  return absl::StrFormat("%d\t%d\t%d\t%d\n", l.semmsl.load(), l.semmns.load(), l.semopm.load(),
                         l.semmni.load());
}

Result<> SetSemLimits(IpcLimits& l, std::string_view text) {
  const std::vector<int> n = TRY(Numbers<int>(text, 4, INT32_MAX));
  constexpr int kMaxOperations = 32768;  // we keep them while they wait
  if ((n.size() > 2 && n[2] > kMaxOperations) || (n.size() > 3 && n[3] > kernel::kIpcMaxIds)) {
    return Errno::kEINVAL;
  }
  std::atomic<int>* const limits[] = {&l.semmsl, &l.semmns, &l.semopm, &l.semmni};
  for (size_t i = 0; i < n.size(); ++i) limits[i]->store(n[i]);
  return Ok();
}

}  // namespace

void AddSysvIpc(ProcFs& fs, pseudofs::StaticDir& root) {
  pseudofs::StaticDir& dir = root.Dir("sysvipc");
  auto add = [&](const char* name, Text (*generate)(const IpcNamespace&)) {
    dir.Add(name, MakeText(fs, 0444, [&fs, generate](const vfs::OpContext& ctx) {
              return generate(*NamespaceOf(fs, ctx));
            }));
  };
  add("shm", Segments);
  add("sem", Semaphores);
  add("msg", Queues);
}

void AddIpcLimits(ProcFs& fs, pseudofs::StaticDir& dir) {
  constexpr uint64_t kAny = UINT64_MAX;
  AddLimit(fs, dir, "shmmax", &IpcLimits::shmmax, kAny);
  AddLimit(fs, dir, "shmall", &IpcLimits::shmall, kAny);
  AddLimit(fs, dir, "shmmni", &IpcLimits::shmmni, kernel::kIpcMaxIds);
  AddLimit(fs, dir, "msgmax", &IpcLimits::msgmax, INT32_MAX);
  AddLimit(fs, dir, "msgmnb", &IpcLimits::msgmnb, INT32_MAX);
  AddLimit(fs, dir, "msgmni", &IpcLimits::msgmni, kernel::kIpcMaxIds);
  dir.Add("sem", MakeText(
                     fs, 0644,
                     [&fs](const vfs::OpContext& ctx) -> Text {
                       return SemLimits(NamespaceOf(fs, ctx)->limits);
                     },
                     [&fs](const vfs::OpContext& ctx, std::string_view text) -> Result<> {
                       return SetSemLimits(NamespaceOf(fs, ctx)->limits, text);
                     }));
}

}  // namespace msentry::procfs
