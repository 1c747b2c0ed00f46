#include "sentry/sched/timer_heap.h"

#include "sentry/base/check.h"

namespace msentry::sched::internal {

void TimerHeap::Place(size_t index, TimerNode* node) {
  nodes_[index] = node;
  node->index = index;
}

void TimerHeap::Up(size_t index) {
  TimerNode* node = nodes_[index];
  while (index > 0) {
    size_t parent = (index - 1) / 2;
    if (nodes_[parent]->deadline_ns <= node->deadline_ns) break;
    Place(index, nodes_[parent]);
    index = parent;
  }
  Place(index, node);
}

void TimerHeap::Down(size_t index) {
  TimerNode* node = nodes_[index];
  for (;;) {
    size_t child = 2 * index + 1;
    if (child >= nodes_.size()) break;
    if (child + 1 < nodes_.size() && nodes_[child + 1]->deadline_ns < nodes_[child]->deadline_ns) {
      ++child;
    }
    if (nodes_[child]->deadline_ns >= node->deadline_ns) break;
    Place(index, nodes_[child]);
    index = child;
  }
  Place(index, node);
}

void TimerHeap::Push(TimerNode* node) {
  DCHECK(!node->queued());
  nodes_.push_back(node);
  Up(nodes_.size() - 1);
}

void TimerHeap::Remove(TimerNode* node) {
  size_t index = node->index;
  DCHECK(index < nodes_.size() && nodes_[index] == node);
  TimerNode* last = nodes_.back();
  nodes_.pop_back();
  node->index = TimerNode::kNotQueued;
  if (last == node) return;
  Place(index, last);
  Up(index);
  Down(last->index);
}

}  // namespace msentry::sched::internal
