// IoSequence: where the data of a read goes to, or that of a write comes from: a list of ranges of
// guest memory (one for read(2), many for readv(2)) or of the sentry's own, and a position in it.
//
//   Result<size_t> Read(IoSequence& dst) { return dst.CopyOut(bytes_we_have); }   // in a file
//   Result<size_t> Read(IoSequence& dst) { return dst.ReadFromHost(fd, offset, dst.size()); }
//
// Every transfer starts at the position and advances it by what it returns. Errors are Linux's:
// what was moved before a bad address counts as a short transfer; kEFAULT only when nothing was.
// The guest can change its memory during a call: never look at the same bytes twice.
//
// A value used by one fiber; it borrows the memory. One guest range needs no allocation. No Mutex
// may be held across a transfer (a FiberMutex may): it can make host calls and park.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/container/inlined_vector.h"
#include "sentry/base/result.h"
#include "sentry/mm/copy.h"

namespace msentry::mm {

// The most one read(2) or write(2) moves: INT_MAX rounded down to a page.
inline constexpr size_t kMaxRwCount = 0x7ffff000;

class IoSequence {
 public:
  struct Range {
    uint64_t address;  // of guest memory, or of the sentry's
    size_t length;
  };
  using Ranges = absl::InlinedVector<Range, 2>;

  IoSequence() = default;
  // Guest memory. Lengths must add up to at most kMaxRwCount (callers cut).
  IoSequence(GuestMemory memory, uint64_t address, size_t length)
      : memory_(memory), ranges_({{address, length}}), remaining_(length) {}
  IoSequence(GuestMemory memory, Ranges ranges);
  // Memory of the sentry, for internal callers (the loader, sendfile's buffer, tests).
  static IoSequence ForReading(std::span<std::byte> destination);   // filled with CopyOut
  static IoSequence ForWriting(std::span<const std::byte> source);  // emptied with CopyIn

  // Bytes from the position to the end.
  size_t size() const { return remaining_; }
  bool empty() const { return remaining_ == 0; }
  // Bytes moved or skipped so far.
  size_t position() const { return position_; }
  bool is_guest() const { return memory_.mm() != nullptr; }

  // Lowers size() to at most `n`.
  void Truncate(size_t n);
  // Advances without moving anything; `n` is at most size().
  void Skip(size_t n);
  // The next `n` bytes (at most size()) as a sequence of their own; this one is not advanced.
  IoSequence Prefix(size_t n) const;

  // To the sequence (a read). At most size() bytes of `in` are taken.
  Result<size_t> CopyOut(std::span<const std::byte> in);
  Result<size_t> ZeroOut(size_t n);
  // From the sequence (a write). Fewer than out.size() at the end or before a bad address.
  Result<size_t> CopyIn(std::span<std::byte> out);

  // pread(2) from a host fd straight into the sequence: at most `n` bytes, one host call for one
  // guest range. offset -1: read(2), for a pipe or socket (the fd must be non-blocking; kEAGAIN).
  // Data the host has in memory is read on the spot; else on a helper thread, parked (not when
  // `in_memory`: a memfd never waits for a disk).
  // Returns 0 at the end of the file. Bytes read from a pipe that then turn out to have a bad
  // destination are lost, as on Linux.
  Result<size_t> ReadFromHost(int host_fd, int64_t offset, size_t n, bool in_memory = false);
  // pwrite(2) likewise. At most `n` bytes; short on a bad address or when the host writes less.
  // flags: RWF_* of pwritev2(2) (RWF_APPEND, RWF_DSYNC). offset -1: write(2), one call.
  Result<size_t> WriteToHost(int host_fd, int64_t offset, size_t n, int flags = 0);

 private:
  // The part of the current range at the position, at most `n` bytes; length 0 at the end.
  Range Current(size_t n);
  void Advance(size_t n);
  std::span<std::byte> SentryMemory(Range r) const;
  // One host transfer at the position through the platform's window, sentry memory itself or a
  // buffer of our own, as it fits.
  Result<size_t> ReadOnce(int host_fd, int64_t offset, size_t n, bool in_memory);
  Result<size_t> WriteOnce(int host_fd, int64_t offset, size_t n, int flags);

  GuestMemory memory_;  // mm() is null for sentry memory
  Ranges ranges_;
  size_t index_ = 0;     // of the range the position is in
  size_t in_range_ = 0;  // offset of the position in it
  size_t remaining_ = 0;
  size_t position_ = 0;
};

}  // namespace msentry::mm
