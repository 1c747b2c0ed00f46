// A bounded, repeatable run of the fuzz target: damaged copies of a real program's headers.
// MSENTRY_FUZZ_CORPUS=DIR writes one instead, for libFuzzer to start from.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <random>

#include "sentry/base/scoped_fd.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace msentry::loader {
namespace {

TEST(ElfFuzz, DamagedProgramsBreakNoPromise) {
  ScopedFd fd(open("/bin/sh", O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(fd.valid());
  std::vector<uint8_t> good(4096);
  ASSERT_EQ(read(fd.get(), good.data(), good.size()), std::ssize(good));
  if (const char* dir = getenv("MSENTRY_FUZZ_CORPUS")) {
    std::ofstream out(std::string(dir) + "/elf", std::ios::binary);
    out.write(reinterpret_cast<const char*>(good.data()), std::ssize(good));
    GTEST_SKIP() << "wrote a seed";
  }
  std::mt19937 random(7);
  constexpr uint64_t kInteresting[] = {
      0, 1, 0xfff, 0x1000, 0x7fffffff, 0xffffffff, ~0ull, 0x7ff000000000, 0x8000000000000000};
  for (int i = 0; i < 100000; ++i) {
    std::vector<uint8_t> bytes = good;
    int changes = 1 + random() % 4;
    for (int c = 0; c < changes; ++c) {
      size_t at = random() % 1024;  // the headers
      if (random() % 2 == 0) {
        bytes[at] = random();
      } else {
        uint64_t value = kInteresting[random() % std::size(kInteresting)] + random() % 3 - 1;
        std::memcpy(&bytes[at & ~7ul], &value, sizeof(value));
      }
    }
    if (random() % 8 == 0) bytes.resize(random() % bytes.size());
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
}

TEST(ElfFuzz, ScriptLinesOfAnyBytes) {
  std::mt19937 random(8);
  constexpr char kBytes[] = {'#', '!', '/', 'a', ' ', '\t', '\n', 0};
  for (int i = 0; i < 100000; ++i) {
    std::vector<uint8_t> bytes = {'#', '!'};
    size_t n = random() % 300;
    for (size_t j = 0; j < n; ++j) bytes.push_back(kBytes[random() % sizeof(kBytes)]);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
}

}  // namespace
}  // namespace msentry::loader
