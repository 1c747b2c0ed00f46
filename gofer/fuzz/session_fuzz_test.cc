// A bounded fuzz run for compilers without libFuzzer: the seeds, then mutations of them in a fixed
// order. MSENTRY_FUZZ_RUNS sets how many; MSENTRY_FUZZ_CORPUS=DIR writes the seeds there instead.
#include <stdlib.h>

#include <fstream>
#include <random>

#include "gofer/fuzz/session_fuzz.h"
#include "gtest/gtest.h"

namespace msentry::gofer {
namespace {

TEST(SessionFuzz, SeedsAndMutations) {
  auto seeds = SeedCorpus();
  if (const char* dir = getenv("MSENTRY_FUZZ_CORPUS")) {
    for (size_t i = 0; i < seeds.size(); ++i) {
      std::ofstream out(std::string(dir) + "/" + std::to_string(i), std::ios::binary);
      out.write(reinterpret_cast<const char*>(seeds[i].data()),
                static_cast<std::streamsize>(seeds[i].size()));
    }
    return;
  }
  for (const auto& seed : seeds) FuzzOne(seed.data(), seed.size());
  const char* wanted = getenv("MSENTRY_FUZZ_RUNS");
  int runs = wanted != nullptr ? atoi(wanted) : 500;
  std::mt19937 random(1);
  for (int run = 0; run < runs; ++run) {
    auto input = seeds[random() % seeds.size()];
    // Several messages of different seeds in one session reach more state.
    for (int more = static_cast<int>(random() % 4); more > 0; --more) {
      const auto& other = seeds[random() % seeds.size()];
      input.insert(input.end(), other.begin(), other.end());
    }
    for (int changes = static_cast<int>(random() % 8); changes > 0 && !input.empty(); --changes) {
      size_t at = random() % input.size();
      switch (random() % 4) {
        case 0:
          input[at] = static_cast<uint8_t>(random());
          break;
        case 1:
          input[at] ^= static_cast<uint8_t>(1u << random() % 8);
          break;
        case 2:
          input.erase(input.begin() + static_cast<std::ptrdiff_t>(at));
          break;
        default:
          input.insert(input.begin() + static_cast<std::ptrdiff_t>(at),
                       static_cast<uint8_t>(random() % 2 ? 0xff : 0));
      }
    }
    FuzzOne(input.data(), input.size());
  }
}

}  // namespace
}  // namespace msentry::gofer
