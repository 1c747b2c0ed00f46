// The parts of the kernel that need no platform: queues, tables, limits, the log.
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/stat.h>

#include "sentry/kernel/dmesg.h"
#include "sentry/kernel/exec_creds.h"
#include "sentry/kernel/fd_table.h"
#include "sentry/kernel/limits.h"
#include "sentry/kernel/pid_table.h"
#include "sentry/kernel/signal.h"
#include "vfs/file_description.h"
#include "vfs/vfs.h"

namespace msentry::kernel {
namespace {

// ---- pending signals ----

TEST(PendingSignals, StandardSignalIsPendingOnce) {
  PendingSignals queue;
  queue.Add(UserSignal(SIGUSR1, SI_USER, 1, 0));
  queue.Add(UserSignal(SIGUSR1, SI_USER, 2, 0));
  SigInfo info;
  ASSERT_TRUE(queue.Take(0, &info));
  EXPECT_EQ(info.user.pid, 1);
  EXPECT_FALSE(queue.Take(0, &info));
}

TEST(PendingSignals, RealTimeSignalsQueueInOrder) {
  PendingSignals queue;
  for (int i = 0; i < 3; ++i) queue.Add(UserSignal(40, SI_QUEUE, i, 0));
  SigInfo info;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(queue.set(), SigBit(40));
    ASSERT_TRUE(queue.Take(0, &info));
    EXPECT_EQ(info.user.pid, i);
  }
  EXPECT_EQ(queue.set(), 0u);
}

TEST(PendingSignals, SynchronousComeFirstThenTheLowest) {
  PendingSignals queue;
  queue.Add(KernelSignal(SIGTERM));
  queue.Add(KernelSignal(SIGHUP));
  queue.Add(KernelSignal(SIGSEGV));
  SigInfo info;
  ASSERT_TRUE(queue.Take(0, &info));
  EXPECT_EQ(info.signo, SIGSEGV);
  ASSERT_TRUE(queue.Take(0, &info));
  EXPECT_EQ(info.signo, SIGHUP);
}

TEST(PendingSignals, BlockedOnesStay) {
  PendingSignals queue;
  queue.Add(KernelSignal(SIGTERM));
  SigInfo info;
  EXPECT_FALSE(queue.Take(SigBit(SIGTERM), &info));
  EXPECT_EQ(queue.set(), SigBit(SIGTERM));
  queue.Remove(SigBit(SIGTERM));
  EXPECT_EQ(queue.set(), 0u);
}

TEST(PendingSignals, SignalWithoutRoomForItsInfoIsStillDelivered) {
  PendingSignals queue;
  queue.Add(UserSignal(SIGUSR2, SI_USER, 9, 9), /*info_dropped=*/true);
  SigInfo info;
  ASSERT_TRUE(queue.Take(0, &info));
  EXPECT_EQ(info.signo, SIGUSR2);
  EXPECT_EQ(info.user.pid, 0);
}

TEST(SignalHandlers, ExecKeepsIgnoredAndDropsCaught) {
  SignalHandlers handlers;
  handlers.Set(SIGUSR1, {.handler = 0x1000});
  handlers.Set(SIGUSR2, {.handler = 1});
  handlers.ResetForExec();
  EXPECT_EQ(handlers.Get(SIGUSR1).handler, 0u);
  EXPECT_EQ(handlers.Get(SIGUSR2).handler, 1u);
  EXPECT_EQ(handlers.IgnoredSet(), SigBit(SIGUSR2));
}

TEST(SignalHandlers, ResetHandIsResetOnDelivery) {
  SignalHandlers handlers;
  handlers.Set(SIGUSR1, {.handler = 0x1000, .flags = static_cast<unsigned>(SA_RESETHAND)});
  EXPECT_EQ(handlers.TakeForDelivery(SIGUSR1).handler, 0x1000u);
  EXPECT_EQ(handlers.Get(SIGUSR1).handler, 0u);
}

// ---- limits ----

TEST(Limits, OnlyThePrivilegedRaiseTheHardLimit) {
  Limits limits;
  EXPECT_TRUE(limits.Set(RLIMIT_FSIZE, {10, 20}, false).ok());
  EXPECT_EQ(limits.Set(RLIMIT_FSIZE, {10, 30}, false).error(), Errno::kEPERM);
  EXPECT_EQ(limits.Set(RLIMIT_FSIZE, {30, 20}, true).error(), Errno::kEINVAL);
  EXPECT_TRUE(limits.Set(RLIMIT_FSIZE, {30, 30}, true).ok());
  EXPECT_EQ(Limits(limits).Soft(RLIMIT_FSIZE), 30u);
}

TEST(UserUsage, CountsToTheLimit) {
  UserUsage users;
  EXPECT_TRUE(users.AddProcess(7, 2));
  EXPECT_TRUE(users.AddProcess(7, 2));
  EXPECT_FALSE(users.AddProcess(7, 2));
  EXPECT_TRUE(users.AddProcess(8, 2));
  users.RemoveProcess(7);
  EXPECT_TRUE(users.AddProcess(7, 2));
}

// ---- file descriptors ----

class FdTableTest : public testing::Test {
 protected:
  RefPtr<vfs::FileDescription> NewFile() {
    return MakeRef<vfs::PathOnlyFile>(
        vfs::MakeAnonymousLocation(vfs::MakeAnonymousInode(vfs_, creds_, 0600), "test"), O_RDONLY);
  }
  vfs::Vfs vfs_;
  auth::Credentials creds_;
  FdTable table_;
};

TEST_F(FdTableTest, LowestFreeNumberIsGiven) {
  EXPECT_EQ(*table_.Install(NewFile(), {}), 0);
  EXPECT_EQ(*table_.Install(NewFile(), {}), 1);
  EXPECT_EQ(*table_.Install(NewFile(), {.lowest = 5}), 5);
  EXPECT_TRUE(table_.Remove(0).ok());
  EXPECT_EQ(*table_.Install(NewFile(), {}), 0);
  EXPECT_EQ(*table_.Install(NewFile(), {}), 2);
  EXPECT_EQ(table_.Get(3).error(), Errno::kEBADF);
  EXPECT_EQ(table_.Get(-1).error(), Errno::kEBADF);
}

TEST_F(FdTableTest, LimitBounds) {
  EXPECT_EQ(*table_.Install(NewFile(), {.limit = 1}), 0);
  EXPECT_EQ(table_.Install(NewFile(), {.limit = 1}).error(), Errno::kEMFILE);
  EXPECT_EQ(table_.Install(NewFile(), {.lowest = 4, .limit = 4}).error(), Errno::kEINVAL);
  EXPECT_EQ(table_.Replace(4, NewFile(), false, 4).error(), Errno::kEBADF);
}

TEST_F(FdTableTest, CloseOnExecClosesThose) {
  (void)table_.Install(NewFile(), {.close_on_exec = true});
  (void)table_.Install(NewFile(), {});
  int closed = 0;
  table_.CloseOnExecFiles([&](RefPtr<vfs::FileDescription>) { ++closed; });
  EXPECT_EQ(closed, 1);
  EXPECT_EQ(table_.OpenFds(), std::vector<int>({1}));
}

TEST_F(FdTableTest, CloseRangeMayOnlyMark) {
  for (int i = 0; i < 4; ++i) (void)table_.Install(NewFile(), {});
  table_.CloseRange(1, 2, /*only_set_cloexec=*/true, [](auto) { FAIL(); });
  EXPECT_FALSE(*table_.CloseOnExec(0));
  EXPECT_TRUE(*table_.CloseOnExec(1));
  table_.CloseRange(1, ~0u, false, [](auto) {});
  EXPECT_EQ(table_.OpenFds(), std::vector<int>({0}));
}

// ---- pids ----

TEST(PidTable, NumbersInUseAreSkipped) {
  PidTable pids;
  EXPECT_EQ(*pids.Allocate(), 1);
  EXPECT_EQ(*pids.Allocate(), 2);
  auto session = MakeRef<Session>(2);
  ProcessGroup group(2, session);
  pids.SetGroup(2, &group);
  EXPECT_EQ(pids.FindGroup(2), &group);
  EXPECT_EQ(pids.FindTask(2), nullptr);
  EXPECT_EQ(*pids.Allocate(), 3);
  pids.SetGroup(2, nullptr);
  EXPECT_EQ(pids.FindGroup(2), nullptr);
}

// ---- the log ----

TEST(Dmesg, OpensWithTheBootMessages) {
  Dmesg log(42);
  const std::string text = log.ReadAll(1 << 20, false);
  EXPECT_TRUE(text.starts_with("<6>[    0.000000] Starting gVisor...\n")) << text;
  EXPECT_NE(text.find("Ready!\n"), std::string::npos);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 12);
  EXPECT_NE(text, Dmesg(43).ReadAll(1 << 20, false));
}

