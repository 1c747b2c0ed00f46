// GuestMemory: the one door to guest memory for everything above mm: an address space
// (MemoryManager) and, where the caller is the task itself, its platform::GuestThread, through
// which small copies need no host call at all (arguments already in the slot).
//
//   GuestMemory memory = task.memory();
//   abi::Timespec ts = TRY(memory.CopyIn(GuestPtr<abi::Timespec>(a[0])));
//   std::string path = TRY(memory.CopyInString(GuestPtr<char>(a[1]), abi::kPathMax));
//   TRY(memory.CopyOut(GuestPtr<int>(a[2]), 5));
//
// A small value: pass it by value. Valid while the MemoryManager and GuestThread live (within one
// system call). `thread` null is for other fibers (process_vm_readv, /proc/PID/mem): slower.
//
// Copies are all or nothing (kEFAULT) unless the name says Some; like Linux's, a failing copy may
// have written a prefix. No Mutex may be held across one. Another guest thread can change the
// memory at any time: copy once, then validate the copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "sentry/base/result.h"
#include "sentry/mm/guest_ptr.h"

namespace msentry::platform {
class GuestThread;
}

namespace msentry::mm {

class IoSequence;
class MemoryManager;

class GuestMemory {
 public:
  GuestMemory() = default;
  GuestMemory(MemoryManager* mm, platform::GuestThread* thread) : mm_(mm), thread_(thread) {}

  MemoryManager* mm() const { return mm_; }
  platform::GuestThread* thread() const { return thread_; }

  template <typename T>
  Result<T> CopyIn(GuestPtr<T> from) const {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    TRY(CopyInBytes(from.address(), std::as_writable_bytes(std::span(&value, 1))));
    return value;
  }
  template <typename T>
  Result<> CopyOut(GuestPtr<T> to, const std::type_identity_t<T>& value) const {
    static_assert(std::has_unique_object_representations_v<T> || std::is_trivially_copyable_v<T>);
    return CopyOutBytes(to.address(), std::as_bytes(std::span(&value, 1)));
  }
  template <typename T>
  Result<> CopyInArray(GuestPtr<T> from, std::span<T> out) const {
    static_assert(std::is_trivially_copyable_v<T>);
    return CopyInBytes(from.address(), std::as_writable_bytes(out));
  }
  template <typename T>
  Result<> CopyOutArray(GuestPtr<T> to, std::span<const T> in) const {
    static_assert(std::is_trivially_copyable_v<T>);
    return CopyOutBytes(to.address(), std::as_bytes(in));
  }
  // A structure whose size the caller was told (clone3, openat2, sched_setattr…): copies
  // min(size, sizeof(T)), zero-fills the rest; kE2BIG when bytes past sizeof(T) are not zero.
  template <typename T>
  Result<T> CopyInVersioned(GuestPtr<T> from, size_t size) const {
    static_assert(std::is_trivially_copyable_v<T>);
    T value{};
    TRY(CopyInVersionedBytes(from.address(), size, std::as_writable_bytes(std::span(&value, 1))));
    return value;
  }

  Result<> CopyInBytes(uint64_t from, std::span<std::byte> out) const;
  Result<> CopyOutBytes(uint64_t to, std::span<const std::byte> in) const;
  Result<> ZeroBytes(uint64_t to, size_t length) const;

  // How many bytes were copied before the first bad one; kEFAULT when none (and some were asked).
  Result<size_t> CopyInSome(uint64_t from, std::span<std::byte> out) const;
  Result<size_t> CopyOutSome(uint64_t to, std::span<const std::byte> in) const;

  // The NUL-terminated string at `from`, without its NUL. kENAMETOOLONG when there is none in the
  // first `max` bytes (so `max` counts the NUL, as PATH_MAX does).
  Result<std::string> CopyInString(GuestPtr<char> from, size_t max) const;

  // The ranges of readv(2)'s iovec array. kEINVAL for a count above UIO_MAXIOV (1024) or a negative
  // length; the total is cut at MAX_RW_COUNT; addresses are checked to lie in the guest's space
  // (kEFAULT), as Linux does before it starts.
  Result<IoSequence> CopyInIovec(uint64_t iovec, uint64_t count) const;

 private:
  Result<> CopyInVersionedBytes(uint64_t from, size_t size, std::span<std::byte> out) const;

  MemoryManager* mm_ = nullptr;
  platform::GuestThread* thread_ = nullptr;
};

}  // namespace msentry::mm
