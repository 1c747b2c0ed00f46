// Pipe: the buffer behind pipe(2) and FIFOs (pipe(7), fifo(7)).
//
// A ring of bytes with one reading and one writing side. Each side has its own lock, so that a
// reader and a writer on two cores never wait for each other; the ring's positions are atomics that
// one side publishes and the other reads. The side locks are FiberMutexes because data moves from
// and to guest memory while they are held.
//
// Lock order: write side → read side (only SetCapacity takes both) → packets.
#pragma once

#include <atomic>
#include <deque>
#include <memory>

#include "sentry/base/mutex.h"
#include "sentry/base/result.h"
#include "sentry/mm/io_sequence.h"
#include "sentry/sched/scheduler.h"
#include "sentry/sched/wait_queue.h"
#include "vfs/inode.h"

namespace msentry::pipefs {

class Pipe : public vfs::InodeAttachment {
 public:
  static constexpr size_t kAtomicWrite = 4096;  // PIPE_BUF
  static constexpr size_t kDefaultCapacity = 65536;
  static constexpr size_t kMaxCapacity = 1 << 20;  // /proc/sys/fs/pipe-max-size
  static constexpr size_t kMaxPrivilegedCapacity = 1 << 26;
  // All buffers of the sandbox together; pipes that need one beyond it get a single page, as Linux
  // does past pipe-user-pages-soft.
  static constexpr size_t kTotalCapacity = size_t{512} << 20;

  Pipe() : Pipe(kDefaultCapacity, nullptr, nullptr) {}
  // For sockets, whose directions are pipes: queues to notify instead of our own; they must outlive
  // the pipe. `capacity` is a power of two of pages.
  Pipe(size_t capacity, sched::WaitQueue* readers, sched::WaitQueue* writers);
  ~Pipe() override;

  // At most one read's worth; 0 at the end (no writers), EAGAIN when empty.
  Result<size_t> Read(mm::IoSequence& to) {
    return ReadSome(
        to, [](uint64_t, size_t available) { return available; }, false);
  }
  // The same, for readers with boundaries of their own: `limit(position, available)` says how many
  // of the available bytes, the first of which has that position in the stream, this read may take.
  // It runs with the reading side locked. `peek`: nothing is consumed.
  using Limit = absl::FunctionRef<size_t(uint64_t position, size_t available)>;
  Result<size_t> ReadSome(mm::IoSequence& to, Limit limit, bool peek);
  // EPIPE without readers; EAGAIN when full. Up to PIPE_BUF bytes go as a whole or not at all.
  // `packet`: O_DIRECT, what one write wrote (cut into PIPE_BUF pieces) is what one read gets.
  Result<size_t> Write(mm::IoSequence& from, bool packet) {
    return WriteSome(from, packet, [](uint64_t, uint64_t) {});
  }
  // The same; `before(start, end)` is called with the positions of what was written before readers
  // can see it. It must not park.
  Result<size_t> WriteSome(mm::IoSequence& from, bool packet,
                           absl::FunctionRef<void(uint64_t, uint64_t)> before);
  // tee(2): copies up to `n` unread bytes into `to` without consuming them. EAGAIN as Read, Write.
  Result<size_t> TeeTo(Pipe& to, size_t n);

  size_t Available() const { return tail_.load() - head_.load(); }
  size_t Room() const { return capacity_.load() - Available(); }
  size_t capacity() const { return capacity_.load(); }
  // F_SETPIPE_SZ, rounded up to a power of two of pages. EBUSY when more is buffered, EPERM above
  // the maximum unless `privileged`.
  Result<size_t> SetCapacity(size_t bytes, bool privileged);

  void AddReader();
  void AddWriter();
  void RemoveReader();
  void RemoveWriter();
  int readers() const { return readers_.load(); }
  int writers() const { return writers_.load(); }
  // How many readers and writers there have ever been: what a blocking open of a FIFO waits for.
  uint64_t reader_opens() const { return reader_opens_.load(); }
  uint64_t writer_opens() const { return writer_opens_.load(); }

  // Notified with kIn... when there is something to read, kOut... when there is room; both when an
  // end closes.
  sched::WaitQueue& read_queue() { return *read_queue_; }
  sched::WaitQueue& write_queue() { return *write_queue_; }
  sched::WaitQueue& both_queue() { return both_queue_; }  // for descriptions open for both

 private:
  struct Packet {
    uint64_t start, end;
  };
  Result<size_t> CopyInAt(mm::IoSequence& from, uint64_t position, size_t n);
  Result<size_t> CopyOutAt(mm::IoSequence& to, uint64_t position, size_t n);
  void MakeBuffer();
  void Publish(uint64_t new_tail);
  void NotifyReaders(sched::EventMask events);
  void NotifyWriters(sched::EventMask events);
  // How much a read at `head` may take, and where the head goes after it.
  size_t ReadLimit(uint64_t head, size_t available, uint64_t* packet_end);

  sched::FiberMutex write_mutex_;
  sched::FiberMutex read_mutex_;
  static std::atomic<size_t> total_;  // bytes of all buffers
  // Made by the first write; replaced with both side locks held.
  std::unique_ptr<std::byte[]> buffer_;
  std::atomic<size_t> capacity_;   // a power of two
  std::atomic<uint64_t> head_{0};  // first unread byte ever; moved by the reading side
  std::atomic<uint64_t> tail_{0};  // end of what was written; moved by the writing side

  Mutex packets_mutex_;
  std::deque<Packet> packets_ ABSL_GUARDED_BY(packets_mutex_);
  std::atomic<size_t> packet_count_{0};

  std::atomic<int> readers_{0}, writers_{0};
  std::atomic<uint64_t> reader_opens_{0}, writer_opens_{0};
  sched::WaitQueue own_read_queue_, own_write_queue_, both_queue_;
  sched::WaitQueue* const read_queue_;
  sched::WaitQueue* const write_queue_;
};

}  // namespace msentry::pipefs
