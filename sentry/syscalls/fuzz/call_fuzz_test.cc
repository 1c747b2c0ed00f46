// A bounded, repeatable run of the call fuzzer, for compilers without libFuzzer. MSENTRY_FUZZ_RUNS
// sets how many inputs; MSENTRY_FUZZ_CORPUS=DIR writes the seeds there instead.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <random>

#include "sentry/syscalls/fuzz/call_fuzz.h"

namespace msentry::syscalls {
namespace {

TEST(CallFuzz, SeedsAndMutations) {
  auto seeds = CallSeeds();
  if (const char* dir = getenv("MSENTRY_FUZZ_CORPUS")) {
    for (size_t i = 0; i < seeds.size(); ++i) {
      std::ofstream out(std::string(dir) + "/" + std::to_string(i), std::ios::binary);
      out.write(reinterpret_cast<const char*>(seeds[i].bytes.data()), std::ssize(seeds[i].bytes));
    }
    return;
  }
  for (const CallSeed& seed : seeds) {
    // Some end early, of a signal or an exec: at least they got going.
    EXPECT_GE(FuzzCalls(seed.bytes.data(), seed.bytes.size()), std::min(seed.calls, 4));
  }
  const char* wanted = getenv("MSENTRY_FUZZ_RUNS");
  const int runs = wanted ? atoi(wanted) : 300;
  std::mt19937 random(1);
  for (int run = 0; run < runs; ++run) {
    std::vector<uint8_t> input = seeds[random() % seeds.size()].bytes;
    for (int more = static_cast<int>(random() % 3); more > 0; --more) {
      const std::vector<uint8_t>& other = seeds[random() % seeds.size()].bytes;
      input.insert(input.end(), other.begin(), other.end());
    }
    for (int changes = static_cast<int>(random() % 10); changes > 0; --changes) {
      input[random() % input.size()] = static_cast<uint8_t>(random());
    }
    for (int tail = static_cast<int>(random() % 100); tail > 0; --tail) {
      input.push_back(static_cast<uint8_t>(random()));
    }
    FuzzCalls(input.data(), input.size());
  }
}

}  // namespace
}  // namespace msentry::syscalls
