#include "procfs/process_dir.h"

#include <algorithm>
#include <charconv>

#include "procfs/access.h"
#include "procfs/process_files.h"
#include "vfs/mount_namespace.h"

namespace msentry::procfs {

namespace {

using MakeDir = RefPtr<vfs::Inode> (*)(ProcFs&, const Subject&, uint64_t);
using OpenFile = Result<RefPtr<vfs::FileDescription>> (*)(const View&, const vfs::OpenArgs&);

// Which files need the right to inspect the process (access.h), and when it is looked for.
enum class Inspect : uint8_t { kNo, kAtOpen, kAtRead };
// Which directories have the name.
enum class In : uint8_t { kBoth, kProcess, kThread };
// How lseek(2) treats SEEK_END: seq_file refuses it, simple files are empty to it.
enum class Seek : uint8_t { kSequence, kSimple };

// One name in a process's directory.
struct Entry {
  const char* name;
  uint32_t mode;  // with type
  Text (*read)(const View&) = nullptr;
  Result<> (*write)(const View&, std::string_view) = nullptr;
  Inspect inspect = Inspect::kNo;
  In in = In::kBoth;
  Seek seek = Seek::kSequence;
  bool pollable = false;
  OpenFile open = nullptr;  // instead of read
  MakeDir make_dir = nullptr;
  ProcessLink link = ProcessLink::kExe;
};

RefPtr<vfs::Inode> NetDir(ProcFs& fs, const Subject&, uint64_t) { return fs.net(); }

constexpr uint32_t kFile = S_IFREG | 0444, kPrivateFile = S_IFREG | 0400, kOwnFile = S_IFREG | 0644;
constexpr uint32_t kLink = S_IFLNK | 0777;

// In the order of Linux's tgid_base_stuff.
constexpr Entry kEntries[] = {
    {.name = "task", .mode = S_IFDIR | 0555, .in = In::kProcess, .make_dir = MakeTaskDir},
    {.name = "fd", .mode = S_IFDIR | 0500, .make_dir = MakeFdDir},
    {.name = "fdinfo", .mode = S_IFDIR | 0500, .make_dir = MakeFdInfoDir},
    {.name = "ns", .mode = S_IFDIR | 0511, .make_dir = MakeNsDir},
    {.name = "net", .mode = S_IFDIR | 0555, .make_dir = NetDir},
    {.name = "environ",
     .mode = kPrivateFile,
     .read = ReadEnviron,
     .inspect = Inspect::kAtOpen,
     .seek = Seek::kSimple},
    {.name = "auxv",
     .mode = kPrivateFile,
     .read = ReadAuxv,
     .inspect = Inspect::kAtOpen,
     .seek = Seek::kSimple},
    {.name = "status", .mode = kFile, .read = ReadStatus},
    {.name = "personality",
     .mode = kPrivateFile,
     .read = ReadPersonality,
     .inspect = Inspect::kAtRead},
    {.name = "limits", .mode = kFile, .read = ReadLimits},
    {.name = "sched", .mode = kOwnFile, .read = ReadSched, .write = AcceptWrite},
    {.name = "comm", .mode = kOwnFile, .read = ReadComm, .write = WriteComm},
    {.name = "syscall", .mode = kPrivateFile, .read = ReadSyscall, .inspect = Inspect::kAtRead},
    {.name = "cmdline", .mode = kFile, .read = ReadCmdline, .seek = Seek::kSimple},
    {.name = "stat", .mode = kFile, .read = ReadStat},
    {.name = "statm", .mode = kFile, .read = ReadStatm},
    {.name = "maps", .mode = kFile, .read = ReadMaps, .inspect = Inspect::kAtOpen},
    {.name = "children", .mode = kFile, .read = ReadChildren, .in = In::kThread},
    {.name = "numa_maps", .mode = kFile, .read = ReadNumaMaps, .inspect = Inspect::kAtOpen},
    {.name = "mem", .mode = S_IFREG | 0600, .inspect = Inspect::kAtOpen, .open = OpenMem},
    {.name = "cwd", .mode = kLink, .link = ProcessLink::kCwd},
    {.name = "root", .mode = kLink, .link = ProcessLink::kRoot},
    {.name = "exe", .mode = kLink, .link = ProcessLink::kExe},
    {.name = "mounts", .mode = kFile, .read = ReadMounts, .pollable = true},
    {.name = "mountinfo", .mode = kFile, .read = ReadMountInfo, .pollable = true},
    {.name = "mountstats",
     .mode = kPrivateFile,
     .read = ReadMountStats,
     .in = In::kProcess,
     .pollable = true},
    {.name = "clear_refs", .mode = S_IFREG | 0200, .write = WriteClearRefs, .seek = Seek::kSimple},
    {.name = "smaps", .mode = kFile, .read = ReadSmaps, .inspect = Inspect::kAtOpen},
    {.name = "smaps_rollup", .mode = kFile, .read = ReadSmapsRollup, .inspect = Inspect::kAtOpen},
    {.name = "pagemap", .mode = kPrivateFile, .inspect = Inspect::kAtOpen, .open = OpenPagemap},
    {.name = "attr", .mode = S_IFDIR | 0555, .make_dir = MakeAttrDir},
    {.name = "wchan", .mode = kFile, .read = ReadWchan},
    {.name = "stack", .mode = kPrivateFile, .read = ReadStack, .inspect = Inspect::kAtRead},
    {.name = "schedstat", .mode = kFile, .read = ReadSchedstat},
    {.name = "cpuset", .mode = kFile, .read = ReadCpuset},
    {.name = "cgroup", .mode = kFile, .read = ReadCgroup},
    {.name = "oom_score", .mode = kFile, .read = ReadOomScore},
    {.name = "oom_adj",
     .mode = kOwnFile,
     .read = ReadOomAdj,
     .write = WriteOomAdj,
     .seek = Seek::kSimple},
    {.name = "oom_score_adj",
     .mode = kOwnFile,
     .read = ReadOomScoreAdj,
     .write = WriteOomScoreAdj,
     .seek = Seek::kSimple},
    {.name = "loginuid",
     .mode = kOwnFile,
     .read = ReadLoginuid,
     .write = WriteLoginuid,
     .seek = Seek::kSimple},
    {.name = "sessionid", .mode = kFile, .read = ReadSessionid, .seek = Seek::kSimple},
    {.name = "coredump_filter",
     .mode = kOwnFile,
     .read = ReadCoredumpFilter,
     .write = WriteCoredumpFilter,
     .in = In::kProcess,
     .seek = Seek::kSimple},
    {.name = "io", .mode = kPrivateFile, .read = ReadIo, .inspect = Inspect::kAtRead},
    {.name = "uid_map", .mode = kOwnFile, .read = ReadIdMap, .write = WriteIdMap},
    {.name = "gid_map", .mode = kOwnFile, .read = ReadIdMap, .write = WriteIdMap},
    {.name = "projid_map", .mode = kOwnFile, .read = ReadIdMap, .write = WriteIdMap},
    {.name = "setgroups", .mode = kOwnFile, .read = ReadSetgroups, .write = WriteSetgroups},
    {.name = "timers", .mode = kFile, .read = ReadTimers, .in = In::kProcess},
    {.name = "timerslack_ns",
     .mode = S_IFREG | 0666,
     .read = ReadTimerslack,
     .write = WriteTimerslack,
     .in = In::kProcess},
};

bool Shows(const Subject& subject, const Entry& e) {
  return e.in == In::kBoth || (e.in == In::kThread) == (subject.thread != nullptr);
}

template <typename F>
auto WithView(const vfs::OpContext& ctx, ProcFs& fs, const Subject& subject, F f)
    -> decltype(f(std::declval<const View&>())) {
  RefPtr<kernel::Task> task = TRY(subject.Task());
  return f(View{ctx, fs, subject, *task, *subject.group});
}

// Keeps the owner of a subject's file up to date.
template <typename Base>
class OfSubject : public Base {
 public:
  OfSubject(ProcFs& fs, Subject subject, uint64_t index, uint32_t mode)
      : Base(fs, subject.Ino(index), mode), subject_(std::move(subject)) {
    Refresh();
  }
  ProcFs& proc() const { return static_cast<ProcFs&>(this->fs()); }

