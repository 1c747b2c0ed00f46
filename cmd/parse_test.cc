#include "cmd/parse.h"

#include <cstdlib>

#include "gtest/gtest.h"

namespace msentry::cmd {
namespace {

TEST(ParseSizeTest, TakesUnitsOfPowersOf1024) {
  uint64_t bytes = 0;
  EXPECT_EQ(ParseSize("4096", &bytes), "");
  EXPECT_EQ(bytes, 4096u);
  EXPECT_EQ(ParseSize("512M", &bytes), "");
  EXPECT_EQ(bytes, 512u << 20);
  EXPECT_EQ(ParseSize("1.5GiB", &bytes), "");
  EXPECT_EQ(bytes, 3ull << 29);
}

TEST(ParseSizeTest, NamesWhatIsWrong) {
  uint64_t bytes = 0;
  for (const char* text : {"", "-1", "x", "1Q", "1MM", "99999999999T", "nan", "inf"}) {
    EXPECT_NE(ParseSize(text, &bytes).find(text), std::string::npos) << text;
    EXPECT_NE(ParseSize(text, &bytes), "") << text;
  }
}

TEST(ParseDurationTest, SecondsUnlessAUnitSaysOtherwise) {
  uint64_t ms = 0;
  EXPECT_EQ(ParseDuration("2", &ms), "");
  EXPECT_EQ(ms, 2000u);
  EXPECT_EQ(ParseDuration("250ms", &ms), "");
  EXPECT_EQ(ms, 250u);
  EXPECT_EQ(ParseDuration("1.5m", &ms), "");
  EXPECT_EQ(ms, 90000u);
  EXPECT_NE(ParseDuration("0", &ms), "");
  EXPECT_NE(ParseDuration("5 parsecs", &ms), "");
}

TEST(ParseBindTest, SourceDestinationAndMode) {
  Bind bind;
  EXPECT_EQ(ParseBind("/a:/b", &bind), "");
  EXPECT_EQ(bind.source, "/a");
  EXPECT_EQ(bind.destination, "/b");
  EXPECT_FALSE(bind.read_only);
  EXPECT_EQ(ParseBind("x\\:y:/b:ro", &bind), "");
  EXPECT_EQ(bind.source, "x:y");
  EXPECT_TRUE(bind.read_only);
  for (const char* text : {"", "/a", "/a:b", ":/b", "/a:", "/a:/b:maybe", "/a:/b:ro:x"}) {
    EXPECT_NE(ParseBind(text, &bind), "") << text;
  }
}

TEST(ParseEnvTest, ReplacesAndInherits) {
  std::vector<std::string> env{"A=1", "AB=2"};
  EXPECT_EQ(ParseEnv("A=3", &env), "");
  EXPECT_EQ(env, (std::vector<std::string>{"AB=2", "A=3"}));
  setenv("MSENTRY_PARSE_TEST", "here", 1);
  EXPECT_EQ(ParseEnv("MSENTRY_PARSE_TEST", &env), "");
  EXPECT_EQ(env.back(), "MSENTRY_PARSE_TEST=here");
  EXPECT_EQ(ParseEnv("MSENTRY_NOT_SET_ANYWHERE", &env), "");
  EXPECT_EQ(env.size(), 3u);
  EXPECT_NE(ParseEnv("=x", &env), "");
}

TEST(ParseUserTest, NumbersNeedNoEntryAndNamesDo) {
  UserSpec user;
  EXPECT_EQ(ParseUser("4242:4343", "/", &user), "");
  EXPECT_EQ(user.uid, 4242u);
  EXPECT_EQ(user.gid, 4343u);
  EXPECT_EQ(ParseUser("root", "/", &user), "");
  EXPECT_EQ(user.uid, 0u);
  EXPECT_EQ(user.home, "/root");
  EXPECT_NE(ParseUser("no-such-user-here", "/", &user).find("no-such-user-here"),
            std::string::npos);
  EXPECT_NE(ParseUser("root:no-such-group-here", "/", &user), "");
}

}  // namespace
}  // namespace msentry::cmd
