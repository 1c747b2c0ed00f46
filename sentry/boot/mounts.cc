#include "sentry/boot/mounts.h"

#include <cstring>

#include "fsimpl/cgroup/cgroup_fs.h"
#include "fsimpl/devtmpfs/devices.h"
#include "fsimpl/overlay/overlay.h"
#include "fsimpl/p9/p9.h"
#include "fsimpl/pipefs/pipe_file.h"
#include "fsimpl/sysfs/sysfs.h"
#include "fsimpl/tmpfs/tmpfs.h"
#include "sentry/boot/boot.h"
#include "sentry/kernel/kmsg.h"
#include "sentry/mm/io_sequence.h"
#include "vfs/file_io.h"
#include "vfs/operations.h"
#include "vfs/path_walk.h"

namespace msentry::boot {
namespace {

constexpr uint32_t kSafe = vfs::kMountNoSuid | vfs::kMountNoDev | vfs::kMountRelatime;

class Mounter {
 public:
  Mounter(kernel::Kernel& kernel, const MountOptions& options, std::string* why)
      : kernel_(kernel),
        options_(options),
        config_(options.config),
        why_(*why),
        creds_(AllPowerful()),
        ctx_(kernel.vfs(), *creds_) {
    ctx_.umask = 0;  // devices have the modes they are given
  }

  Result<> Run(ScopedFd gofer, std::string* cwd) {
    RegisterTypes();
    auto client = TRY(
        Explain("the gofer does not answer", p9::Connect(std::move(gofer), &kernel_.scheduler())));
    TRY(MountRoot(client));
    TRY(MountDev());
    TRY(MountSysAndProc());
    TRY(MountBelowDev());
    TRY(MountCgroups());
    vfs::Location covered = FindCoveredCwd();
    TRY(Mount("/tmp", TRY(Tmpfs(01777)),
              vfs::kMountNoSuid | vfs::kMountNoDev | vfs::kMountRelatime));
    if (covered) TRY(ShowCovered(covered));
    TRY(MountBinds(client));
    TRY(MountMore());
    kernel_.SetRoot(namespace_, root_);
    *cwd = TRY(ChooseCwd());
    return Ok();
  }

 private:
  static auth::CredsRef AllPowerful() {
    auto creds = MakeRef<auth::Credentials>();
    creds->permitted = creds->effective = auth::kAllCaps;
    return creds;
  }

  template <typename T>
  Result<T> Explain(const std::string& what, Result<T> result) {
    if (!result.ok()) why_ = what + ": " + strerror(static_cast<int>(result.error()));
    return result;
  }

  vfs::WalkContext Walk() const { return {ctx_, root_, root_}; }
  Result<vfs::Location> Resolve(const std::string& path) {
    return vfs::PathWalker(Walk(), vfs::kWalkFollow).Resolve(path);
  }

  // Types that a guest with the right to may mount itself.
  void RegisterTypes() {
    vfs::Vfs& vfs = kernel_.vfs();
    vfs.SetFifoOpener(pipefs::OpenFifo);
    devtmpfs::RegisterDevices(vfs);
    kernel::RegisterKmsg(vfs, kernel_);
    options_.devpts->Register(vfs);
    vfs.RegisterFsType({.name = "proc"},
                       [this_kernel = &kernel_, host = options_.host](
                           const vfs::OpContext&, std::string_view,
                           std::string_view) -> Result<RefPtr<vfs::FileSystem>> {
                         return procfs::Create(*this_kernel, {.host = host});
                       });
    cgroupfs::Register(vfs, kernel_.cgroups(), kernel_.cgroup_control());
    vfs.RegisterFsType(
        {.name = "sysfs"},
        [this_kernel = &kernel_](const vfs::OpContext&, std::string_view, std::string_view)
            -> Result<RefPtr<vfs::FileSystem>> { return MakeSysfs(*this_kernel); });
    vfs.RegisterFsType({.name = "tmpfs"}, [](const vfs::OpContext&, std::string_view,
                                             std::string_view data) { return MakeTmpfs(data); });
    // Listed, as in the peer; a second instance of these makes no sense.
    vfs.RegisterFsType({.name = "9p", .user_mountable = false}, {});
    vfs.RegisterFsType({.name = "overlay", .user_mountable = false}, {});
    vfs.RegisterFsType({.name = "devtmpfs", .user_mountable = false}, {});
  }

  static Result<RefPtr<vfs::FileSystem>> MakeTmpfs(std::string_view data) {
    return tmpfs::Create(TRY(tmpfs::ParseOptions(data)));
  }
  Result<RefPtr<vfs::FileSystem>> Tmpfs(uint32_t mode) {
    return Explain("tmpfs", tmpfs::Create({.max_bytes = config_.memory_bytes() / 2, .mode = mode}));
  }

