#include "loader/initial_stack.h"

#include <elf.h>
#include <gtest/gtest.h>

#include <cstring>

#include "loader/loader.h"

namespace msentry::loader {
namespace {

class Reader {
 public:
  explicit Reader(const InitialStack& stack) : stack_(stack) {}
  uint64_t Word(uint64_t at) const {
    uint64_t v;
    std::memcpy(&v, stack_.bytes.data() + (at - stack_.pointer), sizeof(v));
    return v;
  }
  std::string Text(uint64_t at) const {
    return reinterpret_cast<const char*>(stack_.bytes.data() + (at - stack_.pointer));
  }

 private:
  const InitialStack& stack_;
};

TEST(InitialStack, HoldsWhatTheAbiSays) {
  std::vector<std::string> argv = {"prog", "", "two"}, envp = {"A=1", "B=2"};
  InitialStackArgs args{.top = 0x7fe000000000,
                        .argv = argv,
                        .envp = envp,
                        .name = "/bin/prog",
                        .auxv = {{AT_PAGESZ, 4096}}};
  InitialStack stack = BuildInitialStack(args);
  Reader r(stack);
  EXPECT_EQ(stack.pointer % 16, 0u);
  EXPECT_EQ(stack.pointer + stack.bytes.size(), args.top);
  EXPECT_EQ(r.Word(stack.pointer), 3u);
  uint64_t at = stack.pointer + 8;
  for (const std::string& s : argv) EXPECT_EQ(r.Text(r.Word(std::exchange(at, at + 8))), s);
  EXPECT_EQ(r.Word(std::exchange(at, at + 8)), 0u);
  for (const std::string& s : envp) EXPECT_EQ(r.Text(r.Word(std::exchange(at, at + 8))), s);
  EXPECT_EQ(r.Word(std::exchange(at, at + 8)), 0u);
  std::map<uint64_t, uint64_t> auxv;
  for (; r.Word(at) != AT_NULL; at += 16) auxv[r.Word(at)] = r.Word(at + 8);
  EXPECT_EQ(auxv[AT_PAGESZ], 4096u);
  EXPECT_EQ(r.Text(auxv[AT_EXECFN]), "/bin/prog");
  EXPECT_EQ(r.Text(auxv[AT_PLATFORM]), "x86_64");
  EXPECT_EQ(auxv[AT_RANDOM] % 16, 0u);
  EXPECT_EQ(r.Text(stack.arg_start), "prog");
  EXPECT_EQ(stack.arg_end - stack.arg_start, 10u);
  EXPECT_EQ(stack.env_end - stack.env_start, 8u);
}

TEST(InitialStack, LimitsOfExecve) {
  EXPECT_EQ(MaxArgBytes(8 << 20), uint64_t{2} << 20);
  EXPECT_EQ(MaxArgBytes(0), uint64_t{128} << 10);
  EXPECT_EQ(MaxArgBytes(~uint64_t{0}), uint64_t{6} << 20);
  std::vector<std::string> one = {std::string(kMaxArgString, 'x')};
  EXPECT_EQ(CheckArgumentSize(one, {}, "p", 2 << 20).error(), Errno::kE2BIG);
  one[0].pop_back();
  EXPECT_TRUE(CheckArgumentSize(one, {}, "p", 2 << 20).ok());
  std::vector<std::string> many(200000, "12345678");
  EXPECT_EQ(CheckArgumentSize(many, {}, "p", 2 << 20).error(), Errno::kE2BIG);
}

}  // namespace
}  // namespace msentry::loader
