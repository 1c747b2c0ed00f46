#include "runtime/config.h"

#include <limits.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

extern char** environ;

namespace msentry {

void Config::InheritEnvironment() {
  env.clear();
  for (char** e = environ; e != nullptr && *e != nullptr; e++) env.push_back(*e);
}

namespace runtime {
namespace {

constexpr uint64_t kLeastMemory = 1 << 20;

bool Fail(std::string* error, std::string text) {
  *error = std::move(text);
  return false;
}

std::string CurrentDirectory() {
  std::unique_ptr<char, decltype(&free)> path(getcwd(nullptr, 0), &free);
  return path && path.get()[0] == '/' ? path.get() : "/";
}

bool RealPath(const std::string& path, std::string* out) {
  std::unique_ptr<char, decltype(&free)> real(realpath(path.c_str(), nullptr), &free);
  if (!real) return false;
  *out = real.get();
  return true;
}

bool HasNul(const std::string& text) { return text.find('\0') != std::string::npos; }

// What hosts(5) takes; underscores too, which people use.
bool IsHostName(const std::string& name) {
  bool between = false;  // a letter or digit was there, and not a dot since
  for (char c : name) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) {
      between = true;
    } else if ((c != '-' && c != '_' && c != '.') || !between) {
      return false;
    } else if (c == '.') {
      between = false;
    }
  }
  return between;
}

bool ConvertProgram(const Config& config, control::Config* out, std::string* error) {
  if (config.args.empty() || config.args[0].empty()) return Fail(error, "no program given");
  for (const std::string& arg : config.args) {
    if (HasNul(arg)) return Fail(error, "an argument contains a NUL byte");
    out->add_args(arg);
  }
  for (const std::string& variable : config.env) {
    if (HasNul(variable) || variable.find('=') == std::string::npos || variable[0] == '=') {
      return Fail(error, "not NAME=VALUE in the environment: " + variable);
    }
    out->add_env(variable);
  }
  return true;
}

bool ConvertIdentity(const Config& config, control::Config* out, std::string* error) {
  control::User* user = out->mutable_user();
  if (config.user_set) {
    user->set_uid(config.uid);
    user->set_gid(config.gid);
    for (uint32_t group : config.groups) user->add_groups(group);
  } else {
    user->set_uid(geteuid());
    user->set_gid(getegid());
    gid_t groups[NGROUPS_MAX];
    int count = getgroups(NGROUPS_MAX, groups);
    for (int i = 0; i < count; i++) user->add_groups(groups[i]);
  }
  std::string hostname = config.hostname.empty() ? "msentry" : config.hostname;
  if (hostname.size() > 64) return Fail(error, "host name longer than 64 bytes: " + hostname);
  if (!IsHostName(hostname)) {
    return Fail(error, "not a host name (letters, digits and - _ . inside): " + hostname);
  }
  out->set_hostname(hostname);
  out->set_host_uid(geteuid());
  out->set_host_gid(getegid());
  return true;
}

bool ConvertFiles(const Config& config, control::Config* out, std::string* error) {
  std::string root;
  struct stat st;
  if (!RealPath(config.rootfs, &root) || stat(root.c_str(), &st) != 0) {
    return Fail(error, "root directory " + config.rootfs + ": " + strerror(errno));
  }
  if (!S_ISDIR(st.st_mode))
    return Fail(error, "root directory " + config.rootfs + ": not a directory");
  out->set_rootfs(root);

  for (const Bind& bind : config.binds) {
    std::string source;
    if (!RealPath(bind.source, &source) || stat(source.c_str(), &st) != 0) {
      return Fail(error, "bind " + bind.source + ": " + strerror(errno));
    }
    if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)) {
      return Fail(error, "bind " + bind.source + ": neither a directory nor a regular file");
    }
    if (bind.destination.empty() || bind.destination[0] != '/') {
      return Fail(error,
                  "bind " + bind.source + ": the path inside is not absolute: " + bind.destination);
    }
    control::Bind* b = out->add_binds();
    b->set_source(source);
    b->set_destination(bind.destination);
    b->set_read_only(bind.read_only);
  }

  std::string here = CurrentDirectory();
  out->set_host_cwd(here);
  const char* home = getenv("HOME");
  if (home != nullptr && home[0] == '/') out->set_host_home(home);
  if (!config.cwd.empty() && config.cwd[0] != '/') {
    return Fail(error, "working directory " + config.cwd + ": not an absolute path");
  }
  out->set_cwd(config.cwd);
  out->set_show_secrets(config.show_secrets);
  for (const std::string& path : config.show) {
    if (path.empty() || path[0] != '/') return Fail(error, "path to show is not absolute: " + path);
    out->add_show(path);
  }
  mode_t mask = umask(0);
  umask(mask);
  out->set_umask(mask);
  return true;
}