 protected:
  void Refresh() override {
    Owner owner = OwnerOf(subject_);
    this->CacheOwner(this->mode(), owner.uid, owner.gid);
  }
  const Subject subject_;
};

class ProcessFile : public OfSubject<pseudofs::TextInode> {
 public:
  ProcessFile(ProcFs& fs, Subject subject, uint64_t index, const Entry& entry)
      : OfSubject(fs, std::move(subject), index, entry.mode), entry_(entry) {}

  bool seeks_end() const override { return entry_.seek == Seek::kSimple; }
  bool pollable() const override { return entry_.pollable; }
  Errno mmap_error() const override { return Errno::kENODEV; }
  Result<> CheckOpen(const vfs::OpContext& ctx, int) override {
    if (entry_.inspect != Inspect::kAtOpen) return Ok();
    return CheckInspect(ctx.creds, ctx.tgid, *TRY(subject_.Task()));
  }
  Result<std::string> Generate(const vfs::OpContext& ctx) override {
    if (!entry_.read) return Errno::kEINVAL;
    return WithView(ctx, proc(), subject_, [&](const View& v) -> Text {
      if (entry_.inspect == Inspect::kAtRead) TRY(CheckInspect(ctx.creds, ctx.tgid, v.task));
      return entry_.read(v);
    });
  }
  Result<> Store(const vfs::OpContext& ctx, std::string_view text) override {
    if (!entry_.write) return Errno::kEINVAL;
    return WithView(ctx, proc(), subject_, [&](const View& v) { return entry_.write(v, text); });
  }
  Result<RefPtr<vfs::FileDescription>> Open(const vfs::OpContext& ctx,
                                            const vfs::OpenArgs& args) override {
    if (!entry_.open) return TextInode::Open(ctx, args);
    TRY(CheckOpen(ctx, args.flags));
    return WithView(ctx, proc(), subject_, [&](const View& v) { return entry_.open(v, args); });
  }

