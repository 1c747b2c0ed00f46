#include "cmd/profile.h"

#include <iostream>

#include "cmd/run.h"
#include "runtime/profile/profile.h"

namespace msentry::cmd {

int ShowProfile(std::vector<std::string> args) {
  if (args.empty() || args[0] != "show" || args.size() > 2) {
    std::cerr << "msentry: usage: msentry profile show [NAME|FILE]" << std::endl;
    return kFailure;
  }
  profile::Profile profile;
  const std::string wrong = profile::Load(args.size() > 1 ? args[1] : "default", &profile);
  if (!wrong.empty()) {
    std::cerr << "msentry: " << wrong << std::endl;
    return kFailure;
  }
  std::cout << profile::ToText(profile);
  return 0;
}

}  // namespace msentry::cmd
