#include "sentry/kernel/namespaces.h"

#include <sched.h>

#include <atomic>

#include "absl/strings/str_cat.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "vfs/inode.h"
#include "vfs/vfs.h"

namespace msentry::kernel {
namespace {

std::atomic<uint64_t> next_number{4026532200};

const char* NameOf(NamespaceKind kind) {
  switch (kind) {
    case NamespaceKind::kMount:
      return "mnt";
    case NamespaceKind::kUts:
      return "uts";
    case NamespaceKind::kCgroup:
      return "cgroup";
  }
  return "";
}

uint64_t NumberOf(const Namespaces& namespaces, NamespaceKind kind) {
  switch (kind) {
    case NamespaceKind::kMount:
      return namespaces.mounts->number();
    case NamespaceKind::kUts:
      return namespaces.uts->number();
    case NamespaceKind::kCgroup:
      return namespaces.cgroup->number;
  }
  return 0;
}

class NamespaceInode : public vfs::Inode {
 public:
  NamespaceInode(vfs::Vfs& vfs, NamespacesRef namespaces, NamespaceKind kind)
      : Inode(vfs.anonymous_fs(), NumberOf(*namespaces, kind), S_IFREG | 0444, 0, 0),
        namespaces_(std::move(namespaces)),
        kind_(kind) {}
  Result<vfs::Attributes> GetAttr(const vfs::OpContext&, vfs::AttrMask) override {
    vfs::Attributes a;
    a.ino = ino();
    a.mode = mode();
    return a;
  }
  Result<RefPtr<vfs::FileDescription>> Open(const vfs::OpContext&,
                                            const vfs::OpenArgs& args) override {
    if ((args.flags & O_ACCMODE) != O_RDONLY) return Errno::kEPERM;
    return RefPtr<vfs::FileDescription>(
        MakeRef<NamespaceFile>(args.location, args.flags, kind_, namespaces_));
  }

 private:
  const NamespacesRef namespaces_;
  const NamespaceKind kind_;
};

}  // namespace

const char NamespaceFile::kClassTag = 0;

uint64_t NewNamespaceNumber() { return next_number.fetch_add(1, std::memory_order_relaxed); }

UtsNamespace::UtsNamespace(uint64_t number, std::string hostname, std::string domainname)
    : number_(number), hostname_(std::move(hostname)), domainname_(std::move(domainname)) {}

std::string UtsNamespace::hostname() const {
  MutexLock lock(mutex_);
  return hostname_;
}
std::string UtsNamespace::domainname() const {
  MutexLock lock(mutex_);
  return domainname_;
}
void UtsNamespace::set_hostname(std::string name) {
  MutexLock lock(mutex_);
  hostname_.swap(name);
}
void UtsNamespace::set_domainname(std::string name) {
  MutexLock lock(mutex_);
  domainname_.swap(name);
}

std::string NamespaceName(const Namespaces& namespaces, NamespaceKind kind) {
  return absl::StrCat(NameOf(kind), ":[", NumberOf(namespaces, kind), "]");
}

vfs::Location NamespaceLocation(vfs::Vfs& vfs, NamespacesRef namespaces, NamespaceKind kind) {
  const std::string name = NamespaceName(*namespaces, kind);
  return vfs::MakeAnonymousLocation(MakeRef<NamespaceInode>(vfs, std::move(namespaces), kind),
                                    name);
}

// ---- Task's part ----

NamespacesRef Task::namespaces() const {
  MutexLock lock(info_mutex_);
  return namespaces_;
}

// What clone(2) or unshare(2) with `flags` gives; `fs` moves to the copy of the mounts.
Result<NamespacesRef> Task::NewNamespaces(uint64_t flags, FsContext& fs) {
  NamespacesRef now = namespaces();
  if (!(flags & kNamespacesHere)) return now;
  auto made = MakeRef<Namespaces>();
  made->mounts = now->mounts;
  made->uts = now->uts;
  made->cgroup = now->cgroup;
  if (flags & CLONE_NEWUTS) {
    made->uts =
        MakeRef<UtsNamespace>(NewNamespaceNumber(), now->uts->hostname(), now->uts->domainname());
  }
  if (flags & CLONE_NEWCGROUP) {
    made->cgroup = MakeRef<CgroupNamespace>(NewNamespaceNumber(), kernel_.cgroups().SetOf(cgroup));
  }
  if (flags & CLONE_NEWNS) {
    vfs::Location root = fs.root(), cwd = fs.cwd();
    made->mounts = TRY(now->mounts->Clone({&root, &cwd}));
    made->mounts->set_number(NewNamespaceNumber());
    fs.set_root(std::move(root));
    fs.set_cwd(std::move(cwd));
  }
  return NamespacesRef(std::move(made));
}

void Task::SetNamespaces(NamespacesRef namespaces) {
  MutexLock lock(info_mutex_);
  namespaces_.swap(namespaces);
}

Result<> Task::UnshareNamespaces(uint64_t flags) {
  if (flags & CLONE_NEWNS) UnshareFs();
  SetNamespaces(TRY(NewNamespaces(flags, *fs_)));
  return Ok();
}

Result<> Task::EnterNamespace(const NamespaceFile& file) {
  auto made = MakeRef<Namespaces>();
  const NamespacesRef now = namespaces();
  made->mounts = now->mounts;
  made->uts = now->uts;
  made->cgroup = now->cgroup;
  if (!HasCap(auth::Cap::kSysAdmin)) return Errno::kEPERM;
  switch (file.kind()) {
    case NamespaceKind::kMount: {
      if (!HasCap(auth::Cap::kSysChroot)) return Errno::kEPERM;
      if (fs_->ref_count() > 1) return Errno::kEINVAL;  // shared by CLONE_FS
      made->mounts = file.namespaces().mounts;
      const vfs::Location root = made->mounts->Root();
      fs_->set_root(root);
      fs_->set_cwd(root);
      break;
    }
    case NamespaceKind::kUts:
      made->uts = file.namespaces().uts;
      break;
    case NamespaceKind::kCgroup:
      made->cgroup = file.namespaces().cgroup;
      break;
  }
  SetNamespaces(NamespacesRef(std::move(made)));
  return Ok();
}

}  // namespace msentry::kernel