 private:
  const Entry& entry_;
};

class ProcessLinkInode : public OfSubject<pseudofs::PseudoInode> {
 public:
  ProcessLinkInode(ProcFs& fs, Subject subject, uint64_t index, const Entry& entry)
      : OfSubject(fs, std::move(subject), index, entry.mode), link_(entry.link) {}

  bool IsMagicLink() const override { return true; }
  Result<vfs::Location> FollowMagicLink(const vfs::OpContext& ctx) override {
    return WithView(ctx, proc(), subject_, [&](const View& v) -> Result<vfs::Location> {
      TRY(CheckInspect(ctx.creds, ctx.tgid, v.task));
      return FollowProcessLink(v, link_);
    });
  }
  Result<std::string> ReadLink(const vfs::OpContext& ctx) override {
    return WithView(ctx, proc(), subject_, [&](const View& v) -> Result<std::string> {
      TRY(CheckInspect(ctx.creds, ctx.tgid, v.task));
      return vfs::PathOf(TRY(FollowProcessLink(v, link_)), v.reader_root());
    });
  }

 private:
  const ProcessLink link_;
};

class ProcessDir : public SubjectDir {
 public:
  ProcessDir(ProcFs& fs, Subject subject) : SubjectDir(fs, std::move(subject), 0, S_IFDIR | 0555) {}

  Result<RefPtr<vfs::Inode>> Lookup(const vfs::OpContext&, std::string_view name) override {
    if (!subject().alive()) return Errno::kENOENT;
    for (size_t i = 0; i < std::size(kEntries); ++i) {
      const Entry& e = kEntries[i];
      if (name != e.name) continue;
      if (!Shows(subject(), e)) break;
      return Make(e, i + 1);
    }
    return Errno::kENOENT;
  }

