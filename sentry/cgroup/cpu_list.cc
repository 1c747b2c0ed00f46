#include "sentry/cgroup/cpu_list.h"

#include <algorithm>
#include <bit>
#include <charconv>

#include "absl/strings/str_cat.h"

namespace msentry::cgroup {
namespace {

// A number at the front of `text`, which loses it.
bool TakeNumber(std::string_view* text, int* out) {
  auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), *out);
  if (error != std::errc() || *out < 0) return false;
  text->remove_prefix(end - text->data());
  return true;
}

bool Take(std::string_view* text, char c) {
  if (text->empty() || text->front() != c) return false;
  text->remove_prefix(1);
  return true;
}

}  // namespace

CpuSet CpuSet::First(int count) {
  CpuSet set;
  for (int cpu = 0; cpu < count; ++cpu) set.Add(cpu);
  return set;
}

CpuSet CpuSet::FromWords(std::vector<uint64_t> words) {
  CpuSet set;
  set.words_ = std::move(words);
  while (!set.words_.empty() && set.words_.back() == 0) set.words_.pop_back();
  return set;
}

Result<CpuSet> CpuSet::Parse(std::string_view text, int limit) {
  CpuSet set;
  while (!text.empty()) {
    if (Take(&text, ',')) continue;  // Linux takes empty parts
    int first = 0, last = 0, used = 0, group = 0;
    if (!TakeNumber(&text, &first)) return Errno::kEINVAL;
    last = first;
    if (Take(&text, '-')) {
      if (!TakeNumber(&text, &last)) return Errno::kEINVAL;
      if (Take(&text, ':')) {
        if (!TakeNumber(&text, &used) || !Take(&text, '/') || !TakeNumber(&text, &group) ||
            group == 0 || used > group) {
          return Errno::kEINVAL;
        }
      }
    }
    if (!text.empty() && text.front() != ',') return Errno::kEINVAL;
    if (last < first) return Errno::kEINVAL;
    if (last >= limit) return Errno::kERANGE;
    for (int cpu = first; cpu <= last; ++cpu) {
      if (group == 0 || (cpu - first) % group < used) set.Add(cpu);
    }
  }
  return set;
}

std::string CpuSet::List() const {
  std::string text;
  const int end = static_cast<int>(words_.size()) * 64;
  for (int cpu = 0; cpu < end; ++cpu) {
    if (!Has(cpu)) continue;
    int last = cpu;
    while (Has(last + 1)) ++last;
    absl::StrAppend(&text, text.empty() ? "" : ",", cpu);
    if (last > cpu) absl::StrAppend(&text, "-", last);
    cpu = last;
  }
  return text;
}

int CpuSet::count() const {
  int n = 0;
  for (uint64_t word : words_) n += std::popcount(word);
  return n;
}

bool CpuSet::Has(int cpu) const {
  const size_t word = static_cast<size_t>(cpu) / 64;
  return word < words_.size() && (words_[word] >> cpu % 64 & 1);
}

void CpuSet::Add(int cpu) {
  const size_t word = static_cast<size_t>(cpu) / 64;
  if (word >= words_.size()) words_.resize(word + 1);
  words_[word] |= uint64_t{1} << cpu % 64;
}

bool CpuSet::IsSubsetOf(const CpuSet& other) const { return (*this & other) == *this; }

CpuSet CpuSet::operator&(const CpuSet& other) const {
  std::vector<uint64_t> both(std::min(words_.size(), other.words_.size()));
  for (size_t i = 0; i < both.size(); ++i) both[i] = words_[i] & other.words_[i];
  return FromWords(std::move(both));
}

}  // namespace msentry::cgroup
