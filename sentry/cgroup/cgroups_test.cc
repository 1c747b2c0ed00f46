#include "sentry/cgroup/cgroups.h"

#include "gtest/gtest.h"

namespace msentry::cgroup {
namespace {

Cgroups::Options Small() { return {.path = "/ta-1", .cpus = 4, .max_pids = 5}; }

TEST(CpuSetTest, ListFormatsBothWays) {
  for (const char* text : {"", "0", "0-3", "1,3", "0,2-5,63-65,127"}) {
    EXPECT_EQ(CpuSet::Parse(text, 128)->List(), text);
  }
  EXPECT_EQ(CpuSet::Parse("0-7:2/4", 8)->List(), "0-1,4-5");
  EXPECT_EQ(CpuSet::Parse("3-1", 8).error(), Errno::kEINVAL);
  EXPECT_EQ(CpuSet::Parse("1x", 8).error(), Errno::kEINVAL);
  EXPECT_EQ(CpuSet::Parse("-1", 8).error(), Errno::kEINVAL);
  EXPECT_EQ(CpuSet::Parse("8", 8).error(), Errno::kERANGE);
  EXPECT_TRUE(CpuSet::Parse("1-2", 8)->IsSubsetOf(CpuSet::First(3)));
  EXPECT_FALSE(CpuSet::Parse("1-3", 8)->IsSubsetOf(CpuSet::First(3)));
}

TEST(DeviceRulesTest, ExceptionsToTheDefault) {
  DeviceRules rules;
  EXPECT_EQ(rules.List(), "a *:* rwm\n");
  EXPECT_TRUE(rules.Allows('c', 1, 3, kDeviceRead));
  rules.Deny(*DeviceRule::Parse("c 1:3 w"));
  EXPECT_TRUE(rules.Allows('c', 1, 3, kDeviceRead));
  EXPECT_FALSE(rules.Allows('c', 1, 3, kDeviceRead | kDeviceWrite));
  rules.Deny(*DeviceRule::Parse("a"));
  EXPECT_FALSE(rules.Allows('c', 1, 3, kDeviceRead));
  rules.Allow(*DeviceRule::Parse("c 1:* rm"));
  EXPECT_TRUE(rules.Allows('c', 1, 5, kDeviceRead));
  EXPECT_FALSE(rules.Allows('c', 1, 5, kDeviceWrite));
  EXPECT_EQ(rules.List(), "c 1:* rm\n");
  EXPECT_TRUE(rules.Covers(*DeviceRule::Parse("c 1:3 r")));
  EXPECT_FALSE(rules.Covers(*DeviceRule::Parse("c *:3 r")));
  EXPECT_FALSE(DeviceRule::Parse("d 1:3 r").ok());
  EXPECT_FALSE(DeviceRule::Parse("c 1 r").ok());
  EXPECT_FALSE(DeviceRule::Parse("c 1:3 x").ok());
}

TEST(DeviceRulesTest, ARestrictedChildLosesWhatItsParentDenies) {
  DeviceRules parent, child;
  parent.Deny(*DeviceRule::Parse("c 5:* rw"));
  child.Restrict(parent);
  EXPECT_FALSE(child.Allows('c', 5, 1, kDeviceRead));
  EXPECT_TRUE(child.Allows('c', 1, 3, kDeviceRead));
  parent.Deny(*DeviceRule::Parse("a"));
  child.Restrict(parent);
  EXPECT_FALSE(child.Allows('c', 1, 3, kDeviceRead));
}

TEST(CgroupsTest, TextsHaveTheFormOfTheReference) {
  Cgroups cgroups(Small());
  Membership init;
  cgroups.Admit(&init);
  EXPECT_EQ(cgroups.TaskText(init),
            "7:pids:/ta-1\n6:memory:/ta-1\n5:job:/ta-1\n4:devices:/ta-1\n3:cpuset:/ta-1\n"
            "2:cpuacct:/ta-1\n1:cpu:/ta-1\n");
  EXPECT_EQ(cgroups.SummaryText(),
            "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t2\t1\ncpuacct\t2\t2\t1\n"
            "cpuset\t3\t2\t1\ndevices\t4\t2\t1\njob\t5\t2\t1\nmemory\t6\t2\t1\npids\t7\t2\t1\n");
  cgroups.Exit(&init, {});
  cgroups.Reap(&init);
}

TEST(CgroupsTest, PidsAreCountedUntilReapedInEveryGroupAbove) {
  Cgroups cgroups(Small());
  RefPtr<Hierarchy> pids = cgroups.HierarchyOf(Kind::kPids);
  RefPtr<Group> own = cgroups.SandboxGroup(*pids);
  RefPtr<Group> below = *cgroups.Make(*own, "below");
  EXPECT_EQ(cgroups.Make(*own, "below").error(), Errno::kEEXIST);
  Membership tasks[6];
  cgroups.Admit(&tasks[0]);
  {
    MutexLock lock(cgroups.mutex());
    below->pids.max = 2;
    cgroups.Move(&tasks[0], *below, {});
  }
  EXPECT_EQ(cgroups.Remove(*below).error(), Errno::kEBUSY);
  ASSERT_TRUE(cgroups.Fork(tasks[0], &tasks[1]).ok());
  EXPECT_EQ(cgroups.Fork(tasks[0], &tasks[2]).error(), Errno::kEAGAIN);
  EXPECT_EQ(below->pids.current, 2);
  EXPECT_EQ(own->pids.current, 2);
  EXPECT_EQ(pids->root->pids.current, 2);
  EXPECT_EQ(below->pids.failures, 1);
  cgroups.Exit(&tasks[1], {});
  EXPECT_EQ(cgroups.Fork(tasks[0], &tasks[2]).error(), Errno::kEAGAIN);  // a zombie counts
  cgroups.Reap(&tasks[1]);
  EXPECT_TRUE(cgroups.Fork(tasks[0], &tasks[2]).ok());
  // The sandbox's own limit holds whatever the guest does to its group.
  {
    MutexLock lock(cgroups.mutex());
    below->pids.max = own->pids.max = kNoLimit;
  }
  for (int i : {3, 4, 5}) EXPECT_TRUE(cgroups.Fork(tasks[0], &tasks[i]).ok());
  Membership more;
  EXPECT_EQ(cgroups.Fork(tasks[0], &more).error(), Errno::kEAGAIN);
  for (int i : {0, 2, 3, 4, 5}) {
    cgroups.Exit(&tasks[i], {});
    cgroups.Reap(&tasks[i]);
  }
  EXPECT_EQ(pids->root->pids.current, 0);
  EXPECT_TRUE(cgroups.Remove(*below).ok());
}

TEST(CgroupsTest, TimeStaysWhereItWasUsed) {
  Cgroups cgroups(Small());
  RefPtr<Group> own = cgroups.SandboxGroup(*cgroups.HierarchyOf(Kind::kCpuacct));
  RefPtr<Group> a = *cgroups.Make(*own, "a"), b = *cgroups.Make(*own, "b");
  Membership task;
  cgroups.Admit(&task);
  {
    MutexLock lock(cgroups.mutex());
    cgroups.Move(&task, *a, {10, 1});
    cgroups.Move(&task, *b, {30, 4});
    EXPECT_EQ(cgroups.SinceJoined(task, {31, 4}).total(), 1);
  }
  cgroups.Exit(&task, {35, 6});
  EXPECT_EQ(a->cpuacct.departed.user_ns, 20);
  EXPECT_EQ(a->cpuacct.departed.system_ns, 3);
  EXPECT_EQ(b->cpuacct.departed.user_ns, 5);
  EXPECT_EQ(own->cpuacct.departed.total(), 35 + 6);
  cgroups.Reap(&task);
}

TEST(CgroupsTest, ControllersInUseCannotBeMountedElsewhere) {
  Cgroups cgroups(Small());
  const KindMask both = MaskOf(Kind::kCpu) | MaskOf(Kind::kCpuacct);
  EXPECT_EQ(cgroups.Mount({.kinds = both}).error(), Errno::kEBUSY);
  RefPtr<Hierarchy> cpu = *cgroups.Mount({.kinds = MaskOf(Kind::kCpu)});
  EXPECT_EQ(cpu.get(), cgroups.HierarchyOf(Kind::kCpu).get());
  cgroups.Unmounted(*cpu);
  for (Kind kind : {Kind::kCpu, Kind::kCpuacct}) {
    RefPtr<Hierarchy> h = cgroups.HierarchyOf(kind);
    EXPECT_TRUE(cgroups.Remove(*cgroups.SandboxGroup(*h)).ok());
  }
  RefPtr<Hierarchy> joined = *cgroups.Mount({.kinds = both});
  EXPECT_EQ(joined->Label(), "cpu,cpuacct");
  Membership task;
  cgroups.Admit(&task);
  EXPECT_EQ(cgroups.TaskText(task).substr(0, 18), "8:cpu,cpuacct:/\n7:");
  cgroups.Exit(&task, {});
  cgroups.Reap(&task);
}

TEST(CgroupsTest, NamedHierarchiesComeAndGo) {
  Cgroups cgroups(Small());
  EXPECT_EQ(cgroups.Mount({.name = "x"}).error(), Errno::kEINVAL);
  RefPtr<Hierarchy> x = *cgroups.Mount({.none = true, .name = "x", .release_agent = "/agent"});
  EXPECT_EQ(cgroups.Mount({.name = "x"})->get(), x.get());
  cgroups.Unmounted(*x);
  Membership task;
  cgroups.Admit(&task);
  RefPtr<Group> group = *cgroups.Make(*x->root, "g");
  group->notify_on_release = true;
  {
    MutexLock lock(cgroups.mutex());
    cgroups.Move(&task, *group, {});
  }
  EXPECT_EQ(cgroups.TaskText(task).substr(0, 13), "8:name=x:/g\n7");
  EXPECT_FALSE(cgroups.has_releases());
  cgroups.Exit(&task, {});
  ASSERT_TRUE(cgroups.has_releases());
  EXPECT_EQ(cgroups.TakeReleases()[0].path, "/g");
  EXPECT_TRUE(cgroups.Remove(*group).ok());
  cgroups.Unmounted(*x);
  EXPECT_EQ(cgroups.Hierarchies().size(), size_t{kKinds});
  cgroups.Reap(&task);
}

TEST(CgroupsTest, NestingIsBounded) {
  Cgroups cgroups(Small());
  RefPtr<Group> at = cgroups.SandboxGroup(*cgroups.HierarchyOf(Kind::kJob));
  at->job.id = 7;
  Result<RefPtr<Group>> made = at;
  int levels = 0;
  while ((made = cgroups.Make(*at, "d")).ok()) {
    at = *made;
    ++levels;
  }
  EXPECT_EQ(made.error(), Errno::kENOSPC);
  EXPECT_GT(levels, 100);
  EXPECT_EQ(at->job.id, 7);  // inherited all the way
}

}  // namespace
}  // namespace msentry::cgroup
