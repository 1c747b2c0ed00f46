#include "cmd/run.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iostream>

#include "CLI/CLI.hpp"
#include "cmd/parse.h"
#include "cmd/terminal.h"
#include "runtime/msentry.h"
#include "runtime/profile/profile.h"
#include "sentry/base/scoped_fd.h"

namespace msentry::cmd {
namespace {

int Fail(const std::string& text) {
  std::cerr << "msentry: " << text << std::endl;
  return kFailure;
}

// Variables that a program needs to feel at home and that give nothing away. Everything else is
// passed on request.
constexpr const char* kPassedVariables[] = {"PATH", "HOME",    "USER",     "LOGNAME",   "SHELL",
                                            "TERM", "LANG",    "LANGUAGE", "COLORTERM", "TZ",
                                            "PWD",  "COLUMNS", "LINES"};

std::vector<std::string> DefaultEnvironment() {
  std::vector<std::string> env;
  for (char** e = environ; *e != nullptr; e++) {
    std::string entry = *e;
    std::string name = entry.substr(0, entry.find('='));
    bool passed = name.compare(0, 3, "LC_") == 0 ||
                  std::any_of(std::begin(kPassedVariables), std::end(kPassedVariables),
                              [&](const char* known) { return name == known; });
    if (passed) env.push_back(entry);
  }
  return env;
}

std::vector<std::string> SplitCommas(const std::string& text) {
  std::vector<std::string> parts;
  size_t start = 0;
  while (start <= text.size()) {
    size_t comma = std::min(text.find(',', start), text.size());
    if (comma > start) parts.push_back(text.substr(start, comma - start));
    start = comma + 1;
  }
  return parts;
}

struct Options {
  Config config;
  std::string platform = "systrap", gate = "fast", user, memory, timeout, strace, log, cpus;
  std::string profile_name;
  profile::Profile profile;
  std::vector<std::string> binds, env;
  bool debug = false, inherit_env = false;
};

// CLI11's way to say that a flag may have a value is not how one types it.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_opts(const CLI::Option* option) const override {
    return option->check_name("--strace") ? "[=CALLS]" : CLI::Formatter::make_option_opts(option);
  }
  std::string make_option_name(const CLI::Option* option, bool positional) const override {
    return option->check_name("--strace") ? "--strace"
                                          : CLI::Formatter::make_option_name(option, positional);
  }
};

void Declare(CLI::App& app, Options& o) {
  app.formatter(std::make_shared<HelpFormatter>());
  app.prefix_command();
  app.set_help_flag("-h,--help", "Show this and exit");
  app.add_option("--rootfs", o.config.rootfs,
                 "Host directory that is the root, read-only below a private layer")
      ->type_name("DIR");
  app.add_option("--bind", o.binds,
                 "Make host path SRC visible at DST; writes reach the host unless :ro")
      ->type_name("SRC:DST[:ro]")
      ->allow_extra_args(false);
  app.add_option("--keep", o.config.keep,
                 "Keep what the program writes in DIR, and go on from it next time")
      ->type_name("DIR");
  app.add_option("--cwd", o.config.cwd, "Working directory inside (the current one)")
      ->type_name("DIR");
  app.add_option("--env", o.env, "Set a variable, or pass the caller's")
      ->type_name("NAME[=VALUE]")
      ->allow_extra_args(false);
  app.add_flag("--inherit-env", o.inherit_env, "Pass the whole environment, secrets included");
  app.add_option("--user", o.user,
                 "User inside: ids, or names from the root's /etc/passwd (the caller)")
      ->type_name("UID[:GID]");
  app.add_option("--hostname", o.config.hostname, "Host name inside (msentry)")->type_name("NAME");
  app.add_option("--platform", o.platform,
                 "How guest code is trapped: systrap (fast, the default) or ptrace")
      ->type_name("NAME");
  app.add_option("--platform-gate", o.gate,
                 "systrap's memory calls: fast, or strict (all through a notification)")
      ->type_name("MODE");
  app.add_option("--profile", o.profile_name,
                 "Start from a profile: a name (default, modal) or a file; options win")
      ->type_name("NAME|FILE");
  app.add_option("--task-id", o.config.task_id,
                 "Path of the sandbox's cgroup; * at the end is made up (ms-*)")
      ->type_name("ID");
  app.add_option("--cpus", o.cpus, "CPUs the program sees and gets, also a fraction (all)")
      ->type_name("N");
  app.add_option(
         "--memory", o.memory,
         "Memory the program sees and gets: beyond it, its largest process is killed (the host's)")
      ->type_name("SIZE");
  app.add_option("--pids", o.config.pids, "Threads at one time (32768)")->type_name("N");
  app.add_option("--timeout", o.timeout, "Kill everything after this long")->type_name("TIME");
  app.add_flag("--strace{all}", o.strace,
               "Log system calls, or only those named: --strace=openat,read")
      ->type_name("CALLS");
  app.add_option("--log", o.log, "Write the log to FILE (standard error)")->type_name("FILE");
  app.add_flag("--debug", o.debug, "Log what msentry does");
  app.add_option("--show", o.config.show, "Leave a path visible that is hidden by default")
      ->type_name("PATH")
      ->allow_extra_args(false);
  app.add_flag("--show-secrets", o.config.show_secrets,
               "Hide nothing of the host: keys, homes, password hashes");
  app.add_flag("--no-namespaces", o.config.avoid_namespaces, "As on a host without user namespaces")
      ->group("");
}

