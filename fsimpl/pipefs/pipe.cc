#include "fsimpl/pipefs/pipe.h"

#include <bit>

namespace msentry::pipefs {
namespace {

constexpr size_t kPage = 4096;
constexpr sched::EventMask kReadable = sched::kIn | sched::kRdNorm;
constexpr sched::EventMask kWritable = sched::kOut | sched::kWrNorm;

}  // namespace

Pipe::Pipe(size_t capacity, sched::WaitQueue* readers, sched::WaitQueue* writers)
    : capacity_(capacity),
      read_queue_(readers ? readers : &own_read_queue_),
      write_queue_(writers ? writers : &own_write_queue_) {}

Pipe::~Pipe() {
  if (buffer_) total_.fetch_sub(capacity_.load());
}

void Pipe::NotifyReaders(sched::EventMask events) {
  read_queue_->Notify(events);
  both_queue_.Notify(events);
}

void Pipe::NotifyWriters(sched::EventMask events) {
  write_queue_->Notify(events);
  both_queue_.Notify(events);
}

// ---- the ring ----

std::atomic<size_t> Pipe::total_{0};

void Pipe::MakeBuffer() {
  size_t capacity = capacity_.load();
  if (total_.fetch_add(capacity) + capacity > kTotalCapacity) {
    total_.fetch_sub(capacity - kPage);
    capacity = kPage;
    capacity_.store(capacity);
  }
  buffer_ = std::make_unique_for_overwrite<std::byte[]>(capacity);
}

// At most two copies: up to the end of the ring, and from its start.
Result<size_t> Pipe::CopyInAt(mm::IoSequence& from, uint64_t position, size_t n) {
  const size_t capacity = capacity_.load();
  const size_t offset = position & (capacity - 1);
  const size_t first = std::min(n, capacity - offset);
  size_t done = TRY(from.CopyIn({buffer_.get() + offset, first}));
  if (done < first || done == n) return done;
  Result<size_t> rest = from.CopyIn({buffer_.get(), n - first});
  return done + (rest.ok() ? *rest : 0);
}

Result<size_t> Pipe::CopyOutAt(mm::IoSequence& to, uint64_t position, size_t n) {
  const size_t capacity = capacity_.load();
  const size_t offset = position & (capacity - 1);
  const size_t first = std::min(n, capacity - offset);
  size_t done = TRY(to.CopyOut({buffer_.get() + offset, first}));
  if (done < first || done == n) return done;
  Result<size_t> rest = to.CopyOut({buffer_.get(), n - first});
  return done + (rest.ok() ? *rest : 0);
}

void Pipe::Publish(uint64_t new_tail) {
  tail_.store(new_tail);
  NotifyReaders(kReadable);
}

// ---- writing ----

Result<size_t> Pipe::WriteSome(mm::IoSequence& from, bool packet,
                               absl::FunctionRef<void(uint64_t, uint64_t)> before) {
  if (readers_.load() == 0) return Errno::kEPIPE;
  if (from.empty()) return size_t{0};
  sched::FiberMutexLock lock(write_mutex_);
  if (!buffer_) MakeBuffer();
  const size_t room = Room();
  const size_t wanted = from.size();
  if (packet) {
    const size_t n = std::min(wanted, kAtomicWrite);
    // Each packet costs a page, as in Linux: it bounds how many there are.
    if (room < n || (packet_count_.load() + 1) * kPage > capacity_.load()) return Errno::kEAGAIN;
    const uint64_t tail = tail_.load();
    const size_t done = TRY(CopyInAt(from, tail, n));
    {
      MutexLock packets_lock(packets_mutex_);
      packets_.push_back({tail, tail + done});
      packet_count_.store(packets_.size());
    }
    Publish(tail + done);
    return done;
  }
  // Room below PIPE_BUF counts as none for larger writes: crumbs would make a stream slow.
  if (room < std::min(wanted, kAtomicWrite)) return Errno::kEAGAIN;
  const uint64_t tail = tail_.load();
  const size_t done = TRY(CopyInAt(from, tail, std::min(wanted, room)));
  before(tail, tail + done);
  Publish(tail + done);
  return done;
}

// ---- reading ----

size_t Pipe::ReadLimit(uint64_t head, size_t available, uint64_t* packet_end) {
  if (packet_count_.load() == 0) return available;
  MutexLock lock(packets_mutex_);
  if (packets_.empty()) return available;
  const Packet& packet = packets_.front();
  if (packet.start > head) return std::min<size_t>(available, packet.start - head);
  *packet_end = packet.end;
  return packet.end - head;
}

Result<size_t> Pipe::ReadSome(mm::IoSequence& to, Limit limit_of, bool peek) {
  if (to.empty()) return size_t{0};
  sched::FiberMutexLock lock(read_mutex_);
  // Writers first: one that writes and closes in between must not look like the end.
  const bool writers = writers_.load() > 0;
  const size_t available = Available();
  if (available == 0) {
    if (!writers) return size_t{0};
    return Errno::kEAGAIN;
  }
  const uint64_t head = head_.load();
  uint64_t packet_end = 0;
  const size_t limit = std::min(ReadLimit(head, available, &packet_end), limit_of(head, available));
  const size_t done = TRY(CopyOutAt(to, head, std::min(limit, to.size())));
  if (peek) return done;
  if (packet_end != 0) {  // what the read did not take of a packet is lost
    MutexLock packets_lock(packets_mutex_);
    packets_.pop_front();
    packet_count_.store(packets_.size());
  }
  const uint64_t new_head = packet_end != 0 ? packet_end : head + done;
  head_.store(new_head);
  // Writers that wait found less than PIPE_BUF of room (or no page for a packet): only crossing
  // that mark matters to them. The room before is computed from the tail as it is now, so that a
  // writer that filled up meanwhile is not missed.
  const size_t room = Room();
  if (room >= kAtomicWrite &&
      (room - (new_head - head) < kAtomicWrite || packet_end != 0 || capacity() == kAtomicWrite)) {
    NotifyWriters(kWritable);
  }
  return done;
}

Result<size_t> Pipe::TeeTo(Pipe& to, size_t n) {
  if (to.readers() == 0) return Errno::kEPIPE;
  // Through a private copy: the two pipes' locks have no order between them.
  std::vector<std::byte> copy;
  {
    sched::FiberMutexLock lock(read_mutex_);
    const bool writers = writers_.load() > 0;
    const size_t available = Available();
    if (available == 0) {
      if (!writers) return size_t{0};
      return Errno::kEAGAIN;
    }
    const size_t room = to.Room();
    if (room < kAtomicWrite) return Errno::kEAGAIN;
    copy.resize(std::min({n, available, room}));
    mm::IoSequence sink = mm::IoSequence::ForReading(copy);
    TRY(CopyOutAt(sink, head_.load(), copy.size()));
  }
  mm::IoSequence source = mm::IoSequence::ForWriting(copy);
  return to.Write(source, false);
}

Result<size_t> Pipe::SetCapacity(size_t bytes, bool privileged) {
  if (bytes > kMaxPrivilegedCapacity) return privileged ? Errno::kEINVAL : Errno::kEPERM;
  const size_t wanted = std::bit_ceil(std::max(bytes, kPage));
  if (wanted > kMaxCapacity && wanted > capacity() && !privileged) return Errno::kEPERM;
  sched::FiberMutexLock write_lock(write_mutex_);
  sched::FiberMutexLock read_lock(read_mutex_);
  const size_t available = Available();
  if (available > wanted || packet_count_.load() * kPage > wanted) return Errno::kEBUSY;
  if (buffer_) {
    if (wanted > capacity() && total_.load() + wanted > kTotalCapacity) return Errno::kEPERM;
    total_.fetch_add(wanted - capacity());  // modulo: may shrink
    auto bigger = std::make_unique_for_overwrite<std::byte[]>(wanted);
    const uint64_t head = head_.load();
    for (size_t i = 0; i < available; i++) {
      bigger[(head + i) & (wanted - 1)] = buffer_[(head + i) & (capacity() - 1)];
    }
    buffer_ = std::move(bigger);
  }
  capacity_.store(wanted);
  NotifyWriters(kWritable);
  return wanted;
}

// ---- ends ----

void Pipe::AddReader() {
  readers_.fetch_add(1);
  reader_opens_.fetch_add(1);
  NotifyWriters(sched::kAllEvents);
}

void Pipe::AddWriter() {
  writers_.fetch_add(1);
  writer_opens_.fetch_add(1);
  NotifyReaders(sched::kAllEvents);
}

void Pipe::RemoveReader() {
  if (readers_.fetch_sub(1) == 1) NotifyWriters(kWritable | sched::kErr | sched::kHup);
}

void Pipe::RemoveWriter() {
  if (writers_.fetch_sub(1) == 1) NotifyReaders(kReadable | sched::kErr | sched::kHup);
}

}  // namespace msentry::pipefs
