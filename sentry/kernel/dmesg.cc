#include "sentry/kernel/dmesg.h"

#include <cstdio>
#include <random>

namespace msentry::kernel {
namespace {

constexpr int64_t kMs = 1'000'000;

// Ten of these are shown at boot.
constexpr std::string_view kJokes[] = {
    "Accelerating teletypewriter to 9600 baud...",
    "Asking the fibers to form an orderly queue...",
    "Checking that all bits are either zero or one...",
    "Convincing init that it is alone in the universe...",
    "Counting backwards from -ENOSYS...",
    "Creating bureaucratic processes...",
    "Creating process schedule...",
    "Explaining signals to the handlers...",
    "Folding the address space along the dotted line...",
    "Forgetting where the page tables were put...",
    "Handing out lottery tickets to the scheduler...",
    "Hiding the host behind a curtain...",
    "Knitting a thread pool...",
    "Negotiating a ceasefire between big and little endian...",
    "Painting the pipes before anyone reads them...",
    "Politicking the oom killer...",
    "Preparing for the zombie uprising...",
    "Promoting a futex to a present tense...",
    "Putting the lid on the sand box...",
    "Rehearsing system calls in front of a mirror...",
    "Reticulating splines...",
    "Rewriting the kernel in C++20...",
    "Segmenting fault lines...",
    "Sharpening the forks...",
    "Teaching sockets to hold hands...",
    "Untangling spaghetti stacks...",
    "Waiting for children...",
    "Walking the path less travelled...",
    "Watering the file system trees...",
    "Winding up the monotonic clock...",
};

}  // namespace

Dmesg::Dmesg(uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::string_view> jokes(std::begin(kJokes), std::end(kJokes));
  std::shuffle(jokes.begin(), jokes.end(), random);
  Append(0, 6, "Starting gVisor...");
  int64_t at = 0;
  for (int i = 0; i < 10; ++i) {
    at += 150 * kMs + static_cast<int64_t>(random() % 250) * kMs + random() % kMs;
    at = std::min(at, 3000 * kMs + i * 7 * kMs);
    Append(at, 6, jokes[i]);
  }
  Append(3100 * kMs + static_cast<int64_t>(random() % 50) * kMs, 6, "Ready!");
}

void Dmesg::Append(int64_t uptime_ns, int priority, std::string_view text) {
  const int64_t us = uptime_ns / 1000;
  char stamp[48];
  snprintf(stamp, sizeof(stamp), "<%d>[%5lld.%06lld] ", priority,
           static_cast<long long>(us / 1'000'000), static_cast<long long>(us % 1'000'000));
  std::string line = stamp;
  line.append(text).append("\n");
  MutexLock lock(mutex_);
  bytes_ += line.size();
  lines_.push_back(std::move(line));
  while (bytes_ > kRingBytes) {
    bytes_ -= lines_.front().size();
    lines_.pop_front();
    ++first_;
  }
}

std::string Dmesg::ReadFromLocked(uint64_t from, size_t max) const {
  size_t begin = lines_.size();
  size_t bytes = 0;
  while (begin > 0 && first_ + begin > from && bytes + lines_[begin - 1].size() <= max) {
    bytes += lines_[--begin].size();
  }
  std::string out;
  out.reserve(bytes);
  for (size_t i = begin; i < lines_.size(); ++i) out += lines_[i];
  return out;
}

std::string Dmesg::Read(size_t max) const {
  MutexLock lock(mutex_);
  return ReadFromLocked(0, max);
}

std::string Dmesg::ReadSinceClear(size_t max) const {
  MutexLock lock(mutex_);
  return ReadFromLocked(cleared_, max);
}

void Dmesg::Clear() {
  MutexLock lock(mutex_);
  cleared_ = first_ + lines_.size();
}

size_t Dmesg::unread_bytes() const {
  MutexLock lock(mutex_);
  size_t bytes = 0;
  for (size_t i = 0; i < lines_.size(); ++i) {
    if (first_ + i >= consumed_) bytes += lines_[i].size();
  }
  return bytes;
}

std::string Dmesg::Consume(size_t max) {
  MutexLock lock(mutex_);
  std::string out;
  consumed_ = std::max(consumed_, first_);
  while (consumed_ < first_ + lines_.size()) {
    const std::string& line = lines_[consumed_ - first_];
    if (out.size() + line.size() > max) break;
    out += line;
    ++consumed_;
  }
  return out;
}

}  // namespace msentry::kernel
