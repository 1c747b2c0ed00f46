// A bounded, repeatable run of the slot fuzzer, for compilers without libFuzzer. MSENTRY_FUZZ_RUNS
// sets how many inputs.
#include "platform/systrap/fuzz/slot_fuzz.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <random>
#include <vector>

namespace msentry::systrap {
namespace {

TEST(SlotFuzz, NothingAStubSaysHurtsTheSentry) {
  const char* wanted = getenv("MSENTRY_FUZZ_RUNS");
  const int runs = wanted ? atoi(wanted) : 500;
  std::mt19937 random(1);
  std::vector<uint8_t> input;
  for (int run = 0; run < runs; ++run) {
    input.resize(random() % 400);
    for (uint8_t& byte : input) byte = static_cast<uint8_t>(random());
    FuzzSlot(input.data(), input.size());
  }
}

}  // namespace
}  // namespace msentry::systrap
