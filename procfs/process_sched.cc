// What a task is doing and how it is scheduled: sched, schedstat, syscall, wchan, stack, timers.
#include <sched.h>
#include <sys/syscall.h>

#include "absl/strings/str_format.h"
#include "procfs/access.h"
#include "procfs/process_files.h"
#include "procfs/units.h"

namespace msentry::procfs {

namespace {

// The function of Linux's kernel in which a task sleeps in a call: what ps -o wchan shows.
const char* SleepsIn(int syscall) {
  switch (syscall) {
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
      return "hrtimer_nanosleep";
    case SYS_wait4:
    case SYS_waitid:
      return "do_wait";
    case SYS_futex:
      return "futex_wait_queue_me";
    case SYS_read:
    case SYS_readv:
    case SYS_write:
    case SYS_writev:
      return "pipe_wait";
    case SYS_poll:
    case SYS_ppoll:
    case SYS_select:
    case SYS_pselect6:
      return "poll_schedule_timeout";
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
      return "ep_poll";
    case SYS_accept:
    case SYS_accept4:
      return "inet_csk_accept";
    case SYS_recvfrom:
    case SYS_recvmsg:
      return "wait_for_more_packets";
    case SYS_pause:
    case SYS_rt_sigsuspend:
      return "sigsuspend";
    case SYS_rt_sigtimedwait:
      return "do_sigtimedwait";
    case SYS_vfork:
    case SYS_clone:
      return "_do_fork";
    default:
      return "schedule";
  }
}

// CLOCK_* as timer_create(2) was given it.
std::string TimerText(const kernel::ProcessTimers::Listed& t, int tgid) {
  const char* how = t.notify.kind == SIGEV_NONE ? "none" : "signal";
  const bool thread = t.notify.kind == SIGEV_THREAD_ID;
  return absl::StrFormat("ID: %d\nsignal: %d/%016x\nnotify: %s/%s.%d\nClockID: %d\n", t.id,
                         t.notify.signo, t.notify.value, how, thread ? "tid" : "pid",
                         thread ? t.notify.tid : tgid, t.clock);
}

}  // namespace

Result<> AcceptWrite(const View&, std::string_view) { return Ok(); }

Text ReadSched(const View& v) {
  const kernel::Usage u = v.task.GetUsage();
  const kernel::Task::Scheduling s = v.task.scheduling();
  const int64_t cpu = u.user_ns + u.system_ns;
  const bool realtime = s.policy == SCHED_FIFO || s.policy == SCHED_RR;
  std::string out = absl::StrFormat("%s (%d, #threads: %d)\n", v.task.comm(), v.subject.id,
                                    std::max(1, v.group.live_tasks.load()));
  out.append(67, '-').append("\n");
  // Times in milliseconds, as SPLIT_NS of kernel/sched/debug.c.
  const auto time = [&](const char* name, int64_t ns) {
    absl::StrAppendFormat(&out, "%-45s:%14d.%06d\n", name, ns / 1'000'000, ns % 1'000'000);
  };
  const auto number = [&](const char* name, int64_t value) {
    absl::StrAppendFormat(&out, "%-45s:%21d\n", name, value);
  };
  constexpr int kNiceZeroWeight = 1024;
  time("se.exec_start", v.kernel().uptime_ns());
  time("se.vruntime", cpu);
  time("se.sum_exec_runtime", cpu);
  number("se.nr_migrations", 0);
  number("nr_switches", u.voluntary_switches + u.involuntary_switches);
  number("nr_voluntary_switches", u.voluntary_switches);
  number("nr_involuntary_switches", u.involuntary_switches);
  number("se.load.weight", kNiceZeroWeight);
  number("policy", s.policy);
  number("prio", realtime ? 99 - s.priority : 120 + s.nice);
  number("clock-delta", 0);
  return out;
}

// Time on a CPU, time runnable without one, and how often it got one (sched-stats.txt).
Text ReadSchedstat(const View& v) {
  const kernel::Usage u = v.task.GetUsage();
  return absl::StrFormat("%d 0 %d\n", u.user_ns + u.system_ns,
                         u.voluntary_switches + u.involuntary_switches);
}

Text ReadWchan(const View& v) {
  if (!CheckInspect(v.ctx.creds, v.ctx.tgid, v.task).ok()) return std::string("0");
  const std::optional<kernel::Task::Sleep> sleep = v.task.GetSleep();
  return std::string(sleep ? SleepsIn(sleep->syscall) : "0");
}

// The frames are the sentry's own affair; this is how Linux ends every stack.
Text ReadStack(const View&) { return std::string("[<ffffffffffffffff>] 0xffffffffffffffff\n"); }

Text ReadSyscall(const View& v) {
  const std::optional<kernel::Task::Sleep> sleep = v.task.GetSleep();
  if (!sleep) {
    if (&v.task != v.ctx.task) return std::string("running\n");
    // The reader itself.
    const arch::Registers& r = v.task.registers();
    return absl::StrFormat("%d 0x%x 0x%x 0x%x 0x%x 0x%x 0x%x 0x%x 0x%x\n", r.orig_rax, r.rdi, r.rsi,
                           r.rdx, r.r10, r.r8, r.r9, r.rsp, r.rip);
  }
  if (sleep->syscall < 0) return absl::StrFormat("-1 0x%x 0x%x\n", sleep->sp, sleep->ip);
  std::string s = absl::StrCat(sleep->syscall);
  for (uint64_t arg : sleep->args) absl::StrAppendFormat(&s, " 0x%x", arg);
  absl::StrAppendFormat(&s, " 0x%x 0x%x\n", sleep->sp, sleep->ip);
  return s;
}

Text ReadTimers(const View& v) {
  std::string s;
  for (const auto& timer : v.group.timers().List()) s += TimerText(timer, v.task.tgid());
  return s;
}

Text ReadTimerslack(const View& v) {
  return absl::StrCat(v.task.timer_slack_ns.load(std::memory_order_relaxed), "\n");
}

// 0: the default again.
Result<> WriteTimerslack(const View& v, std::string_view text) {
  const uint64_t ns = TRY(ParseUnsigned(text, 10));
  if (v.ctx.tgid != v.task.tgid() && !v.ctx.creds.HasCap(auth::Cap::kSysNice)) return Errno::kEPERM;
  v.task.timer_slack_ns.store(ns != 0 ? ns : kernel::Task::kDefaultTimerSlack,
                              std::memory_order_relaxed);
  return Ok();
}

}  // namespace msentry::procfs
