// Pty: a pseudo-terminal pair (pty(7), tty_ioctl(4)): the state its master and slave descriptions
// share. Bytes go through the LineDiscipline; sessions and signals through vfs::JobControl.
//
// Lock: mutex_, innermost; never held while JobControl is called, guest memory is copied, or a wait
// queue's waiters run (Notify is called after it).
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "fsimpl/devpts/line_discipline.h"
#include "sentry/base/mutex.h"
#include "sentry/base/ref_ptr.h"
#include "sentry/base/result.h"
#include "sentry/sched/scheduler.h"
#include "sentry/sched/wait_queue.h"
#include "vfs/job_control.h"
#include "vfs/user_memory.h"

namespace msentry::devpts {

class Pty : public RefCounted<Pty>, public vfs::Terminal {
 public:
  // `on_gone` is called when the pair is gone, so that its number can be used again.
  Pty(int index, uint32_t uid, uint32_t gid, vfs::JobControl& job_control,
      sched::Scheduler& scheduler, std::function<void()> on_gone);
  ~Pty() override;

  int index() const { return index_; }
  uint32_t uid() const { return uid_; }
  uint32_t gid() const { return gid_; }

  // ---- vfs::Terminal ----
  void RefTerminal() override { Ref(); }
  void UnrefTerminal() override { Unref(); }
  uint32_t terminal_device() const override;
  vfs::JobControl& job_control() const { return job_control_; }

  // ---- Master side: bytes in sentry memory. EAGAIN when nothing can move. ----
  // EIO when the slave was open and is no more. In packet mode the first byte says what follows.
  Result<size_t> MasterRead(std::span<char> out);
  // Typed input; raises the signals of control characters. May take fewer bytes than given.
  Result<size_t> MasterWrite(std::string_view in);
  sched::EventMask MasterReadiness(sched::EventMask mask);
  Result<int64_t> MasterIoctl(uint32_t command, uint64_t argument, vfs::UserMemory& memory);
  sched::WaitQueue& master_queue() { return master_queue_; }
  // The master is closed: the slave hangs up.
  void MasterClosed();

  // ---- Slave side ----
  // Returns 0 at the end (EOF character, or hung up). VMIN and VTIME as termios(3).
  Result<size_t> SlaveRead(std::span<char> out);
  Result<size_t> SlaveWrite(std::string_view in);  // EIO when hung up
  sched::EventMask SlaveReadiness(sched::EventMask mask);
  Result<int64_t> SlaveIoctl(uint32_t command, uint64_t argument, vfs::UserMemory& memory);
  sched::WaitQueue& slave_queue() { return slave_queue_; }
  // TIOCSPTLCK 0: the slave may be opened.
  void Unlock();
  // EIO when the master is gone or the slave is still locked (TIOCSPTLCK), EBUSY when exclusive.
  Result<> SlaveOpened(bool privileged);
  void SlaveClosed();
  // How long a read with VMIN 0 waits for its first byte; kNever when bytes are needed.
  int64_t SlaveReadTimeoutNs();

  // From outside (the host terminal's size): SIGWINCH when it changed.
  void SetWindowSize(const abi::Winsize& size);
  bool hung_up() const { return hung_up_.load(); }

 private:
  Result<int64_t> CommonIoctl(uint32_t command, uint64_t argument, vfs::UserMemory& memory,
                              bool master);
  Result<int64_t> SetTermios(uint32_t command, uint64_t argument, vfs::UserMemory& memory,
                             bool master);
  void Flush(bool input, bool output);
  void NotePacket(uint8_t bits) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnInterByteTimer();

  const int index_;
  const uint32_t uid_, gid_;
  vfs::JobControl& job_control_;
  const std::function<void()> on_gone_;

  Mutex mutex_;
  LineDiscipline line_ ABSL_GUARDED_BY(mutex_);
  abi::Winsize window_ ABSL_GUARDED_BY(mutex_){};
  int slaves_ ABSL_GUARDED_BY(mutex_) = 0;
  bool slave_was_open_ ABSL_GUARDED_BY(mutex_) = false;
  bool locked_ ABSL_GUARDED_BY(mutex_) = true;
  bool exclusive_ ABSL_GUARDED_BY(mutex_) = false;
  bool packet_mode_ ABSL_GUARDED_BY(mutex_) = false;
  uint8_t packet_status_ ABSL_GUARDED_BY(mutex_) = 0;
  bool inter_byte_expired_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<bool> hung_up_{false};
  sched::WaitQueue master_queue_, slave_queue_;
  sched::Timer inter_byte_timer_;  // last: its callback uses the rest
};

}  // namespace msentry::devpts
