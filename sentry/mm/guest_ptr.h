// GuestPtr<T>: the address of a T in guest memory. It has no `*` and no `->`: the only way to the
// value is a copy (mm/copy.h), which can fail.
//
//   GuestPtr<abi::Timespec> p(args[0]);
//   abi::Timespec ts = TRY(task.CopyIn(p));          // copy once, then validate the copy
//   TRY(task.CopyOut(p + 1, other));                 // arithmetic in elements, as in C
//
// A plain value; the address may be anything, also null or above the guest's address space: the
// copy checks.
#pragma once

#include <compare>
#include <cstdint>

namespace msentry::mm {

template <typename T>
class GuestPtr {
 public:
  constexpr GuestPtr() = default;
  constexpr explicit GuestPtr(uint64_t address) : address_(address) {}

  constexpr uint64_t address() const { return address_; }
  constexpr bool is_null() const { return address_ == 0; }
  constexpr explicit operator bool() const { return address_ != 0; }

  template <typename U>
  constexpr GuestPtr<U> Cast() const {
    return GuestPtr<U>(address_);
  }
  // The address `bytes` further on, as a pointer to U (a member of T at that offset).
  template <typename U>
  constexpr GuestPtr<U> At(uint64_t bytes) const {
    return GuestPtr<U>(address_ + bytes);
  }
  constexpr GuestPtr operator+(uint64_t n) const requires(!std::is_void_v<T>) {
    return GuestPtr(address_ + n * sizeof(T));
  }

  constexpr auto operator<=>(const GuestPtr&) const = default;

 private:
  uint64_t address_ = 0;
};

using GuestAddress = GuestPtr<void>;

}  // namespace msentry::mm
