// devpts: the file system on /dev/pts, the master multiplexer /dev/ptmx, and /dev/tty.
//
// One instance a sandbox, however often it is mounted (Linux 4.4 without newinstance). Slaves are
// character devices 136:N that appear while their pair lives.
#pragma once

#include <map>
#include <memory>

#include "fsimpl/devpts/terminal.h"
#include "vfs/file_description.h"
#include "vfs/file_system.h"
#include "vfs/vfs.h"

namespace msentry::devpts {

class MasterFile;

class DevptsFs : public vfs::FileSystem {
 public:
  static constexpr int kMaxPtys = 4096;  // /proc/sys/kernel/pty/max
  static constexpr uint32_t kTtyGid = 5;

  static RefPtr<DevptsFs> Create(vfs::JobControl& job_control, sched::Scheduler& scheduler);

  // Registers the type "devpts", /dev/ptmx (5:2), /dev/tty (5:0) and the slaves (136:*).
  void Register(vfs::Vfs& vfs);

  // A new pair, owned by the caller's user. ENOSPC when there are too many.
  Result<RefPtr<Pty>> NewPty(const vfs::OpContext& ctx);
  // The pair with that number; null when there is none.
  RefPtr<Pty> Find(int index);
  std::vector<int> Indices();

  // A slave description as open(2) of /dev/pts/N gives it. `flags`: O_ACCMODE, O_NONBLOCK,
  // O_NOCTTY.
  Result<RefPtr<vfs::FileDescription>> OpenSlave(const vfs::OpContext& ctx, RefPtr<Pty> pty,
                                                 int flags);
  Result<RefPtr<vfs::FileDescription>> OpenMaster(const vfs::OpContext& ctx,
                                                  const vfs::OpenArgs& args);

  Result<vfs::StatFs> GetStatFs(const vfs::OpContext& ctx) override;
  std::string ShowOptions() const override { return "mode=600,ptmxmode=666"; }

  DevptsFs(vfs::JobControl& job_control, sched::Scheduler& scheduler);  // for MakeRef

 private:
  Result<RefPtr<vfs::FileDescription>> OpenControlling(const vfs::OpContext& ctx,
                                                       const vfs::OpenArgs& args);
  // The inode of slave `index`, in the root directory.
  RefPtr<vfs::Inode> SlaveInode(const Pty& pty);

  vfs::JobControl& job_control_;
  sched::Scheduler& scheduler_;
  Mutex mutex_;
  std::map<int, Pty*> ptys_ ABSL_GUARDED_BY(mutex_);  // a pair takes itself out when it goes
};

class MasterFile : public vfs::FileDescription {
 public:
  static const char kClassTag;
  const void* ClassTag() const override { return &kClassTag; }

  MasterFile(vfs::Location location, int flags, RefPtr<Pty> pty, RefPtr<DevptsFs> fs);
  ~MasterFile() override;
  // TIOCGPTPEER, whose descriptor the call layer installs. `flags` as open(2).
  Result<RefPtr<vfs::FileDescription>> OpenPeer(const vfs::OpContext& ctx, int flags);
  Pty& pty() const { return *pty_; }

  Result<size_t> Read(const vfs::OpContext& ctx, mm::IoSequence& to) override;
  Result<size_t> Write(const vfs::OpContext& ctx, mm::IoSequence& from) override;
  Result<int64_t> Ioctl(const vfs::OpContext& ctx, uint32_t command, uint64_t argument,
                        vfs::UserMemory& memory) override;
  sched::EventMask Readiness(sched::EventMask mask) override;
  sched::WaitQueue& wait_queue() override { return pty_->master_queue(); }

 private:
  const RefPtr<Pty> pty_;
  const RefPtr<DevptsFs> fs_;
};

class SlaveFile : public vfs::FileDescription {
 public:
  static const char kClassTag;
  const void* ClassTag() const override { return &kClassTag; }

  // SlaveOpened() has been called.
  SlaveFile(vfs::Location location, int flags, RefPtr<Pty> pty);
  ~SlaveFile() override;
  Pty& pty() const { return *pty_; }

  Result<size_t> Read(const vfs::OpContext& ctx, mm::IoSequence& to) override;
  Result<size_t> Write(const vfs::OpContext& ctx, mm::IoSequence& from) override;
  Result<int64_t> Ioctl(const vfs::OpContext& ctx, uint32_t command, uint64_t argument,
                        vfs::UserMemory& memory) override;
  sched::EventMask Readiness(sched::EventMask mask) override;
  sched::WaitQueue& wait_queue() override { return pty_->slave_queue(); }
  int64_t ReadTimeoutNs() override { return pty_->SlaveReadTimeoutNs(); }
  Result<size_t> ReadAfterTimeout() override { return size_t{0}; }

 private:
  const RefPtr<Pty> pty_;
};

}  // namespace msentry::devpts
