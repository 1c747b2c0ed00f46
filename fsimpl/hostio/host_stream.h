// HostStream: a host descriptor that the sandbox was started with (its stdin, stdout, stderr), as a
// file of the guest: a pipe, a socket, a file, a device. Terminals are usually not this: the guest
// gets a terminal of its own (devpts/console.h).
//
// The host's open file may be shared with other host processes, so its flags are not ours to change:
// a descriptor without O_NONBLOCK is asked with poll(2) before every read, and written in pieces
// that a ready pipe takes without blocking. Whoever can should hand in a non-blocking one.
#pragma once

#include "sentry/base/scoped_fd.h"
#include "sentry/sched/scheduler.h"
#include "vfs/file_description.h"

namespace msentry::hostio {

class HostStream : public vfs::FileDescription {
 public:
  // Makes one over `fd`, with the access mode and O_APPEND the fd has on the host. Anything may ask
  // for the attributes: type, size and times are the host file's, the owner is the caller.
  static Result<RefPtr<HostStream>> Create(const vfs::OpContext& ctx, sched::Scheduler& scheduler,
                                           ScopedFd fd);
  ~HostStream() override;

  Result<size_t> Read(const vfs::OpContext& ctx, mm::IoSequence& to) override;
  Result<size_t> Write(const vfs::OpContext& ctx, mm::IoSequence& from) override;
  Result<size_t> PRead(const vfs::OpContext& ctx, mm::IoSequence& to, uint64_t offset) override;
  Result<size_t> PWrite(const vfs::OpContext& ctx, mm::IoSequence& from, uint64_t offset) override;
  Result<int64_t> Seek(const vfs::OpContext& ctx, int64_t offset, int whence) override;
  Result<vfs::Attributes> GetAttr(const vfs::OpContext& ctx, vfs::AttrMask wanted) override;
  Result<> SetAttr(const vfs::OpContext& ctx, const vfs::SetAttributes& attrs) override;
  Result<int64_t> Ioctl(const vfs::OpContext& ctx, uint32_t command, uint64_t argument,
                        vfs::UserMemory& memory) override;
  Result<> Fsync(const vfs::OpContext& ctx, bool data_only) override;
  sched::EventMask Readiness(sched::EventMask mask) override;
  sched::WaitQueue& wait_queue() override { return queue_; }
  bool SupportsEpoll() const override { return watch_ != nullptr; }
  int64_t position() const override;
  int host_fd() const override { return seekable_ ? fd_.get() : -1; }

  HostStream(vfs::Location location, int flags, ScopedFd fd, bool seekable, bool nonblocking);

 private:
  bool HostReady(short events) const;

  const ScopedFd fd_;
  const bool seekable_;       // a regular file or block device: always ready, has a position
  const bool nonblocking_;    // on the host
  sched::WaitQueue queue_;
  std::unique_ptr<sched::HostFdWatch> watch_;  // null: always ready. Last: its callback uses queue_
};

}  // namespace msentry::hostio
