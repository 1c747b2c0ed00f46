#include "sentry/syscalls/table.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>

namespace msentry::syscalls {
namespace {

TEST(SyscallTable, NumbersAreTheHosts) {
  ASSERT_NE(FindSyscall("read"), nullptr);
  EXPECT_EQ(FindSyscall("read")->number, SYS_read);
  EXPECT_EQ(FindSyscall("clone3")->number, SYS_clone3);
  EXPECT_STREQ(FindSyscall(SYS_statx)->name, "statx");
}

TEST(SyscallTable, EveryNumberOfLinuxIsListed) {
  for (uint64_t n = 0; n <= 334; n++) EXPECT_NE(FindSyscall(n), nullptr) << n;
  for (uint64_t n = 424; n <= 451; n++) EXPECT_NE(FindSyscall(n), nullptr) << n;
  EXPECT_EQ(FindSyscall(335), nullptr);
  EXPECT_EQ(FindSyscall(~uint64_t{0}), nullptr);
}

TEST(SyscallTable, ArgumentKindsReachThePlatform) {
  const abi::SyscallArgSpecs& read = ArgSpecs()[SYS_read];
  EXPECT_EQ(read.arg[1].kind, abi::ArgKind::kBufferOut);
  EXPECT_EQ(read.arg[1].length_arg, 2);
  EXPECT_EQ(ArgSpecs()[SYS_fstat].arg[1].size, 144);
}

}  // namespace
}  // namespace msentry::syscalls
