// signalfd(2). What is pending belongs to tasks, which lie above: the kernel side hands in a source
// (sentry/syscalls/event.cc makes one over kernel::Task).
#pragma once

#include <memory>

#include "sentry/abi/signal.h"
#include "vfs/file_description.h"

namespace msentry::eventfs {

// The pending signals of whoever reads (as on Linux: of the reading task, not of the creator).
class SignalSource {
 public:
  virtual ~SignalSource() = default;
  // Takes one pending signal of `which` (bit n-1: signal n); EAGAIN when there is none.
  virtual Result<abi::SigInfo> Take(uint64_t which) = 0;
  virtual uint64_t Pending() = 0;
  // Notified when a signal arrives.
  virtual sched::WaitQueue& events() = 0;
};

class SignalFd : public vfs::FileDescription {
 public:
  static const char kClassTag;
  const void* ClassTag() const override { return &kClassTag; }

  SignalFd(vfs::Location location, int flags, uint64_t mask, std::unique_ptr<SignalSource> source);

  void SetMask(uint64_t mask);
  // As many 128-byte signalfd_siginfo as are pending and fit. EINVAL for short buffers.
  Result<size_t> Read(const vfs::OpContext& ctx, mm::IoSequence& to) override;
  sched::EventMask Readiness(sched::EventMask mask) override;
  sched::WaitQueue& wait_queue() override { return source_->events(); }
  std::string FdInfo() override;

 private:
  std::atomic<uint64_t> mask_;
  const std::unique_ptr<SignalSource> source_;
};

RefPtr<SignalFd> MakeSignalFd(const vfs::OpContext& ctx, int flags, uint64_t mask,
                              std::unique_ptr<SignalSource> source);

}  // namespace msentry::eventfs
