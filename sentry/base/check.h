// CHECK: an assertion that stays on in release builds. It fires only on a bug of ours, never on
// anything a guest or a user did; it prints the place and aborts (boot installs the crash report).
#pragma once

namespace msentry {

[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);

}  // namespace msentry

#define CHECK(condition)                                      \
  do {                                                        \
    if (!(condition)) [[unlikely]]                            \
      ::msentry::CheckFailed(#condition, __FILE__, __LINE__); \
  } while (0)

#ifdef NDEBUG
#define DCHECK(condition)        \
  do {                           \
    if (false) CHECK(condition); \
  } while (0)
#else
#define DCHECK(condition) CHECK(condition)
#endif
