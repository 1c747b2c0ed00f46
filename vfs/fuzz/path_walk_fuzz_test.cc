// A bounded fuzz run for compilers without libFuzzer. MSENTRY_FUZZ_RUNS sets how many inputs.
#include "vfs/fuzz/path_walk_fuzz.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <random>

namespace msentry::vfs {
namespace {

TEST(PathWalkFuzz, AgreesWithThePlainResolver) {
  const char* wanted = getenv("MSENTRY_FUZZ_RUNS");
  const int runs = wanted ? atoi(wanted) : 5000;
  std::mt19937 random(1);
  std::vector<uint8_t> input;
  for (int run = 0; run < runs; ++run) {
    input.resize(2 + random() % 60);
    for (uint8_t& b : input) b = static_cast<uint8_t>(random());
    FuzzPathWalk(input.data(), input.size());
  }
}

}  // namespace
}  // namespace msentry::vfs