// The rest of the config from option texts. An empty string or what is wrong.
std::string Complete(Options& o) {
  Config& config = o.config;
  if (o.platform == "ptrace") {
    config.platform = PlatformKind::kPtrace;
  } else if (o.platform != "systrap") {
    return "--platform " + o.platform + ": there are systrap and ptrace";
  }
  if (o.gate != "fast" && o.gate != "strict")
    return "--platform-gate " + o.gate + ": there are fast and strict";
  config.strict_gate = o.gate == "strict";
  if (config.strict_gate && config.platform == PlatformKind::kPtrace) {
    return "--platform-gate strict: it is for systrap; ptrace sees every call anyway";
  }
  std::string wrong;
  if (!o.cpus.empty() && !(wrong = ParseCpus(o.cpus, &config)).empty()) return "--cpus: " + wrong;
  if (!o.memory.empty() && !(wrong = ParseSize(o.memory, &config.memory_bytes)).empty())
    return "--memory: " + wrong;
  if (!o.timeout.empty() && !(wrong = ParseDuration(o.timeout, &config.timeout_ms)).empty()) {
    return "--timeout: " + wrong;
  }
  for (const std::string& text : o.binds) {
    Bind bind;
    if (!(wrong = ParseBind(text, &bind)).empty()) return "--bind: " + wrong;
    config.binds.push_back(bind);
  }

  if (o.inherit_env) {
    config.InheritEnvironment();
  } else if (!o.profile.clear_env) {
    config.env = DefaultEnvironment();
  }
  if (o.user.empty() && o.profile.user) o.user = *o.profile.user;
  if (!o.user.empty()) {
    UserSpec user;
    if (!(wrong = ParseUser(o.user, config.rootfs, &user)).empty()) return "--user: " + wrong;
    config.user_set = true;
    config.uid = user.uid;
    config.gid = user.gid;
    config.groups = user.groups;
    std::string home = user.home.empty() ? "/" : user.home;
    ParseEnv("HOME=" + home, &config.env);
    if (!user.name.empty()) {
      ParseEnv("USER=" + user.name, &config.env);
      ParseEnv("LOGNAME=" + user.name, &config.env);
    }
  }
  for (const std::string& text : o.profile.env) {
    if (!(wrong = ParseEnv(text, &config.env)).empty()) return o.profile_name + ": env: " + wrong;
  }
  for (const std::string& text : o.env) {
    if (!(wrong = ParseEnv(text, &config.env)).empty()) return "--env: " + wrong;
  }
  bool has_path = std::any_of(config.env.begin(), config.env.end(),
                              [](const std::string& e) { return e.compare(0, 5, "PATH=") == 0; });
  if (!has_path)
    config.env.push_back("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");

  config.strace = !o.strace.empty();
  if (config.strace && o.strace != "all") config.strace_calls = SplitCommas(o.strace);
  if (o.debug) config.log_level = Config::LogLevel::kDebug;
  return "";
}