  Result<> MountRoot(const std::shared_ptr<p9::Client>& client) {
    auto lower =
        TRY(Explain("root directory " + config_.rootfs(),
                    p9::NewFileSystem(client, {.aname = kLowerAttach, .read_only = true})));
    auto upper = TRY(Explain("writable layer in " + config_.state_directory(),
                             p9::NewFileSystem(client, {.aname = kUpperAttach})));
    overlay::Options layers{.lower = {lower}, .upper = upper};
    auto root = TRY(Explain("root directory", overlay::Create(ctx_, layers)));
    namespace_ = vfs::MountNamespace::Create(root, vfs::kMountRelatime);
    root_ = namespace_->Root();
    return Ok();
  }

  // The directory `path`, made with its parents where the root has none.
  Result<vfs::Location> EnsureDirectory(const std::string& path) {
    for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
      std::string prefix = path.substr(0, slash);
      Result<> made = vfs::Mkdir(Walk(), prefix, 0755);
      if (!made.ok() && made.error() != Errno::kEEXIST) return made.error();
      if (slash == std::string::npos) break;
    }
    return Resolve(path);
  }

  Result<> Mount(const std::string& path, RefPtr<vfs::FileSystem> fs, uint32_t flags) {
    auto at = TRY(Explain("mount point " + path, EnsureDirectory(path)));
    TRY(Explain("mount on " + path, namespace_->Attach(std::move(fs), at, flags)));
    return Ok();
  }

  Result<> MountSysAndProc() {
    TRY(Mount("/sys", MakeSysfs(kernel_), kSafe | vfs::kMountNoExec));
    auto proc = procfs::Create(kernel_, {.host = options_.host});
    return Mount("/proc", proc, kSafe | vfs::kMountNoExec);
  }
  static RefPtr<vfs::FileSystem> MakeSysfs(kernel::Kernel& kernel) {
    std::vector<sysfs::Device> devices;
    for (const devtmpfs::Node& node : devtmpfs::Nodes()) {
      if ((node.mode & S_IFMT) != S_IFCHR) continue;
      devices.push_back({node.name, vfs::DevMajor(node.rdev), vfs::DevMinor(node.rdev)});
    }
    return sysfs::Create(
        {.cpus = kernel.cpus(), .devices = std::move(devices), .memory = [&kernel] {
           const kernel::Kernel::MemoryFigures m = kernel.memory_figures();
           return sysfs::Memory{m.total, m.free, m.anonymous, m.mapped, m.shared, m.cached};
         }});
  }

  // A tmpfs with one directory a controller, where the sandbox sees its own group as the root.
  Result<> MountCgroups() {
    TRY(Mount("/sys/fs/cgroup", TRY(Tmpfs(0755)), kSafe | vfs::kMountNoExec));
    cgroup::Cgroups& cgroups = kernel_.cgroups();
    for (const auto& hierarchy : cgroups.Hierarchies()) {
      const std::string path = "/sys/fs/cgroup/" + hierarchy->Label();
      auto fs = TRY(Explain(
          path, cgroupfs::Create(cgroups, kernel_.cgroup_control(), {.kinds = hierarchy->kinds})));
      auto own = TRY(Explain(path, cgroupfs::Find(ctx_, *fs, *cgroups.SandboxGroup(*hierarchy))));
      auto at = TRY(Explain(path, EnsureDirectory(path)));
      TRY(Explain(path, namespace_->AttachSubtree(std::move(fs), std::move(own), at,
                                                  kSafe | vfs::kMountNoExec)));
    }
    return Ok();
  }

  Result<> MountDev() {
    auto dev = TRY(Explain(
        "devtmpfs", tmpfs::Create({.max_bytes = 1 << 20, .mode = 0755, .type = "devtmpfs"})));
    TRY(Mount("/dev", dev, vfs::kMountNoSuid | vfs::kMountRelatime));
    return Explain("devices in /dev", devtmpfs::Populate(ctx_, TRY(Resolve("/dev"))));
  }

  Result<> MountBelowDev() {
    TRY(Mount("/dev/pts", options_.devpts,
              vfs::kMountNoSuid | vfs::kMountNoExec | vfs::kMountRelatime));
    return Mount("/dev/shm", TRY(Tmpfs(01777)), kSafe);
  }