bool ConvertMounts(const Config& config, control::Config* out, std::string* error) {
  for (const Mount& mount : config.mounts) {
    if (mount.destination.empty() || mount.destination[0] != '/' || HasNul(mount.destination)) {
      return Fail(error, "mount: the path inside is not absolute: " + mount.destination);
    }
    control::Mount* m = out->add_mounts();
    m->set_destination(mount.destination);
    m->set_file(mount.kind == Mount::Kind::kFile);
    m->set_content(mount.content);
    m->set_size_bytes(mount.size_bytes);
    m->set_mode(mount.mode & 07777);
    m->set_read_only(mount.read_only);
  }
  return true;
}

// Made as ULIDs are: the time first, then randomness.
std::string UniquePart() {
  constexpr char kDigits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  uint64_t words[2] = {};
  if (getrandom(words, sizeof words, 0) != sizeof words) words[0] = words[1] = now.tv_nsec;
  const uint64_t ms = static_cast<uint64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1000000;
  std::string id;
  for (int shift = 45; shift >= 0; shift -= 5) id += kDigits[ms >> shift & 31];
  for (int i = 0; i < 16; i++) id += kDigits[words[i / 8] >> (i % 8 * 5) & 31];
  return id;
}

bool ConvertTaskId(const Config& config, control::Config* out, std::string* error) {
  std::string id = config.task_id.empty() ? "ms-*" : config.task_id;
  if (id.back() == '*') id.replace(id.size() - 1, 1, UniquePart());
  if (id.size() > 255 || id == "." || id == ".." || id.find('/') != std::string::npos ||
      id.find('\n') != std::string::npos || HasNul(id)) {
    return Fail(error, "task id cannot be a cgroup's name: " + config.task_id);
  }
  out->set_task_id(id);
  return true;
}

control::Stdio ConvertStdio(const Stdio& mode) {
  switch (mode.kind) {
    case Stdio::Kind::kTerminal:
      return control::TERMINAL;
    case Stdio::Kind::kClosed:
      return control::CLOSED;
    default:
      return control::HOST_FD;
  }
}

}  // namespace

bool ConvertConfig(const Config& config, control::Config* out, std::string* error) {
  if (!ConvertProgram(config, out, error) || !ConvertIdentity(config, out, error) ||
      !ConvertFiles(config, out, error) || !ConvertMounts(config, out, error) ||
      !ConvertTaskId(config, out, error)) {
    return false;
  }
  if (config.pids == 0)
    return Fail(error, "a limit of no process at all leaves none for the program");
  if (config.memory_bytes > 0 && config.memory_bytes < kLeastMemory) {
    return Fail(error, "a memory limit of " + std::to_string(config.memory_bytes) +
                           " bytes is too small: 1M at least");
  }
  long host_cpus = sysconf(_SC_NPROCESSORS_ONLN);
  if (config.cpus > static_cast<uint64_t>(host_cpus)) {
    return Fail(error, "more CPUs than the host's " + std::to_string(host_cpus) + ": " +
                           std::to_string(config.cpus));
  }
  out->set_platform(config.platform == PlatformKind::kPtrace ? control::PTRACE : control::SYSTRAP);
  out->set_strict_gate(config.strict_gate);
  out->set_cpus(config.cpus);
  out->set_memory_bytes(config.memory_bytes);
  out->set_cpu_quota_us(config.cpu_quota_us > 0 ? config.cpu_quota_us : 0);
  out->set_memory_to_report(config.memory_to_report);
  out->set_cpu_vendor(config.cpu_vendor);
  out->set_cpu_model_name(config.cpu_model_name);
  for (const std::string& flag : config.hidden_cpu_flags) out->add_hidden_cpu_flags(flag);
  out->set_pids(config.pids);
  out->set_timeout_ms(config.timeout_ms);
  for (const Stdio* mode : {&config.stdin_mode, &config.stdout_mode, &config.stderr_mode}) {
    out->add_stdio(ConvertStdio(*mode));
  }
  out->mutable_window()->set_rows(config.window.rows);
  out->mutable_window()->set_columns(config.window.columns);
  out->mutable_window()->set_x_pixels(config.window.x_pixels);
  out->mutable_window()->set_y_pixels(config.window.y_pixels);
  out->mutable_strace()->set_enabled(config.strace);
  for (const std::string& call : config.strace_calls) out->mutable_strace()->add_calls(call);
  switch (config.log_level) {
    case Config::LogLevel::kWarning:
      out->set_log_level(control::LOG_WARNING);
      break;
    case Config::LogLevel::kInfo:
      out->set_log_level(control::LOG_INFO);
      break;
    case Config::LogLevel::kDebug:
      out->set_log_level(control::LOG_DEBUG);
      break;
  }
  out->set_avoid_namespaces(config.avoid_namespaces);
  return true;
}

}  // namespace runtime
}  // namespace msentry