// What --profile among the options (in CLI11's order) says, before they are looked at in earnest:
// they replace what the profile sets.
std::string LoadProfile(const std::vector<std::string>& options, Options* o) {
  Options probe;
  CLI::App app("", "");
  Declare(app, probe);
  try {
    app.parse(std::vector<std::string>(options));
  } catch (const CLI::Error&) {
    return "";  // to be told of by the other look
  }
  if (probe.profile_name.empty()) return "";
  std::string wrong = profile::Load(probe.profile_name, &o->profile);
  return wrong.empty() ? profile::Apply(o->profile, &o->config) : wrong;
}

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

}  // namespace

int Run(std::vector<std::string> args) {
  Options o;
  CLI::App app("Run a program on msentry's own kernel: msentry run [OPTIONS] -- PROGRAM [ARGS...]",
               "msentry run");
  Declare(app, o);

  // What follows "--" is the program's, whatever it looks like.
  auto dashes = std::find(args.begin(), args.end(), "--");
  std::vector<std::string> ours(args.begin(), dashes);
  std::vector<std::string> behind(dashes, args.end());
  std::reverse(ours.begin(), ours.end());  // as CLI11 takes a vector
  std::string bad_profile = LoadProfile(ours, &o);
  if (!bad_profile.empty()) return Fail(bad_profile);
  try {
    app.parse(ours);
  } catch (const CLI::CallForHelp&) {
    std::cout << app.help();
    return 0;
  } catch (const CLI::ParseError& e) {
    return Fail(std::string(e.what()) + " (see msentry run --help)");
  }
  std::vector<std::string> program = app.remaining();
  if (!program.empty() && program[0].size() > 1 && program[0][0] == '-') {
    return Fail("unknown option " + program[0] + " (see msentry run --help)");
  }
  if (program.empty() && !behind.empty()) behind.erase(behind.begin());
  program.insert(program.end(), behind.begin(), behind.end());
  if (program.empty()) return Fail("no program given (see msentry run --help)");
  program.insert(program.begin(), o.profile.init.begin(), o.profile.init.end());
  o.config.args = program;
  std::string wrong = Complete(o);
  if (!wrong.empty()) return Fail(wrong);

  ScopedFd log;
  if (!o.log.empty()) {
    log.Reset(open(o.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!log) return Fail("--log " + o.log + ": " + strerror(errno));
    o.config.log_fd = log.get();
  }
  TerminalUse use = FindTerminals();
  Stdio* modes[] = {&o.config.stdin_mode, &o.config.stdout_mode, &o.config.stderr_mode};
  for (int fd = 0; fd < 3; fd++) {
    *modes[fd] = use.is_terminal[fd] ? Stdio::Terminal()
                 : IsOpen(fd)        ? Stdio::Fd(fd)
                                     : Stdio::Closed();
  }
  // Descriptors that we open must not take the place of closed ones.
  for (int fd = 0; fd < 3; fd++) {
    if (!IsOpen(fd)) open("/dev/null", O_RDWR | O_CLOEXEC);
  }
  if (use.is_terminal[0]) o.config.guarded_terminal_fd = 0;
  if (use.any()) o.config.window = CurrentWindowSize();
  o.config.msentry_binary = "/proc/self/exe";

  std::string error;
  auto sandbox = Sandbox::Create(o.config, &error);
  if (!sandbox || !sandbox->Start(&error)) return Fail(error);
  ExitStatus status = Attend(*sandbox, use);
  if (status.timed_out) {
    std::cerr << "msentry: killed: it ran longer than "
              << (o.timeout.empty() ? std::to_string(o.config.timeout_ms) + "ms" : o.timeout)
              << std::endl;
  } else if (status.out_of_memory && status.ShellCode() == 128 + SIGKILL) {
    std::cerr << "msentry: killed: out of memory, its limit is "
              << (o.memory.empty() ? std::to_string(o.config.memory_bytes) + " bytes" : o.memory)
              << std::endl;
  } else if (status.kind == ExitStatus::Kind::kFailed) {
    std::cerr << "msentry: " << status.message << std::endl;
  }
  return status.ShellCode();
}

}  // namespace msentry::cmd
