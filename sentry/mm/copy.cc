#include "sentry/mm/copy.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "platform/platform.h"
#include "sentry/arch/registers.h"
#include "sentry/mm/io_sequence.h"
#include "sentry/mm/memory_manager.h"

namespace msentry::mm {

namespace {

constexpr uint64_t kMaxIovecs = 1024;  // UIO_MAXIOV

// access_ok(): the range lies in the guest's part of the address space.
bool InGuestSpace(uint64_t address, uint64_t length) {
  return length <= arch::kTaskSize && address <= arch::kTaskSize - length;
}

// The part of [address, address + length) below the end of guest memory.
size_t ClampToGuestSpace(uint64_t address, size_t length) {
  if (address >= arch::kTaskSize) return 0;
  return std::min<uint64_t>(length, arch::kTaskSize - address);
}

}  // namespace

Result<size_t> GuestMemory::CopyInSome(uint64_t from, std::span<std::byte> out) const {
  if (out.empty()) return size_t{0};
  size_t limit = ClampToGuestSpace(from, out.size());
  size_t done = 0;
  bool grown = false;
  while (done < limit) {
    std::span<std::byte> rest = out.subspan(done, limit - done);
    Result<size_t> n = thread_ ? thread_->CopyIn(from + done, rest)
                               : mm_->address_space().CopyIn(from + done, rest);
    if (n && *n > 0) {
      done += std::min(*n, rest.size());
      continue;
    }
    // A stack that has not grown down to here yet reads as zeros.
    if (grown || mm_->Accessible(thread_, from + done, 1, PROT_READ) == 0) break;
    grown = true;
  }
  if (done == 0) return Errno::kEFAULT;
  return done;
}

Result<size_t> GuestMemory::CopyOutSome(uint64_t to, std::span<const std::byte> in) const {
  if (in.empty()) return size_t{0};
  size_t limit = ClampToGuestSpace(to, in.size());
  if (limit > 0) limit = mm_->Accessible(thread_, to, limit, PROT_WRITE);
  size_t done = 0;
  while (done < limit) {
    std::span<const std::byte> rest = in.subspan(done, limit - done);
    Result<size_t> n =
        thread_ ? thread_->CopyOut(to + done, rest) : mm_->address_space().CopyOut(to + done, rest);
    if (!n || *n == 0) break;
    done += std::min(*n, rest.size());
  }
  if (done == 0) return Errno::kEFAULT;
  return done;
}

Result<> GuestMemory::CopyInBytes(uint64_t from, std::span<std::byte> out) const {
  if (!InGuestSpace(from, out.size())) return Errno::kEFAULT;
  if (TRY(CopyInSome(from, out)) != out.size()) return Errno::kEFAULT;
  return Ok();
}

Result<> GuestMemory::CopyOutBytes(uint64_t to, std::span<const std::byte> in) const {
  if (!InGuestSpace(to, in.size())) return Errno::kEFAULT;
  if (TRY(CopyOutSome(to, in)) != in.size()) return Errno::kEFAULT;
  return Ok();
}

Result<> GuestMemory::ZeroBytes(uint64_t to, size_t length) const {
  static constexpr std::byte kZeros[4096] = {};
  while (length > 0) {
    size_t n = std::min(length, sizeof(kZeros));
    TRY(CopyOutBytes(to, std::span(kZeros, n)));
    to += n;
    length -= n;
  }
  return Ok();
}

Result<> GuestMemory::CopyInVersionedBytes(uint64_t from, size_t size,
                                           std::span<std::byte> out) const {
  if (size > arch::kPageSize) return Errno::kE2BIG;
  size_t known = std::min(size, out.size());
  TRY(CopyInBytes(from, out.first(known)));
  while (size > known) {
    std::byte rest[128];
    size_t n = std::min(size - known, sizeof(rest));
    TRY(CopyInBytes(from + known, std::span(rest, n)));
    if (!std::all_of(rest, rest + n, [](std::byte b) { return b == std::byte{0}; })) {
      return Errno::kE2BIG;
    }
    known += n;
  }
  return Ok();
}

Result<std::string> GuestMemory::CopyInString(GuestPtr<char> from, size_t max) const {
  std::string text;
  uint64_t at = from.address();
  size_t chunk = 256;
  char buffer[1024];
  while (text.size() < max) {
    // Not past a page's end: the string may end just before an unmapped page.
    size_t n = std::min({chunk, max - text.size(), sizeof(buffer),
                         static_cast<size_t>(arch::kPageSize - at % arch::kPageSize)});
    size_t got = TRY(CopyInSome(at, std::as_writable_bytes(std::span(buffer, n))));
    if (const void* nul = std::memchr(buffer, 0, got)) {
      text.append(buffer, static_cast<const char*>(nul) - buffer);
      return text;
    }
    text.append(buffer, got);
    at += got;
    chunk = sizeof(buffer);
  }
  return Errno::kENAMETOOLONG;
}

Result<IoSequence> GuestMemory::CopyInIovec(uint64_t iovec, uint64_t count) const {
  if (count > kMaxIovecs) return Errno::kEINVAL;
  struct GuestIovec {
    uint64_t base, length;
  };
  absl::InlinedVector<GuestIovec, 8> vectors(count);
  if (count > 0) TRY(CopyInArray(GuestPtr<GuestIovec>(iovec), std::span(vectors)));
  IoSequence::Ranges ranges;
  ranges.reserve(count);
  size_t total = 0;
  for (const GuestIovec& v : vectors) {
    if (static_cast<int64_t>(v.length) < 0) return Errno::kEINVAL;
    if (!InGuestSpace(v.base, v.length)) return Errno::kEFAULT;
    size_t length = std::min<size_t>(v.length, kMaxRwCount - total);
    total += length;
    if (length > 0) ranges.push_back({v.base, length});
  }
  return IoSequence(*this, std::move(ranges));
}

}  // namespace msentry::mm
