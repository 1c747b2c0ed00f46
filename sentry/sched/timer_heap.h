// TimerHeap: deadlines in a binary heap whose nodes know their place. Internal to sentry/sched.
// The owner locks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace msentry::sched {
class Fiber;
namespace internal {

struct TimerState;

// One deadline: of a parked fiber or of a Timer.
struct TimerNode {
  static constexpr size_t kNotQueued = SIZE_MAX;
  int64_t deadline_ns = 0;
  size_t index = kNotQueued;
  Fiber* fiber = nullptr;
  TimerState* timer = nullptr;
  bool queued() const { return index != kNotQueued; }
};

class TimerHeap {
 public:
  bool empty() const { return nodes_.empty(); }
  TimerNode* first() const { return nodes_.empty() ? nullptr : nodes_[0]; }
  // Pre: not queued.
  void Push(TimerNode* node);
  // Pre: queued here.
  void Remove(TimerNode* node);

 private:
  void Place(size_t index, TimerNode* node);
  void Up(size_t index);
  void Down(size_t index);
  std::vector<TimerNode*> nodes_;
};

}  // namespace internal
}  // namespace msentry::sched
