#include "sentry/kernel/pidfd.h"

#include "absl/strings/numbers.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "vfs/file_description.h"
#include "vfs/file_system.h"
#include "vfs/inode.h"
#include "vfs/mount.h"
#include "vfs/vfs.h"

namespace msentry::kernel {
namespace {

constexpr std::string_view kName = "anon_inode:[pidfd]";

class PidFd : public vfs::FileDescription {
 public:
  PidFd(vfs::Location location, int flags, RefPtr<ThreadGroup> group)
      : FileDescription(std::move(location), flags), group_(std::move(group)) {}

  sched::EventMask Readiness(sched::EventMask mask) override {
    return group_->is_zombie.load() ? mask & (sched::kIn | sched::kRdNorm) : 0;
  }
  sched::WaitQueue& wait_queue() override { return group_->exit_event; }
  std::string AnonymousName() const override { return std::string(kName); }
  std::string FdInfo() override {
    const int pid = group_->is_zombie.load() && group_->reaped ? -1 : group_->tgid();
    return absl::StrCat("Pid:\t", pid, "\nNSpid:\t", pid, "\n");
  }
  const RefPtr<ThreadGroup>& group() const { return group_; }

 private:
  const RefPtr<ThreadGroup> group_;
};

}  // namespace

RefPtr<vfs::FileDescription> MakePidFd(Task& task, RefPtr<ThreadGroup> group, int flags) {
  vfs::Vfs& vfs = task.kernel().vfs();
  vfs::Location location =
      vfs::MakeAnonymousLocation(vfs::MakeAnonymousInode(vfs, *task.creds(), 0600), kName);
  return MakeRef<PidFd>(std::move(location), O_RDWR | flags, std::move(group));
}

Result<RefPtr<ThreadGroup>> GroupOfProcDirectory(Task& task, int fd) {
  RefPtr<vfs::FileDescription> file = TRY(task.GetFile(fd, /*path_only_too=*/true));
  const vfs::Location& at = file->location();
  if (!at.mount || at.mount->fs().type() != "proc" || !file->inode().IsDir()) return Errno::kEBADF;
  const RefPtr<vfs::Dentry> parent = at.dentry->parent();
  int pid = 0;
  if (!parent || parent->parent() || !absl::SimpleAtoi(at.dentry->name(), &pid)) {
    return Errno::kEBADF;
  }
  RefPtr<ThreadGroup> group = task.kernel().FindThreadGroup(pid);
  if (!group) return Errno::kESRCH;
  return group;
}

Result<RefPtr<ThreadGroup>> GroupOfPidFd(Task& task, int fd) {
  RefPtr<vfs::FileDescription> file = TRY(task.GetFile(fd));
  // No RTTI: the name is ours alone.
  if (file->location().mount || file->AnonymousName() != kName) return Errno::kEBADF;
  return static_cast<PidFd&>(*file).group();
}

}  // namespace msentry::kernel
