// eventfd(2): a 64-bit counter as a file.
#pragma once

#include "sentry/base/mutex.h"
#include "vfs/file_description.h"

namespace msentry::eventfs {

class EventFd : public vfs::FileDescription {
 public:
  static const char kClassTag;
  const void* ClassTag() const override { return &kClassTag; }

  EventFd(vfs::Location location, int flags, uint64_t initial, bool semaphore);

  // 8 bytes; the counter, or 1 of it (semaphore). EAGAIN while it is 0, EINVAL for short buffers.
  Result<size_t> Read(const vfs::OpContext& ctx, mm::IoSequence& to) override;
  // Adds; EAGAIN when the sum would pass 2^64-2, EINVAL for 2^64-1.
  Result<size_t> Write(const vfs::OpContext& ctx, mm::IoSequence& from) override;
  // Adds `n`, as far as it goes: what the sentry itself signals. Any thread.
  void Add(uint64_t n);
  sched::EventMask Readiness(sched::EventMask mask) override;
  sched::WaitQueue& wait_queue() override { return queue_; }
  std::string FdInfo() override;

 private:
  const bool semaphore_;
  std::atomic<uint64_t> count_;
  sched::WaitQueue queue_;
};

// eventfd2(2). `flags`: O_NONBLOCK.
RefPtr<EventFd> MakeEventFd(const vfs::OpContext& ctx, uint32_t initial, bool semaphore, int flags);

}  // namespace msentry::eventfs
