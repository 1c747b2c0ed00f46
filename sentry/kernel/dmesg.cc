#include "sentry/kernel/dmesg.h"

#include <cstdio>
#include <random>

#include "absl/strings/str_format.h"

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

std::string Dmesg::Record::Lines() const {
  const std::string stamp =
      absl::StrFormat("<%d>[%5d.%06d] ", priority, us / 1'000'000, us % 1'000'000);
  std::string out;
  std::string_view left = text;
  do {
    const size_t end = left.find('\n');
    out.append(stamp).append(left.substr(0, end)).append("\n");
    left = end == std::string_view::npos ? std::string_view() : left.substr(end + 1);
  } while (!left.empty());
  return out;
}

void Dmesg::Append(int64_t uptime_ns, int priority, std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  Record record{uptime_ns / 1000, priority, std::string(text.substr(0, kMaxText)), 0};
  {
    MutexLock lock(mutex_);
    if (!records_.empty()) record.us = std::max(record.us, records_.back().us + 1);
    record.lines_size = record.Lines().size();
    bytes_ += record.lines_size;
    records_.push_back(std::move(record));
    while (bytes_ > kRingBytes) {
      bytes_ -= records_.front().lines_size;
      records_.pop_front();
      ++first_;
    }
  }
  arrivals_.Notify(sched::kIn);
}

bool Dmesg::AllowBurst(int64_t uptime_ns, int* suppressed) {
  constexpr int64_t kInterval = 5'000'000'000;
  constexpr int kBurst = 10;
  MutexLock lock(mutex_);
  *suppressed = 0;
  if (uptime_ns - burst_begin_ns_ >= kInterval) {
    *suppressed = std::exchange(suppressed_, 0);
    burst_begin_ns_ = uptime_ns;
    burst_ = 0;
  }
  if (burst_ >= kBurst) {
    ++suppressed_;
    return false;
  }
  ++burst_;
  return true;
}

std::string Dmesg::ReadAll(size_t max, bool clear) {
  MutexLock lock(mutex_);
  size_t begin = records_.size();
  size_t bytes = 0;
  while (begin > 0 && first_ + begin > cleared_ && bytes + records_[begin - 1].lines_size <= max) {
    bytes += records_[--begin].lines_size;
  }
  std::string out;
  out.reserve(bytes);
  for (size_t i = begin; i < records_.size(); ++i) out += records_[i].Lines();
  if (clear) cleared_ = NextLocked();
  return out;
}

void Dmesg::Clear() {
  MutexLock lock(mutex_);
  cleared_ = NextLocked();
}

void Dmesg::SilenceConsole(bool on) {
  constexpr int kMinimum = 1;
  MutexLock lock(mutex_);
  if (on) {
    if (saved_level_ < 0) saved_level_ = console_level.load(std::memory_order_relaxed);
    console_level.store(kMinimum, std::memory_order_relaxed);
  } else if (saved_level_ >= 0) {
    console_level.store(std::exchange(saved_level_, -1), std::memory_order_relaxed);
  }
}

size_t Dmesg::unread_bytes() const {
  MutexLock lock(mutex_);
  size_t bytes = 0;
  for (size_t i = 0; i < records_.size(); ++i) {
    if (first_ + i >= consumed_) bytes += records_[i].lines_size;
  }
  return consumed_ >= first_ ? bytes - consumed_part_ : bytes;
}

std::string Dmesg::Consume(size_t max) {
  MutexLock lock(mutex_);
  std::string out;
  if (consumed_ < first_) {
    consumed_ = first_;
    consumed_part_ = 0;
  }
  while (consumed_ < NextLocked()) {
    const std::string lines = records_[consumed_ - first_].Lines();
    const size_t left = lines.size() - consumed_part_;
    if (out.size() + left > max) {
      if (!out.empty()) break;
      out = lines.substr(consumed_part_, max);
      consumed_part_ += max;
      break;
    }
    out += lines.substr(consumed_part_);
    consumed_part_ = 0;
    ++consumed_;
  }
  return out;
}

Result<std::string> Dmesg::ReadRecord(uint64_t* sequence, size_t max) const {
  MutexLock lock(mutex_);
  if (*sequence < first_) {
    *sequence = first_;
    return Errno::kEPIPE;
  }
  if (*sequence >= NextLocked()) return Errno::kEAGAIN;
  const Record& r = records_[*sequence - first_];
  std::string out = absl::StrFormat("%d,%d,%d,-;", r.priority, *sequence, r.us);
  for (unsigned char c : r.text) {
    if (c < ' ' || c >= 127 || c == '\\') {
      absl::StrAppendFormat(&out, "\\x%02x", c);
    } else {
      out += static_cast<char>(c);
    }
  }
  out += '\n';
  if (out.size() > max) return Errno::kEINVAL;
  ++*sequence;
  return out;
}

uint64_t Dmesg::first_sequence() const {
  MutexLock lock(mutex_);
  return first_;
}
uint64_t Dmesg::next_sequence() const {
  MutexLock lock(mutex_);
  return NextLocked();
}
uint64_t Dmesg::cleared_sequence() const {
  MutexLock lock(mutex_);
  return cleared_;
}

}  // namespace msentry::kernel