TEST(Dmesg, ReadGivesTheNewestWholeLines) {
  Dmesg log(1);
  log.Append(5'000'000'000, 4, "last");
  EXPECT_EQ(log.ReadAll(30, false), "<4>[    5.000000] last\n");
  log.Clear();
  EXPECT_EQ(log.ReadAll(1000, false), "");
  log.Append(6'000'000'000, 4, "next");
  EXPECT_EQ(log.ReadAll(1000, true), "<4>[    6.000000] next\n");
  EXPECT_EQ(log.ReadAll(1000, false), "");
}

TEST(Dmesg, StampsNeverGoBack) {
  Dmesg log(1);
  log.Append(5'000'000, 4, "early");
  const std::string text = log.ReadAll(1 << 20, false);
  EXPECT_GT(text.substr(text.size() - 14 - 8), "<4>[    3.1");
  EXPECT_EQ(text.substr(text.size() - 8), "] early\n");
}

TEST(Dmesg, ALineIsWrittenForEachLineOfAMessage) {
  Dmesg log(1);
  log.Clear();
  log.Append(7'000'001'000, 12, "one\ntwo\n");
  EXPECT_EQ(log.ReadAll(1000, false), "<12>[    7.000001] one\n<12>[    7.000001] two\n");
}

TEST(Dmesg, ConsumeGivesLongLinesInParts) {
  Dmesg log(1);
  log.Consume(1 << 20);
  EXPECT_EQ(log.unread_bytes(), 0u);
  log.Append(8'000'000'000, 4, "abc");
  EXPECT_EQ(log.unread_bytes(), 22u);
  EXPECT_EQ(log.Consume(20), "<4>[    8.000000] ab");
  EXPECT_EQ(log.unread_bytes(), 2u);
  EXPECT_EQ(log.Consume(100), "c\n");
  EXPECT_EQ(log.Consume(100), "");
}

TEST(Dmesg, RecordsAreReadInTurnAndEscaped) {
  Dmesg log(1);
  uint64_t at = log.next_sequence();
  EXPECT_EQ(log.ReadRecord(&at, 100).error(), Errno::kEAGAIN);
  log.Append(9'000'000'000, 6, "a\tb\\");
  EXPECT_EQ(log.ReadRecord(&at, 5).error(), Errno::kEINVAL);
  EXPECT_EQ(*log.ReadRecord(&at, 100), "6,12,9000000,-;a\\x09b\\x5c\n");
  EXPECT_EQ(log.ReadRecord(&at, 100).error(), Errno::kEAGAIN);
}

TEST(Dmesg, AReaderThatIsTooSlowIsTold) {
  Dmesg log(1);
  uint64_t at = 0;
  const std::string line(500, 'x');
  for (int i = 0; i < 1000; ++i) log.Append(10'000'000'000, 6, line);
  EXPECT_EQ(log.ReadRecord(&at, 8192).error(), Errno::kEPIPE);
  EXPECT_EQ(at, log.first_sequence());
  EXPECT_TRUE(log.ReadRecord(&at, 8192).ok());
  EXPECT_LE(log.ReadAll(1 << 20, false).size(), Dmesg::kRingBytes);
}

TEST(Dmesg, BurstsAreCut) {
  Dmesg log(1);
  int suppressed = 0;
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(log.AllowBurst(6'000'000'000, &suppressed));
  EXPECT_FALSE(log.AllowBurst(6'000'000'000, &suppressed));
  EXPECT_TRUE(log.AllowBurst(12'000'000'000, &suppressed));
  EXPECT_EQ(suppressed, 1);
}

// ---- credentials at execve ----

RefPtr<auth::Credentials> User() {
  auto c = MakeRef<auth::Credentials>();
  c->uid = c->euid = c->suid = c->fsuid = 1000;
  c->gid = c->egid = c->sgid = c->fsgid = 1000;
  return c;
}

TEST(ExecCreds, SetUidRootGivesAllCapabilities) {
  RefPtr<auth::Credentials> old = User();
  bool secure = false;
  auth::CredsRef next = TransformCreds(*old, S_ISUID | 0755, 0, 0, nullptr, true, &secure);
  EXPECT_EQ(next->uid, 1000u);
  EXPECT_EQ(next->euid, 0u);
  EXPECT_EQ(next->suid, 0u);
  EXPECT_EQ(next->effective, auth::kAllCaps);
  EXPECT_TRUE(secure);
}

TEST(ExecCreds, SetIdBitsAreIgnoredWhenNotHonoured) {
  RefPtr<auth::Credentials> old = User();
  bool secure = false;
  auth::CredsRef next = TransformCreds(*old, S_ISUID | 0755, 0, 0, nullptr, false, &secure);
  EXPECT_EQ(next->euid, 1000u);
  EXPECT_EQ(next->permitted, 0u);
  EXPECT_FALSE(secure);
}

TEST(ExecCreds, SetGidNeedsGroupExecute) {
  RefPtr<auth::Credentials> old = User();
  bool secure = false;
  EXPECT_EQ(TransformCreds(*old, S_ISGID | 0745, 0, 5, nullptr, true, &secure)->egid, 1000u);
  EXPECT_EQ(TransformCreds(*old, S_ISGID | 0755, 0, 5, nullptr, true, &secure)->egid, 5u);
}

TEST(ExecCreds, OrdinaryProgramLosesPermittedCapabilities) {
  RefPtr<auth::Credentials> old = User();
  old->permitted = old->effective = auth::kAllCaps;
  bool secure = false;
  auth::CredsRef next = TransformCreds(*old, 0755, 0, 0, nullptr, true, &secure);
  EXPECT_EQ(next->permitted, 0u);
  EXPECT_EQ(next->effective, 0u);
}

TEST(ExecCreds, AmbientCapabilitiesStay) {
  RefPtr<auth::Credentials> old = User();
  old->permitted = old->inheritable = old->ambient = 1 << CAP_NET_RAW;
  bool secure = false;
  auth::CredsRef next = TransformCreds(*old, 0755, 0, 0, nullptr, true, &secure);
  EXPECT_EQ(next->effective, auth::CapSet{1} << CAP_NET_RAW);
  EXPECT_FALSE(secure);
}

TEST(ExecCreds, FileCapabilitiesAreGranted) {
  const uint32_t raw[5] = {VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE, 1 << CAP_NET_RAW, 0, 0, 0};
  Result<FileCaps> caps =
      ParseFileCaps(std::string_view(reinterpret_cast<const char*>(raw), sizeof(raw)));
  ASSERT_TRUE(caps.ok());
  RefPtr<auth::Credentials> old = User();
  bool secure = false;
  auth::CredsRef next = TransformCreds(*old, 0755, 0, 0, &*caps, true, &secure);
  EXPECT_EQ(next->effective, auth::CapSet{1} << CAP_NET_RAW);
  EXPECT_TRUE(secure);
  EXPECT_FALSE(ParseFileCaps("x").ok());
}

}  // namespace
}  // namespace msentry::kernel
