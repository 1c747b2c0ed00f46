#include "vfs/locks.h"

#include <gtest/gtest.h>

namespace msentry::vfs {
namespace {

const int kA = 0, kB = 0, kC = 0;
const LockOwner a{&kA, 1}, b{&kB, 2}, c{&kC, 3};

RecordLock Read(LockOwner o, uint64_t start, uint64_t end) {
  return {o, LockType::kRead, start, end};
}
RecordLock Write(LockOwner o, uint64_t start, uint64_t end) {
  return {o, LockType::kWrite, start, end};
}
RecordLock Unlock(LockOwner o, uint64_t start, uint64_t end) {
  return {o, LockType::kUnlock, start, end};
}

TEST(RecordLocksTest, ReadersShareAndWritersExclude) {
  FileLocks locks;
  EXPECT_TRUE(locks.SetRecord(Read(a, 0, 10)).ok());
  EXPECT_TRUE(locks.SetRecord(Read(b, 5, 15)).ok());
  EXPECT_EQ(locks.SetRecord(Write(b, 0, 6)).error(), Errno::kEAGAIN);
  EXPECT_TRUE(locks.SetRecord(Write(b, 10, 20)).ok());
  RecordLock found = locks.TestRecord(Write(c, 12, 13));
  EXPECT_EQ(found.type, LockType::kWrite);
  EXPECT_EQ(found.owner.pid, 2);
  EXPECT_EQ(locks.TestRecord(Write(c, 20, 30)).type, LockType::kUnlock);
}

TEST(RecordLocksTest, UnlockingTheMiddleSplits) {
  FileLocks locks;
  ASSERT_TRUE(locks.SetRecord(Write(a, 0, 100)).ok());
  ASSERT_TRUE(locks.SetRecord(Unlock(a, 40, 60)).ok());
  EXPECT_TRUE(locks.SetRecord(Write(b, 40, 60)).ok());
  EXPECT_FALSE(locks.SetRecord(Write(b, 39, 40)).ok());
  EXPECT_FALSE(locks.SetRecord(Write(b, 60, 61)).ok());
  ASSERT_TRUE(locks.SetRecord(Unlock(b, 0, UINT64_MAX)).ok());
  // Filling the gap joins all three.
  ASSERT_TRUE(locks.SetRecord(Write(a, 40, 60)).ok());
  EXPECT_EQ(locks.List().size(), 1u);
}

TEST(RecordLocksTest, ADowngradeLetsReadersIn) {
  FileLocks locks;
  ASSERT_TRUE(locks.SetRecord(Write(a, 0, 10)).ok());
  ASSERT_TRUE(locks.SetRecord(Read(a, 0, 10)).ok());
  EXPECT_TRUE(locks.SetRecord(Read(b, 0, 10)).ok());
}

TEST(RecordLocksTest, CirclesOfWaitersAreFound) {
  FileLocks x, y;
  ASSERT_TRUE(x.SetRecord(Write(a, 0, 1)).ok());
  ASSERT_TRUE(y.SetRecord(Write(b, 0, 1)).ok());
  EXPECT_TRUE(y.BlockedOn(Write(a, 0, 1)).ok());
  EXPECT_EQ(x.BlockedOn(Write(b, 0, 1)).error(), Errno::kEDEADLK);
  FileLocks::Unblocked(a);
  EXPECT_TRUE(x.BlockedOn(Write(b, 0, 1)).ok());
  FileLocks::Unblocked(b);
}

TEST(RecordLocksTest, ReleaseTellsWaiters) {
  FileLocks locks;
  int told = 0;
  sched::Waiter waiter(sched::kIn, [&](sched::EventMask) { ++told; });
  locks.wait_queue().Add(&waiter);
  ASSERT_TRUE(locks.SetRecord(Write(a, 0, 1)).ok());
  EXPECT_EQ(told, 0);
  locks.DropOwner(a);
  EXPECT_EQ(told, 1);
  locks.wait_queue().Remove(&waiter);
}

TEST(FlockTest, SharedExclusiveAndConversion) {
  FileLocks locks;
  EXPECT_TRUE(locks.Flock(a, LockType::kRead).ok());
  EXPECT_TRUE(locks.Flock(b, LockType::kRead).ok());
  EXPECT_FALSE(locks.Flock(c, LockType::kWrite).ok());
  EXPECT_FALSE(locks.Flock(a, LockType::kWrite).ok());
  locks.DropFlock(b);
  EXPECT_TRUE(locks.Flock(a, LockType::kWrite).ok());
  EXPECT_TRUE(locks.SetRecord(Write(b, 0, 1)).ok()) << "the two families do not see each other";
}

}  // namespace
}  // namespace msentry::vfs
