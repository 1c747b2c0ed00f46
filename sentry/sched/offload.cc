// Offload: host calls that block for long run on helper threads, made on demand and kept for a
// while.
#include <condition_variable>
#include <mutex>
#include <thread>

#include "sentry/sched/scheduler.h"

namespace msentry::sched {
namespace {

constexpr int kMaxThreads = 16;
constexpr int kKeptIdle = 2;

struct Job {
  explicit Job(absl::FunctionRef<void()> f) : fn(f) {}
  absl::FunctionRef<void()> fn;
  Completion done;
};

// Never destroyed: helper threads are detached. std::mutex, because helpers wait on a condition;
// no fiber holds it across a switch.
struct Pool {
  std::mutex mutex;
  std::condition_variable more;
  std::deque<Job*> jobs;
  int idle = 0, threads = 0;
};
Pool& GetPool() {
  static Pool* pool = new Pool;
  return *pool;
}

void HelperThread() {
  Pool& pool = GetPool();
  std::unique_lock<std::mutex> lock(pool.mutex);
  for (;;) {
    if (pool.jobs.empty()) {
      if (pool.idle >= kKeptIdle) break;
      ++pool.idle;
      pool.more.wait(lock, [&pool] { return !pool.jobs.empty(); });
      --pool.idle;
    }
    Job* job = pool.jobs.front();
    pool.jobs.pop_front();
    lock.unlock();
    job->fn();
    job->done.Signal();
    lock.lock();
  }
  --pool.threads;
}

}  // namespace

void Offload(absl::FunctionRef<void()> fn) {
  if (CurrentFiber() == nullptr) {
    fn();
    return;
  }
  Job job(fn);
  {
    Pool& pool = GetPool();
    std::unique_lock<std::mutex> lock(pool.mutex);
    pool.jobs.push_back(&job);
    if (static_cast<int>(pool.jobs.size()) > pool.idle && pool.threads < kMaxThreads) {
      ++pool.threads;
      std::thread(HelperThread).detach();
    }
    pool.more.notify_one();
  }
  job.done.Wait();
}

}  // namespace msentry::sched
