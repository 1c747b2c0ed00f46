#include "sentry/mm/io_sequence.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "platform/platform.h"
#include "sentry/base/check.h"
#include "sentry/mm/host_io.h"
#include "sentry/mm/memory_manager.h"

namespace msentry::mm {

namespace {

// What one host call moves at most when it must pass through a buffer of ours.
constexpr size_t kMaxFileBounce = 256 << 10;
constexpr size_t kMaxStreamBounce = 1 << 20;

// A buffer on the fiber's stack when it is small, else on the heap.
class Bounce {
 public:
  explicit Bounce(size_t n) : size_(n) {
    if (n > sizeof(small_)) large_ = std::make_unique_for_overwrite<std::byte[]>(n);
  }
  std::span<std::byte> span() { return {large_ ? large_.get() : small_, size_}; }

 private:
  size_t size_;
  std::unique_ptr<std::byte[]> large_;
  std::byte small_[4096];
};

}  // namespace

IoSequence::IoSequence(GuestMemory memory, Ranges ranges)
    : memory_(memory), ranges_(std::move(ranges)) {
  for (const Range& r : ranges_) remaining_ += r.length;
}

IoSequence IoSequence::ForReading(std::span<std::byte> destination) {
  return IoSequence(GuestMemory(), reinterpret_cast<uint64_t>(destination.data()),
                    destination.size());
}

IoSequence IoSequence::ForWriting(std::span<const std::byte> source) {
  return IoSequence(GuestMemory(), reinterpret_cast<uint64_t>(source.data()), source.size());
}

void IoSequence::Truncate(size_t n) { remaining_ = std::min(remaining_, n); }

IoSequence::Range IoSequence::Current(size_t n) {
  n = std::min(n, remaining_);
  while (n > 0 && in_range_ == ranges_[index_].length) {
    ++index_;
    in_range_ = 0;
  }
  if (n == 0) return {0, 0};
  const Range& r = ranges_[index_];
  return {r.address + in_range_, std::min(n, r.length - in_range_)};
}

// `n` is at most the length of the current range's rest.
void IoSequence::Advance(size_t n) {
  in_range_ += n;
  remaining_ -= n;
  position_ += n;
}

void IoSequence::Skip(size_t n) {
  CHECK(n <= remaining_);
  while (n > 0) {
    Range r = Current(n);
    Advance(r.length);
    n -= r.length;
  }
}

IoSequence IoSequence::Prefix(size_t n) const {
  IoSequence prefix = *this;
  prefix.Truncate(n);
  prefix.position_ = 0;
  return prefix;
}

std::span<std::byte> IoSequence::SentryMemory(Range r) const {
  DCHECK(!is_guest());
  return {reinterpret_cast<std::byte*>(r.address), r.length};
}

Result<size_t> IoSequence::CopyOut(std::span<const std::byte> in) {
  size_t done = 0, n = std::min(in.size(), remaining_);
  while (done < n) {
    Range r = Current(n - done);
    std::span<const std::byte> part = in.subspan(done, r.length);
    size_t moved = r.length;
    if (is_guest()) {
      moved = memory_.CopyOutSome(r.address, part).value_or(0);
    } else {
      std::memcpy(SentryMemory(r).data(), part.data(), part.size());
    }
    Advance(moved);
    done += moved;
    if (moved < r.length) break;
  }
  if (done == 0 && n > 0) return Errno::kEFAULT;
  return done;
}

Result<size_t> IoSequence::CopyIn(std::span<std::byte> out) {
  size_t done = 0, n = std::min(out.size(), remaining_);
  while (done < n) {
    Range r = Current(n - done);
    std::span<std::byte> part = out.subspan(done, r.length);
    size_t moved = r.length;
    if (is_guest()) {
      moved = memory_.CopyInSome(r.address, part).value_or(0);
    } else {
      std::memcpy(part.data(), SentryMemory(r).data(), part.size());
    }
    Advance(moved);
    done += moved;
    if (moved < r.length) break;
  }
  if (done == 0 && n > 0) return Errno::kEFAULT;
  return done;
}

Result<size_t> IoSequence::ZeroOut(size_t n) {
  static constexpr std::byte kZeros[16 << 10] = {};
  size_t done = 0;
  n = std::min(n, remaining_);
  while (done < n) {
    size_t part = std::min(n - done, sizeof(kZeros));
    Result<size_t> moved = CopyOut(std::span(kZeros, part));
    if (!moved) break;
    done += *moved;
    if (*moved < part) break;
  }
  if (done == 0 && n > 0) return Errno::kEFAULT;
  return done;
}

Result<size_t> IoSequence::ReadOnce(int fd, int64_t offset, size_t n, bool in_memory) {
  Range r = Current(n);
  // A stream must see one host call for all of it; a file wants few. So ranges of their own only
  // when one range is all there is.
  bool whole = r.length == n;
  if (!is_guest() && whole) {
    size_t got = TRY(host_io::Read(fd, offset, SentryMemory(r), in_memory));
    Advance(got);
    return got;
  }
  if (is_guest() && whole && memory_.thread()) {
    platform::GuestThread& thread = *memory_.thread();
    size_t writable = memory_.mm()->Accessible(&thread, r.address, r.length, PROT_WRITE);
    if (writable == 0) return Errno::kEFAULT;
    std::span<std::byte> window =
        thread.BeginBulk(r.address, writable, platform::GuestThread::Direction::kToGuest);
    if (!window.empty()) {
      window = window.first(std::min(window.size(), writable));
      Result<size_t> got = host_io::Read(fd, offset, window, in_memory);
      Result<> finished = thread.FinishBulk(got.value_or(0));
      if (!got) return got;
      TRY(finished);
      Advance(*got);
      return got;
    }
    n = writable;  // nothing that has no place is taken from a stream
  }
  Bounce bounce(std::min(n, offset < 0 ? kMaxStreamBounce : kMaxFileBounce));
  size_t got = TRY(host_io::Read(fd, offset, bounce.span(), in_memory));
  return CopyOut(bounce.span().first(got));
}

Result<size_t> IoSequence::ReadFromHost(int fd, int64_t offset, size_t n, bool in_memory) {
  size_t done = 0;
  n = std::min(n, remaining_);
  while (done < n) {
    Result<size_t> got =
        ReadOnce(fd, offset < 0 ? -1 : offset + static_cast<int64_t>(done), n - done, in_memory);
    if (!got && done == 0) return got;
    if (!got || *got == 0) break;
    done += *got;
    if (offset < 0) break;
  }
  return done;
}

Result<size_t> IoSequence::WriteOnce(int fd, int64_t offset, size_t n, int flags) {
  Range r = Current(n);
  bool whole = r.length == n;
  if (!is_guest() && whole) {
    size_t put = TRY(host_io::Write(fd, offset, SentryMemory(r), flags));
    Advance(put);
    return put;
  }
  if (is_guest() && whole && memory_.thread()) {
    platform::GuestThread& thread = *memory_.thread();
    std::span<std::byte> window =
        thread.BeginBulk(r.address, r.length, platform::GuestThread::Direction::kFromGuest);
    if (!window.empty()) {
      window = window.first(std::min(window.size(), r.length));
      Result<size_t> put = host_io::Write(fd, offset, window, flags);
      Result<> finished = thread.FinishBulk(put.value_or(0));
      if (!put) return put;
      TRY(finished);
      Advance(*put);
      return put;
    }
  }
  Bounce bounce(std::min(n, offset < 0 ? kMaxStreamBounce : kMaxFileBounce));
  // Read ahead of the position, which moves by what the host takes.
  IoSequence source = Prefix(bounce.span().size());
  size_t have = TRY(source.CopyIn(bounce.span()));
  size_t put = TRY(host_io::Write(fd, offset, bounce.span().first(have), flags));
  Skip(put);
  return put;
}

Result<size_t> IoSequence::WriteToHost(int fd, int64_t offset, size_t n, int flags) {
  size_t done = 0;
  n = std::min(n, remaining_);
  while (done < n) {
    Result<size_t> put =
        WriteOnce(fd, offset < 0 ? -1 : offset + static_cast<int64_t>(done), n - done, flags);
    if (!put && done == 0) return put;
    if (!put || *put == 0) break;
    done += *put;
    if (offset < 0) break;
  }
  return done;
}

}  // namespace msentry::mm
