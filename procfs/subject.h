// Subject: the process or thread that a directory of /proc is about, and what may be read of it.
#pragma once

#include <cstdint>
#include <string>

#include "fsimpl/pseudofs/pseudofs.h"
#include "procfs/proc_fs.h"
#include "sentry/base/ref_ptr.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "sentry/kernel/thread_group.h"

namespace msentry::procfs {

// The file system: what every inode of it can reach.
class ProcFs : public pseudofs::PseudoFs {
 public:
  ProcFs(kernel::Kernel& kernel, Options options);
  kernel::Kernel& kernel() const { return kernel_; }
  const Options& options() const { return options_; }
  // net/ of every process: there is one network.
  const RefPtr<vfs::Inode>& net() const { return net_; }
  void SetNet(RefPtr<vfs::Inode> net) { net_ = std::move(net); }

 protected:
  // The inode refers back to us.
  void Shutdown() override { net_.Reset(); }

 private:
  kernel::Kernel& kernel_;
  const Options options_;
  RefPtr<vfs::Inode> net_;  // set once, before it is mounted; dropped by Shutdown
};

// A value; copies share the references.
struct Subject {
  kernel::Kernel* kernel = nullptr;
  RefPtr<kernel::ThreadGroup> group;
  RefPtr<kernel::Task> thread;  // of /proc/PID/task/TID; null: the process as a whole
  int id = 0;                   // tgid or tid

  // The thread, or the process's leader (also as a zombie). ESRCH once it is gone.
  Result<RefPtr<kernel::Task>> Task() const;
  bool alive() const { return Task().ok(); }

  // Inode number of entry `index` of its directory; 0 is the directory itself.
  uint64_t Ino(uint64_t index) const {
    return static_cast<uint64_t>(id) << 32 | (thread ? uint64_t{1} << 31 : 0) | index;
  }
};
// Ranges of entry indexes with a meaning of their own.
inline constexpr uint64_t kFdIndex = 0x1000000, kFdInfoIndex = 0x2000000, kTaskIndex = 0x3000000;

// What a generator of a process's file gets.
struct View {
  const vfs::OpContext& ctx;
  const ProcFs& fs;
  const Subject& subject;
  kernel::Task& task;  // Subject::Task()
  kernel::ThreadGroup& group;

  kernel::Kernel& kernel() const { return fs.kernel(); }
  bool whole_process() const { return !subject.thread; }
  // The reader's root, for paths.
  vfs::Location reader_root() const;
};

// Owner of the subject's files: its effective ids, or root when it is not dumpable.
struct Owner {
  uint32_t uid = 0, gid = 0;
};
Owner OwnerOf(const Subject& subject);

}  // namespace msentry::procfs
