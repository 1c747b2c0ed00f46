// The rest of the files at the top of /proc: what the kernel has, mostly lists that are empty.
#include "procfs/system_files.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_format.h"
#include "procfs/units.h"
#include "sentry/kernel/fd_table.h"
#include "sentry/kernel/kmsg.h"
#include "vfs/file_description.h"
#include "vfs/inode.h"
#include "vfs/locks.h"
#include "vfs/vfs.h"

namespace msentry::procfs {

namespace {

using pseudofs::MakeConstant;
using pseudofs::MakeText;
using Text = Result<std::string>;

Text Filesystems(const ProcFs& fs) {
  std::string s;
  for (const vfs::Vfs::FsType& type : fs.kernel().vfs().FsTypes()) {
    if (!type.user_mountable) continue;
    absl::StrAppendFormat(&s, "%s\t%s\n", type.nodev ? "nodev" : "", type.name);
  }
  return s;
}

Text Devices(const ProcFs& fs) {
  std::string s;
  for (uint32_t type : {S_IFCHR, S_IFBLK}) {
    s += type == S_IFCHR ? "Character devices:\n" : "\nBlock devices:\n";
    for (const vfs::DeviceRegistry::Entry& e : fs.kernel().vfs().devices().List()) {
      if (e.type == type) absl::StrAppendFormat(&s, "%3u %s\n", e.major, e.name);
    }
  }
  return s;
}

// Advisory locks, as fs/locks.c lists them, of every file that some process has open.
Text Locks(const ProcFs& fs) {
  std::string s;
  std::set<const vfs::Inode*> seen;
  int number = 0;
  ForEachOpenFile(fs.kernel(), [&](const RefPtr<vfs::FileDescription>& file) {
    vfs::Inode& inode = file->inode();
    const vfs::FileLocks* locks = inode.locks_if_any();
    if (locks == nullptr || !seen.insert(&inode).second) return;
    const uint64_t dev = inode.fs().dev();
    for (const vfs::FileLocks::Listed& l : locks->List()) {
      const char* kind = l.flock ? "FLOCK " : l.lock.owner.pid < 0 ? "OFDLCK" : "POSIX ";
      absl::StrAppendFormat(&s, "%d: %s ADVISORY  %s %d %02x:%02x:%u %d ", ++number, kind,
                            l.lock.type == vfs::LockType::kRead ? "READ " : "WRITE",
                            l.lock.owner.pid, vfs::DevMajor(dev), vfs::DevMinor(dev), inode.ino(),
                            l.lock.start);
      absl::StrAppend(&s, l.lock.end == UINT64_MAX ? "EOF" : absl::StrCat(l.lock.end - 1), "\n");
    }
  });
  return s;
}

// One line a user with processes: keys are not kept, but counted per user all the same.
Text KeyUsers(const ProcFs& fs) {
  std::set<auth::Uid> users{0};
  for (int tgid : fs.kernel().ThreadGroupIds()) {
    if (RefPtr<kernel::Task> task = fs.kernel().FindTask(tgid)) users.insert(task->creds()->uid);
  }
  std::string s;
  for (auth::Uid uid : users) {
    const bool root = uid == 0;
    absl::StrAppendFormat(&s, "%5u: %5d %d/%d %d/%d %d/%d\n", uid, 0, 0, 0, 0, root ? 1000000 : 200,
                          0, root ? 25000000 : 20000);
  }
  return s;
}

// sysrq.txt: the commands that mean something to a sandbox; the others print the help.
Result<> SysrqTrigger(kernel::Kernel& kernel, std::string_view text) {
  if (text.empty()) return Ok();
  switch (text[0]) {
    case 'b':
      kernel.Print(kernel::kLogInfo, "sysrq: SysRq : Resetting");
      kernel.KillAll(SIGHUP);
      return Ok();
    case 'o':
      kernel.Print(kernel::kLogInfo, "sysrq: SysRq : Power Off");
      kernel.KillAll(SIGINT);
      return Ok();
    case 'e':
      kernel.Print(kernel::kLogInfo, "sysrq: SysRq : Terminate All Tasks");
      return kernel.SignalEveryone(kernel::KernelSignal(SIGTERM), nullptr);
    case 'i':
      kernel.Print(kernel::kLogInfo, "sysrq: SysRq : Kill All Tasks");
      return kernel.SignalEveryone(kernel::KernelSignal(SIGKILL), nullptr);
    default:
      kernel.Print(kernel::kLogInfo,
                   "sysrq: SysRq : HELP : reboot(b) terminate-all-tasks(e) kill-all-tasks(i) "
                   "powerOff(o)");
      return Ok();
  }
}

class KmsgInode : public pseudofs::PseudoInode {
 public:
  explicit KmsgInode(ProcFs& fs) : PseudoInode(fs, fs.NextIno(), S_IFREG | 0400) {}
  Result<RefPtr<vfs::FileDescription>> Open(const vfs::OpContext& ctx,
                                            const vfs::OpenArgs& args) override {
    return kernel::OpenProcKmsg(static_cast<ProcFs&>(fs()).kernel(), ctx, args);
  }
};

void AddTtyFiles(ProcFs& fs, pseudofs::StaticDir& tty) {
  tty.Add("drivers", MakeConstant(fs,
                                  "/dev/tty             /dev/tty        5       0 system:/dev/tty\n"
                                  "/dev/console         /dev/console    5       1 system:console\n"
                                  "/dev/ptmx            /dev/ptmx       5       2 system\n"
                                  "pty_slave            /dev/pts      136 0-1048575 pty:slave\n"
                                  "pty_master           /dev/ptm      128 0-1048575 pty:master\n"));
  tty.Add("ldiscs", MakeConstant(fs, "n_tty       0\n"));
  tty.Dir("driver");
  tty.Dir("ldisc");
}

Text Cgroups(const ProcFs& fs) { return fs.kernel().cgroups().SummaryText(); }

}  // namespace

void AddFile(ProcFs& fs, pseudofs::StaticDir& dir, const char* name,
             Result<std::string> (*generate)(const ProcFs&)) {
  // The inode lives inside the file system: the reference holds.
  dir.Add(name,
          MakeText(fs, 0444, [&fs, generate](const vfs::OpContext&) { return generate(fs); }));
}

void ForEachOpenFile(kernel::Kernel& kernel,
                     absl::FunctionRef<void(const RefPtr<vfs::FileDescription>&)> visit) {
  std::set<const kernel::FdTable*> tables;
  for (int tgid : kernel.ThreadGroupIds()) {
    for (int tid : kernel.TaskIds(tgid)) {
      RefPtr<kernel::Task> task = kernel.FindTask(tid);
      RefPtr<kernel::FdTable> table = task ? task->fd_table_ref() : nullptr;
      if (!table || !tables.insert(table.get()).second) continue;
      for (int fd : table->OpenFds()) {
        if (Result<RefPtr<vfs::FileDescription>> file = table->Get(fd); file.ok()) visit(*file);
      }
    }
  }
}

void AddSystemFiles(ProcFs& fs, pseudofs::StaticDir& root) {
  AddMachineFiles(fs, root);
  AddMemoryFiles(fs, root);
  kernel::Kernel& kernel = fs.kernel();
  AddFile(fs, root, "cgroups", Cgroups);
  AddFile(fs, root, "filesystems", Filesystems);
  AddFile(fs, root, "devices", Devices);
  AddFile(fs, root, "locks", Locks);
  AddFile(fs, root, "key-users", KeyUsers);
  root.Add("version",
           MakeConstant(fs, absl::StrFormat("Linux version %s %s\n", kernel::Kernel::kRelease,
                                            kernel::Kernel::kVersion)));
  root.Add("cmdline", MakeConstant(fs, "BOOT_IMAGE=/vmlinuz-4.4.0-gvisor quiet\n"));
  root.Add("consoles", MakeConstant(fs, ""));
  root.Add("crypto", MakeConstant(fs, ""));
  root.Add("diskstats", MakeConstant(fs, ""));
  root.Add("dma", MakeConstant(fs, ""));
  root.Add("execdomains", MakeConstant(fs, "0-0\tLinux           \t[kernel]\n"));
  root.Add("fb", MakeConstant(fs, ""));
  root.Add("iomem", MakeConstant(fs, ""));
  root.Add("ioports", MakeConstant(fs, ""));
  root.Add("kallsyms", MakeConstant(fs, ""));
  root.Add("keys", MakeConstant(fs, ""));
  root.Add("kmsg", MakeRef<KmsgInode>(fs));
  root.Add("misc", MakeConstant(fs, "229 fuse\n"));
  root.Add("modules", MakeConstant(fs, ""));
  root.Add("mounts", pseudofs::MakeLink(fs, "self/mounts"));
  root.Add("partitions", MakeConstant(fs, ""));
  root.Add("schedstat", MakeConstant(fs, "version 15\ntimestamp 0\n"));
  root.Add("sysrq-trigger",
           MakeText(fs, 0200, {}, [&kernel](const vfs::OpContext&, std::string_view text) {
             return SysrqTrigger(kernel, text);
           }));
  // Buses, drivers and file systems that nothing here registers anything with.
  pseudofs::StaticDir& bus = root.Dir("bus");
  bus.Dir("input").Add("devices", MakeConstant(fs, ""));
  bus.Dir("input").Add("handlers", MakeConstant(fs, ""));
  bus.Dir("pci").Add("devices", MakeConstant(fs, ""));
  root.Dir("driver");
  root.Dir("fs");
  root.Dir("irq");
  AddTtyFiles(fs, root.Dir("tty"));
}

}  // namespace msentry::procfs
