#include "loader/script.h"

#include <gtest/gtest.h>

namespace msentry::loader {
namespace {

void Expect(std::string_view head, std::string_view interpreter,
            std::optional<std::string> argument) {
  ScriptLine s = MUST(ParseScriptLine(head));
  EXPECT_EQ(s.interpreter, interpreter) << head;
  EXPECT_EQ(s.argument, argument) << head;
}

TEST(Script, TheLineIsAPathAndOneArgument) {
  Expect("#!/bin/sh\necho", "/bin/sh", std::nullopt);
  Expect("#! \t/bin/sh  \n", "/bin/sh", std::nullopt);
  Expect("#!/usr/bin/env python3 -u \nx", "/usr/bin/env", "python3 -u");
  Expect("#!/bin/sh", "/bin/sh", std::nullopt);
  Expect("#!/bin/sh -e", "/bin/sh", "-e");
}

TEST(Script, NoPathIsNoScript) {
  EXPECT_EQ(ParseScriptLine("#!\n/bin/sh").error(), Errno::kENOEXEC);
  EXPECT_EQ(ParseScriptLine("#!   ").error(), Errno::kENOEXEC);
  EXPECT_EQ(ParseScriptLine("#/bin/sh").error(), Errno::kENOEXEC);
}

TEST(Script, ACutPathIsRefusedACutArgumentIsNot) {
  std::string long_path = "#!/" + std::string(kHeadBytes - 3, 'a');
  EXPECT_EQ(ParseScriptLine(long_path).error(), Errno::kENOEXEC);
  std::string long_argument = "#!/bin/sh " + std::string(kHeadBytes - 10, 'a');
  EXPECT_EQ(MUST(ParseScriptLine(long_argument)).argument->size(), kHeadBytes - 10);
}

}  // namespace
}  // namespace msentry::loader