  Result<std::vector<Name>> List(const vfs::OpContext&, int64_t from) override {
    std::vector<Name> names;
    if (!subject().alive()) return Errno::kENOENT;
    for (size_t i = from > 0 ? from - 1 : 0; i < std::size(kEntries); ++i) {
      const Entry& e = kEntries[i];
      if (!Shows(subject(), e)) continue;
      names.push_back(
          {e.name, static_cast<int64_t>(i + 1), subject().Ino(i + 1), vfs::DirentType(e.mode)});
    }
    return names;
  }

  Result<bool> Revalidate(const vfs::OpContext&, vfs::Dentry& child) override {
    if (child.inode()) static_cast<PseudoInode*>(child.inode())->RefreshNow();
    return subject().alive();
  }

 private:
  RefPtr<vfs::Inode> Make(const Entry& e, uint64_t index) {
    if (e.make_dir) return e.make_dir(proc(), subject(), index);
    if ((e.mode & S_IFMT) == S_IFLNK) {
      return MakeRef<ProcessLinkInode>(proc(), subject(), index, e);
    }
    return MakeRef<ProcessFile>(proc(), subject(), index, e);
  }
};

class SubjectDirFile : public vfs::DirectoryFile {
 public:
  using DirectoryFile::DirectoryFile;

 protected:
  // Positions from 2 on are a name's cookie plus 1.
  Result<int64_t> Iterate(const vfs::OpContext& ctx, int64_t position,
                          vfs::DirentSink sink) override {
    // First: the directory of a process that is gone is an error, not "." and ".." for ever.
    constexpr int64_t kFirstName = 2;
    const int64_t from = std::max(position, kFirstName) - 1;
    auto names = TRY(static_cast<SubjectDir&>(inode()).List(ctx, from));
    if (!EmitDots(&position, sink)) return position;
    for (const SubjectDir::Name& n : names) {
      if (!sink({.ino = n.ino, .next = n.cookie + 2, .type = n.type, .name = n.name})) break;
      position = n.cookie + 2;
    }
    return position;
  }
};

}  // namespace

SubjectDir::SubjectDir(ProcFs& fs, Subject subject, uint64_t index, uint32_t mode)
    : PseudoInode(fs, subject.Ino(index), mode), subject_(std::move(subject)), fixed_mode_(mode) {
  Refresh();
}

void SubjectDir::Refresh() {
  Owner owner = OwnerOf(subject_);
  CacheOwner(fixed_mode_, owner.uid, owner.gid);
}

Result<RefPtr<vfs::FileDescription>> SubjectDir::Open(const vfs::OpContext&,
                                                      const vfs::OpenArgs& args) {
  return RefPtr<vfs::FileDescription>(MakeRef<SubjectDirFile>(args.location, args.flags));
}

Result<RefPtr<vfs::Inode>> MakeProcessDir(ProcFs& fs, int tgid) {
  Subject subject{.kernel = &fs.kernel(), .group = fs.kernel().FindThreadGroup(tgid), .id = tgid};
  if (!subject.group) return Errno::kENOENT;
  return RefPtr<vfs::Inode>(MakeRef<ProcessDir>(fs, std::move(subject)));
}

Result<RefPtr<vfs::Inode>> MakeThreadDir(ProcFs& fs, const RefPtr<kernel::ThreadGroup>& group,
                                         int tid) {
  RefPtr<kernel::Task> task = fs.kernel().FindTask(tid);
  if (!task || &task->group() != group.get()) return Errno::kENOENT;
  Subject subject{.kernel = &fs.kernel(), .group = group, .thread = std::move(task), .id = tid};
  return RefPtr<vfs::Inode>(MakeRef<ProcessDir>(fs, std::move(subject)));
}

bool IsCurrent(vfs::Inode& inode) { return static_cast<SubjectDir&>(inode).subject().alive(); }

int ParseId(std::string_view name) {
  int id = -1;
  if (name.empty() || name.size() > 9 || (name[0] == '0' && name.size() > 1)) return -1;
  auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
  if (error != std::errc() || end != name.data() + name.size()) return -1;
  return id < 0 ? -1 : id;
}

}  // namespace msentry::procfs
