// What the platform tests share: a scheduler and a platform per test, and guest programs of a few
// instructions (test_snippets.S) mapped and run with no kernel above.
//
// The tests know no implementation. PLATFORM_TEST_SUITE instantiates a suite on each that exists.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <memory>

#include "platform/platform.h"
#include "sentry/sched/scheduler.h"

namespace msentry::platform {

inline constexpr uint64_t kCode = 0x400000, kData = 0x500000, kStackTop = 0x700000;
inline constexpr uint64_t kPage = arch::kPageSize;

// A guest program: the bytes between two labels of test_snippets.S.
struct Snippet {
  const char* begin;
  const char* end;
};
#define PLATFORM_SNIPPET(name)                                    \
  extern "C" const char snippet_##name[], snippet_##name##_end[]; \
  inline const Snippet k_##name { snippet_##name, snippet_##name##_end }

// A guest thread with its address space and registers. Its code is at kCode, four pages of data at
// kData, a stack below kStackTop.
struct Guest {
  RefPtr<AddressSpace> space;
  std::unique_ptr<GuestThread> thread;
  arch::Registers registers = {};

  Event Switch() { return thread->Switch(registers); }
  // Switch, and an expectation that it ends in this system call.
  void ExpectSyscall(uint64_t number);
  Guest Fork();
  // Another thread of the process, at `rip`, with its own stack below `stack_top`.
  Guest NewThread(uint64_t rip, uint64_t stack_top);
  uint64_t Read(uint64_t address);
  void Write(uint64_t address, uint64_t value);
};

class PlatformTest : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override;
  void TearDown() override;

  virtual int Workers() const { return 2; }
  virtual bool StrictGate() const { return false; }
  // Runs `body` as a fiber, with the workers it needs.
  void Run(absl::AnyInvocable<void()> body);
  // On a fiber.
  Guest NewGuest(Snippet program);
  // Puts `program` at kCode as programs are loaded, by a private file mapping: a platform may
  // change its call sites.
  void MapProgramFile(Guest& guest, Snippet program);

  sched::Scheduler& scheduler() { return *scheduler_; }
  Platform& platform() { return *platform_; }

 private:
  std::unique_ptr<sched::Scheduler> scheduler_;
  std::unique_ptr<Platform> platform_;
};

// Skips nothing by itself: an implementation the host forbids makes SetUp skip, with the reason.
#define PLATFORM_TEST_SUITE(suite)                                      \
  INSTANTIATE_TEST_SUITE_P(                                             \
      Platforms, suite, testing::Values(Kind::kSystrap, Kind::kPtrace), \
      [](const auto& info) { return info.param == Kind::kPtrace ? "ptrace" : "systrap"; })

// Host children of this process, zombies too, and its open descriptors.
int CountChildren();
int CountFds();

}  // namespace msentry::platform
