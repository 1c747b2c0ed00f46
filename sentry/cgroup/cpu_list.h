// Sets of CPUs (and memory nodes) as numbers in words of 64 bits, and their list format "0-3,7"
// (cpuset(7)).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sentry/base/result.h"

namespace msentry::cgroup {

// Bit n of the words in a row is CPU n. No zero words at the end.
class CpuSet {
 public:
  CpuSet() = default;
  static CpuSet First(int count);  // 0 ... count-1
  // "0-3,7", also "0-15:2/4" and nothing at all. EINVAL; ERANGE for numbers of `limit` and above.
  static Result<CpuSet> Parse(std::string_view text, int limit);
  static CpuSet FromWords(std::vector<uint64_t> words);

  std::string List() const;
  bool empty() const { return words_.empty(); }
  int count() const;
  bool Has(int cpu) const;
  void Add(int cpu);
  bool IsSubsetOf(const CpuSet& other) const;
  CpuSet operator&(const CpuSet& other) const;
  bool operator==(const CpuSet&) const = default;
  const std::vector<uint64_t>& words() const { return words_; }

 private:
  std::vector<uint64_t> words_;
};

}  // namespace msentry::cgroup
