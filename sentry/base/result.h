// Result<T>: a value or an Errno. Every fallible function in the sentry returns one.
//
//   Result<Fd> Open(...) {
//     RefPtr<Inode> inode = TRY(Lookup(name));   // returns the error to our caller
//     if (!inode->IsRegular()) return Errno::kEINVAL;
//     return fd;
//   }
//
// Result<> (= Result<void>) is for functions with nothing to return; `return Ok();` says so.
#pragma once

#include <optional>
#include <type_traits>
#include <utility>

#include "sentry/base/check.h"
#include "sentry/base/errno.h"

namespace msentry {

struct Ok {};

template <typename T = void>
class [[nodiscard]] Result {
 public:
  Result(Errno e) : error_(e) {}  // NOLINT: implicit, so that `return Errno::kEINVAL;` works
  template <typename U = T>
  requires(std::is_constructible_v<T, U&&> && !std::is_same_v<std::remove_cvref_t<U>, Errno> &&
           !std::is_same_v<std::remove_cvref_t<U>, Result>) Result(U&& value)
      : value_(std::in_place, std::forward<U>(value)) {}  // NOLINT

  bool ok() const { return value_.has_value(); }
  explicit operator bool() const { return ok(); }
  Errno error() const {
    CHECK(!ok());
    return error_;
  }
  T& value() & {
    CHECK(ok());
    return *value_;
  }
  const T& value() const& {
    CHECK(ok());
    return *value_;
  }
  T value() && {
    CHECK(ok());
    return std::move(*value_);
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T value_or(T other) const& { return ok() ? *value_ : std::move(other); }

 private:
  std::optional<T> value_;
  Errno error_ = Errno::kEINVAL;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result(Errno e) : error_(e), ok_(false) {}  // NOLINT
  Result(Ok) : ok_(true) {}                   // NOLINT
  bool ok() const { return ok_; }
  explicit operator bool() const { return ok_; }
  Errno error() const {
    CHECK(!ok_);
    return error_;
  }
  void value() const { CHECK(ok_); }

 private:
  Errno error_ = Errno::kEINVAL;
  bool ok_;
};

}  // namespace msentry

// The value of a Result, or return its error from the enclosing function.
#define TRY(expr)                                           \
  ({                                                        \
    auto&& try_result = (expr);                             \
    if (!try_result.ok()) return try_result.error();        \
    std::forward<decltype(try_result)>(try_result).value(); \
  })

// The value of a Result that cannot fail here; a failure is a bug of ours.
#define MUST(expr)                                            \
  ({                                                          \
    auto&& must_result = (expr);                              \
    CHECK(must_result.ok());                                  \
    std::forward<decltype(must_result)>(must_result).value(); \
  })
