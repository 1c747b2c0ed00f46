// Vfs: what all file operations of one sandbox share: the device registry, the types that mount(2)
// knows, the opener of FIFOs, inotify's limits. One per kernel::Kernel, made at boot before any
// task.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "sentry/base/mutex.h"
#include "sentry/base/result.h"
#include "vfs/device_registry.h"
#include "vfs/file_system.h"
#include "vfs/inotify.h"

namespace msentry::vfs {

class Vfs {
 public:
  Vfs();
  ~Vfs();

  DeviceRegistry& devices() { return devices_; }
  InotifyLimits& inotify_limits() { return inotify_limits_; }

  // How FIFOs open (set by fsimpl/pipefs at boot). The pipe hangs on Inode::AttachOnce. Blocking in
  // open(2) is the call layer's: EAGAIN here means "no peer yet, wait on the description".
  using FifoOpener =
      absl::AnyInvocable<Result<RefPtr<FileDescription>>(const OpContext&, const OpenArgs&) const>;
  void SetFifoOpener(FifoOpener opener) { fifo_opener_ = std::move(opener); }
  const FifoOpener& fifo_opener() const { return fifo_opener_; }

  // May `ctx` open (kMayRead, kMayWrite) or make (0) the device node? Set by the kernel: the
  // devices cgroup. Null: everybody may.
  using DeviceGate =
      absl::AnyInvocable<Result<>(const OpContext&, uint32_t type, uint64_t rdev, int mask) const>;
  void SetDeviceGate(DeviceGate gate) { device_gate_ = std::move(gate); }
  Result<> CheckDevice(const OpContext& ctx, uint32_t type, uint64_t rdev, int mask) const {
    return device_gate_ ? device_gate_(ctx, type, rdev, mask) : Result<>(Ok());
  }

  // Types for mount(2) and /proc/filesystems.
  using FsFactory = absl::AnyInvocable<Result<RefPtr<FileSystem>>(
      const OpContext&, std::string_view source, std::string_view data) const>;
  struct FsType {
    std::string name;
    bool nodev = true;
    bool user_mountable = true;  // false: listed, mount(2) gives ENODEV
  };
  void RegisterFsType(FsType type, FsFactory factory);
  Result<RefPtr<FileSystem>> MakeFileSystem(const OpContext& ctx, std::string_view type,
                                            std::string_view source, std::string_view data) const;
  std::vector<FsType> FsTypes() const;

  // A file system for inodes without a path (pipes, sockets, anon_inode): never mounted.
  const RefPtr<FileSystem>& anonymous_fs() const { return anonymous_fs_; }

 private:
  struct Registered;
  DeviceRegistry devices_;
  InotifyLimits inotify_limits_;
  FifoOpener fifo_opener_;  // set at boot
  DeviceGate device_gate_;  // likewise
  mutable Mutex mutex_;
  std::vector<std::unique_ptr<Registered>> types_ ABSL_GUARDED_BY(mutex_);
  RefPtr<FileSystem> anonymous_fs_;
};

// An inode without a name, for descriptions that are no files (epoll, eventfd, pipes, sockets):
// attributes are kept in memory. `type_and_mode` e.g. S_IFIFO | 0600; 0600 alone for anon_inode.
RefPtr<Inode> MakeAnonymousInode(Vfs& vfs, const auth::Credentials& creds, uint32_t type_and_mode);
// A Location for such an inode; `name` is what /proc/PID/fd shows: "pipe:[123]" when it ends in ':'
// gets "[ino]" appended, "anon_inode:[eventfd]" is shown as it is.
Location MakeAnonymousLocation(RefPtr<Inode> inode, std::string_view name);

}  // namespace msentry::vfs
