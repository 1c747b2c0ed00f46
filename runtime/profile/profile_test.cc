#include "runtime/profile/profile.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "gtest/gtest.h"
#include "runtime/profile/text_format.h"

namespace msentry::profile {
namespace {

TEST(TextFormatTest, TakesWhatProtobufTakes) {
  std::vector<Field> fields;
  ASSERT_EQ(ParseText("# comment\n a: 1, b: \"x\\n\" 'y\\x41\\101' ; c { d: true } e: [1, 2]\n"
                      "f < g: -1.5 >",
                      &fields),
            "");
  ASSERT_EQ(fields.size(), 6u);
  EXPECT_EQ(fields[0].text, "1");
  EXPECT_EQ(fields[1].text, "x\nyAA");
  EXPECT_EQ(fields[1].line, 2);
  EXPECT_EQ(fields[2].children[0].text, "true");
  EXPECT_EQ(fields[4].name, "e");
  EXPECT_EQ(fields[4].text, "2");
  EXPECT_EQ(fields[5].children[0].text, "-1.5");
}

TEST(TextFormatTest, SaysOnWhichLineItIsWrong) {
  std::vector<Field> fields;
  EXPECT_EQ(ParseText("a: 1\nb", &fields), "2: expected : or { after b");
  EXPECT_EQ(ParseText("a {\n b: 1\n", &fields), "3: expected }");
  EXPECT_EQ(ParseText("a: \"x\n\"", &fields), "1: a string ends on the line it begins on");
  EXPECT_EQ(ParseText("\n\n}", &fields), "3: expected a field's name, not }");
  EXPECT_EQ(ParseText("a: \"\\q\"", &fields), "1: no such escape: \\q");
  std::string deep;
  for (int i = 0; i < 100; i++) deep += "a {";
  EXPECT_EQ(ParseText(deep, &fields), "1: nested too deeply");
}

TEST(TextFormatTest, QuotedTextReadsBack) {
  const std::string text("q\"\\\n\t\x01\x7f\0z", 9);
  std::vector<Field> fields;
  ASSERT_EQ(ParseText("a: " + Quote(text), &fields), "");
  EXPECT_EQ(fields[0].text, text);
}

TEST(ProfileTest, NamesTheLineOfAWrongField) {
  Profile p;
  EXPECT_EQ(Parse("f", "hostname: \"x\"\nhostnam: \"y\"", &p), "f:2: no field hostnam in Profile");
  EXPECT_EQ(Parse("f", "limits {\n cpu: 1\n}", &p), "f:2: no field cpu in Limits");
  EXPECT_EQ(Parse("f", "limits {\n cpus: -1\n}", &p),
            "f:2: cpus: expected a number above 0, not -1");
  EXPECT_EQ(Parse("f", "\nhostname: 3", &p), "f:2: hostname: expected a string in quotes");
  EXPECT_EQ(Parse("f", "limits {\n\n memory: \"x\" }", &p), "f:3: memory: not a size: x");
  EXPECT_EQ(Parse("f", "mounts { destination: \"/a\" }", &p),
            "f:1: mounts: exactly one of bind, tmpfs and content is needed");
  EXPECT_EQ(Parse("f", "mounts {\n tmpfs { sice: \"1\" } }", &p), "f:2: no field sice in Tmpfs");
}

TEST(ProfileTest, LoadsRegularFilesOnly) {
  Profile p;
  const std::string missing = Load("no-such", &p);
  EXPECT_EQ(missing.find("no profile no-such (/"), 0u) << missing;
  EXPECT_NE(missing.find("/no-such.textproto): No such file or directory"), missing.npos)
      << missing;
  EXPECT_EQ(Load("./no-such", &p), "no profile ./no-such: No such file or directory");
  EXPECT_EQ(Load("/etc", &p), "no profile /etc: Is a directory");
  EXPECT_EQ(Load("/dev/zero", &p), "no profile /dev/zero: Invalid argument");
  const std::string path = testing::TempDir() + "profile-" + std::to_string(getpid());
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(Load(path, &p), "no profile " + path + ": Invalid argument");
  unlink(path.c_str());
  std::ofstream(path) << std::string(2 << 20, '#');
  EXPECT_EQ(Load(path, &p), "no profile " + path + ": File too large");
  unlink(path.c_str());
}

TEST(ProfileTest, FillsAConfig) {
  Profile p;
  ASSERT_EQ(
      Parse("f",
            "hostname: 'h' task_id: 't' limits { cpus: 0.5 memory: '64M' pids: 9 timeout: '2m' }"
            "cpu { vendor: 'V' model_name: 'M' hide_flags: ['avx', 'avx2'] }"
            "memory_to_report: '1G'"
            "mounts { destination: '/m' tmpfs { size: '1M' mode: 0755 } }"
            "mounts { destination: '/b' bind: '/usr' read_only: true }"
            "mounts { destination: '/c' content: 'text' }",
            &p),
      "");
  Config config;
  ASSERT_EQ(Apply(p, &config), "");
  EXPECT_EQ(config.hostname, "h");
  EXPECT_EQ(config.task_id, "t");
  EXPECT_EQ(config.cpus, 1u);
  EXPECT_EQ(config.cpu_quota_us, 50000);
  EXPECT_EQ(config.memory_bytes, 64u << 20);
  EXPECT_EQ(config.pids, 9u);
  EXPECT_EQ(config.timeout_ms, 120000u);
  EXPECT_EQ(config.memory_to_report, 1u << 30);
  EXPECT_EQ(config.hidden_cpu_flags, (std::vector<std::string>{"avx", "avx2"}));
  ASSERT_EQ(config.mounts.size(), 2u);
  EXPECT_EQ(config.mounts[0].mode, 0755u);
  EXPECT_EQ(config.mounts[1].content, "text");
  ASSERT_EQ(config.binds.size(), 1u);
  EXPECT_TRUE(config.binds[0].read_only);
}

TEST(ProfileTest, TheExamplesReadAndPrintAndReadAgain) {
  for (const char* name : {"default", "modal"}) {
    Profile once, twice;
    const std::string file = absl::StrCat(EXAMPLES, "/", name, ".textproto");
    ASSERT_EQ(Load(file, &once), "");
    const std::string text = ToText(once);
    ASSERT_EQ(Parse(name, text, &twice), "");
    EXPECT_EQ(ToText(twice), text);
  }
}

}  // namespace
}  // namespace msentry::profile