  // The working directory as it is before a private /tmp hides it.
  vfs::Location FindCoveredCwd() {
    const std::string& here = WantedCwd();
    if (config_.rootfs() != "/" || here.compare(0, 5, "/tmp/") != 0) return {};
    Result<vfs::Location> at = Resolve(here);
    return at.ok() ? *at : vfs::Location{};
  }
  Result<> ShowCovered(const vfs::Location& covered) {
    auto at = TRY(Explain("working directory " + WantedCwd(), EnsureDirectory(WantedCwd())));
    TRY(Explain("working directory " + WantedCwd(), namespace_->Bind(covered, at, false)));
    return Ok();
  }

  Result<> MountBinds(const std::shared_ptr<p9::Client>& client) {
    for (int i = 0; i < config_.binds_size(); i++) {
      const control::Bind& bind = config_.binds(i);
      std::string name = "bind " + bind.source() + " on " + bind.destination();
      auto fs = TRY(Explain(
          name, p9::NewFileSystem(client, {.aname = kBindAttachPrefix + std::to_string(i),
                                           .read_only = bind.read_only(),
                                           .cache = p9::CachePolicy::kRemoteRevalidating})));
      bool directory = fs->root()->inode()->IsDir();
      auto at = directory ? EnsureDirectory(bind.destination()) : EnsureFile(bind.destination());
      TRY(Explain(name, at));
      TRY(Explain(name, namespace_->Attach(fs, *at,
                                           kSafe | (bind.read_only() ? uint32_t{vfs::kMountReadOnly}
                                                                     : uint32_t{0}))));
    }
    return Ok();
  }

  // What a profile asks for.
  Result<> MountMore() {
    for (const control::Mount& mount : config_.mounts()) {
      const std::string name = "mount on " + mount.destination();
      const uint32_t flags = kSafe | (mount.read_only() ? uint32_t{vfs::kMountReadOnly} : 0u);
      if (mount.file()) {
        TRY(Explain(name, MountFile(mount, flags)));
        continue;
      }
      const uint64_t size =
          mount.size_bytes() > 0 ? mount.size_bytes() : config_.memory_bytes() / 2;
      auto fs = TRY(Explain(name, tmpfs::Create({.max_bytes = size, .mode = mount.mode()})));
      TRY(Mount(mount.destination(), std::move(fs), flags));
    }
    return Ok();
  }

  // A file with the given content, in a file system of its own.
  Result<> MountFile(const control::Mount& mount, uint32_t flags) {
    constexpr uint64_t kRoom = 64 << 10;
    const std::string& content = mount.content();
    auto fs = TRY(tmpfs::Create({.max_bytes = content.size() + kRoom, .mode = 0755}));
    auto holder = vfs::MountNamespace::Create(fs, 0);
    const vfs::Location root = holder->Root();
    auto file =
        TRY(vfs::Open({ctx_, root, root}, "content", {.flags = O_WRONLY | O_CREAT, .mode = 0644}));
    mm::IoSequence from = mm::IoSequence::ForWriting(std::as_bytes(std::span(content)));
    if (!content.empty()) TRY(vfs::WriteFile(ctx_, *file, from));
    auto at = TRY(EnsureFile(mount.destination()));
    TRY(namespace_->AttachSubtree(fs, file->location().dentry, at, flags));
    return Ok();
  }

  Result<vfs::Location> EnsureFile(const std::string& path) {
    size_t slash = path.rfind('/');
    if (slash > 0) TRY(EnsureDirectory(path.substr(0, slash)));
    TRY(vfs::Open(Walk(), path, {.flags = O_RDONLY | O_CREAT, .mode = 0644}));
    return Resolve(path);
  }

  const std::string& WantedCwd() const {
    return config_.cwd().empty() ? config_.host_cwd() : config_.cwd();
  }
  // Asked for, it must be there. The caller's own may not exist in another root: then "/".
  Result<std::string> ChooseCwd() {
    auto at = vfs::ResolveDirectory(Walk(), WantedCwd());
    if (at.ok()) return WantedCwd();
    if (config_.cwd().empty()) return std::string("/");
    TRY(Explain("working directory " + config_.cwd(), at));
    return at.error();
  }

  kernel::Kernel& kernel_;
  const MountOptions& options_;
  const control::Config& config_;
  std::string& why_;
  const auth::CredsRef creds_;
  vfs::OpContext ctx_;
  RefPtr<vfs::MountNamespace> namespace_;
  vfs::Location root_;
};

}  // namespace

Result<> MountAll(kernel::Kernel& kernel, ScopedFd gofer, const MountOptions& options,
                  std::string* cwd, std::string* why) {
  return Mounter(kernel, options, why).Run(std::move(gofer), cwd);
}

}  // namespace msentry::boot
