// The msentry command: subcommands for people, and one hidden one that msentry starts itself with.
#include <cstring>
#include <iostream>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "cmd/profile.h"
#include "cmd/run.h"
#include "runtime/msentry.h"
#include "runtime/supervisor/supervisor.h"

int main(int argc, char** argv) {
  // Before anything else is set up: this is what every sandbox starts with.
  if (argc == 2 && strcmp(argv[1], "supervise") == 0) return msentry::runtime::SupervisorMain();
  if (argc >= 2 && strcmp(argv[1], "run") == 0) {
    return msentry::cmd::Run(std::vector<std::string>(argv + 2, argv + argc));
  }

  if (argc >= 2 && strcmp(argv[1], "profile") == 0) {
    return msentry::cmd::ShowProfile(std::vector<std::string>(argv + 2, argv + argc));
  }

  CLI::App app("Runs programs on a userspace kernel, away from the host's.", "msentry");
  app.set_version_flag("--version", std::string("msentry ") + msentry::Version());
  app.require_subcommand(1);
  app.add_subcommand("run", "Run a program: msentry run [OPTIONS] -- PROGRAM [ARGS...]");
  app.add_subcommand("profile", "Print a profile: msentry profile show [NAME|FILE]");
  app.footer("msentry run --help tells the options of run.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {  // --help, --version
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    std::cerr << "msentry: " << e.what() << " (see msentry --help)" << std::endl;
    return msentry::cmd::kFailure;
  }
  return 0;
}
