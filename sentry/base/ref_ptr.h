// Intrusive reference counting for kernel objects (tasks, dentries, inodes, file descriptions).
//
//   class Inode : public RefCounted<Inode> { ... };
//   RefPtr<Inode> inode = MakeRef<Inode>(args);
//
// The count starts at one, owned by the RefPtr that MakeRef returns. The last reference must be
// dropped with no lock held: destructors may take locks and block.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "sentry/base/check.h"

namespace msentry {

template <typename T>
class RefCounted {
 public:
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;

  void Ref() const { refs_.fetch_add(1, std::memory_order_relaxed); }
  void Unref() const {
    if (DropRef()) delete static_cast<const T*>(this);
  }
  // Takes a reference unless the object is already being destroyed (for tables of weak pointers).
  [[nodiscard]] bool TryRef() const {
    int32_t n = refs_.load(std::memory_order_relaxed);
    while (n > 0) {
      if (refs_.compare_exchange_weak(n, n + 1, std::memory_order_acquire)) return true;
    }
    return false;
  }
  int32_t ref_count() const { return refs_.load(std::memory_order_relaxed); }

 protected:
  RefCounted() = default;
  ~RefCounted() = default;

  // true when that was the last reference. For a T that hides Unref() because something has to
  // happen before the destructors run.
  [[nodiscard]] bool DropRef() const {
    int32_t before = refs_.fetch_sub(1, std::memory_order_acq_rel);
    DCHECK(before > 0);
    return before == 1;
  }

 private:
  mutable std::atomic<int32_t> refs_{1};
};

template <typename T>
class RefPtr {
 public:
  RefPtr() = default;
  RefPtr(std::nullptr_t) {}  // NOLINT
  explicit RefPtr(T* p) : p_(p) {
    if (p_) p_->Ref();
  }
  RefPtr(const RefPtr& o) : RefPtr(o.p_) {}
  RefPtr(RefPtr&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  template <typename U>
  requires std::is_convertible_v<U*, T*> RefPtr(const RefPtr<U>& o) : RefPtr(o.get()) {}  // NOLINT
  template <typename U>
  requires std::is_convertible_v<U*, T*> RefPtr(RefPtr<U>&& o)
  noexcept : p_(o.Release()) {}  // NOLINT
  RefPtr& operator=(RefPtr o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  ~RefPtr() {
    if (p_) p_->Unref();
  }

  // Takes over a reference that the caller already owns.
  static RefPtr Adopt(T* p) {
    RefPtr r;
    r.p_ = p;
    return r;
  }
  [[nodiscard]] T* Release() { return std::exchange(p_, nullptr); }
  T* get() const { return p_; }
  T* operator->() const {
    DCHECK(p_);
    return p_;
  }
  T& operator*() const {
    DCHECK(p_);
    return *p_;
  }
  explicit operator bool() const { return p_ != nullptr; }
  void Reset() { RefPtr().swap(*this); }
  void swap(RefPtr& o) noexcept { std::swap(p_, o.p_); }
  template <typename U>
  bool operator==(const RefPtr<U>& o) const {
    return p_ == o.get();
  }
  bool operator==(std::nullptr_t) const { return p_ == nullptr; }

 private:
  T* p_ = nullptr;
};

template <typename T, typename... Args>
RefPtr<T> MakeRef(Args&&... args) {
  return RefPtr<T>::Adopt(new T(std::forward<Args>(args)...));
}

}  // namespace msentry
