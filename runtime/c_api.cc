// The C functions, over the C++ classes.
#include <cstring>
#include <memory>
#include <string>

#include "runtime/msentry.h"
#include "runtime/msentry_c.h"

struct msentry_config {
  msentry::Config value;
};

struct msentry_sandbox {
  std::unique_ptr<msentry::Sandbox> value;
};

namespace {

void CopyText(const std::string& text, char* out, size_t size) {
  if (out == nullptr || size == 0) return;
  size_t n = text.size() < size ? text.size() : size - 1;
  memcpy(out, text.data(), n);
  out[n] = '\0';
}

std::string Text(const char* s) { return s == nullptr ? "" : s; }

}  // namespace

msentry_config* msentry_config_new(void) {
  auto* config = new (std::nothrow) msentry_config;
  if (config == nullptr) return nullptr;
  config->value.InheritEnvironment();
  config->value.stdin_mode = msentry::Stdio::Fd(0);
  config->value.stdout_mode = msentry::Stdio::Fd(1);
  config->value.stderr_mode = msentry::Stdio::Fd(2);
  return config;
}

void msentry_config_free(msentry_config* config) { delete config; }

void msentry_config_arg(msentry_config* config, const char* arg) {
  config->value.args.push_back(Text(arg));
}

void msentry_config_clear_env(msentry_config* config) { config->value.env.clear(); }

void msentry_config_env(msentry_config* config, const char* name_is_value) {
  config->value.env.push_back(Text(name_is_value));
}

void msentry_config_cwd(msentry_config* config, const char* path) {
  config->value.cwd = Text(path);
}

void msentry_config_rootfs(msentry_config* config, const char* path) {
  config->value.rootfs = Text(path);
}

void msentry_config_bind(msentry_config* config, const char* source, const char* destination,
                         int read_only) {
  config->value.binds.push_back({Text(source), Text(destination), read_only != 0});
}

void msentry_config_keep(msentry_config* config, const char* directory) {
  config->value.keep = Text(directory);
}

void msentry_config_user(msentry_config* config, uint32_t uid, uint32_t gid) {
  config->value.user_set = true;
  config->value.uid = uid;
  config->value.gid = gid;
}

void msentry_config_hostname(msentry_config* config, const char* name) {
  config->value.hostname = Text(name);
}

void msentry_config_platform(msentry_config* config, enum msentry_platform platform) {
  config->value.platform =
      platform == MSENTRY_PTRACE ? msentry::PlatformKind::kPtrace : msentry::PlatformKind::kSystrap;
}

void msentry_config_limits(msentry_config* config, uint32_t cpus, uint64_t memory_bytes,
                           uint32_t pids, uint64_t timeout_ms) {
  config->value.cpus = cpus;
  config->value.memory_bytes = memory_bytes;
  config->value.pids = pids;
  config->value.timeout_ms = timeout_ms;
}

int msentry_config_stdio(msentry_config* config, int which, enum msentry_stdio kind, int fd) {
  msentry::Stdio* modes[] = {&config->value.stdin_mode, &config->value.stdout_mode,
                             &config->value.stderr_mode};
  if (which < 0 || which > 2) return -1;
  switch (kind) {
    case MSENTRY_FD:
      *modes[which] = msentry::Stdio::Fd(fd);
      return 0;
    case MSENTRY_PIPE:
      *modes[which] = msentry::Stdio::Pipe();
      return 0;
    case MSENTRY_NULL:
      *modes[which] = msentry::Stdio::Null();
      return 0;
    case MSENTRY_CLOSED:
      *modes[which] = msentry::Stdio::Closed();
      return 0;
  }
  return -1;
}

void msentry_config_binary(msentry_config* config, const char* path) {
  config->value.msentry_binary = Text(path);
}

msentry_sandbox* msentry_start(const msentry_config* config, char* error, size_t size) {
  std::string text;
  auto sandbox = msentry::Sandbox::Create(config->value, &text);
  if (!sandbox || !sandbox->Start(&text)) {
    CopyText(text, error, size);
    return nullptr;
  }
  return new msentry_sandbox{std::move(sandbox)};
}

int msentry_fd(const msentry_sandbox* sandbox, int which) {
  switch (which) {
    case 0:
      return sandbox->value->stdin_fd();
    case 1:
      return sandbox->value->stdout_fd();
    case 2:
      return sandbox->value->stderr_fd();
    default:
      return -1;
  }
}

void msentry_close_stdin(msentry_sandbox* sandbox) { sandbox->value->CloseStdin(); }

int msentry_wait(msentry_sandbox* sandbox, struct msentry_status* status) {
  msentry::ExitStatus s = sandbox->value->Wait();
  if (status == nullptr) return 0;
  switch (s.kind) {
    case msentry::ExitStatus::Kind::kExited:
      status->end = MSENTRY_EXITED;
      break;
    case msentry::ExitStatus::Kind::kSignaled:
      status->end = MSENTRY_SIGNALED;
      break;
    case msentry::ExitStatus::Kind::kFailed:
      status->end = MSENTRY_FAILED;
      break;
  }
  status->code = s.code;
  status->timed_out = s.timed_out ? 1 : 0;
  status->out_of_memory = s.out_of_memory ? 1 : 0;
  CopyText(s.message, status->message, sizeof status->message);
  return 0;
}

int msentry_kill(msentry_sandbox* sandbox, int signal) {
  return sandbox->value->Kill(signal) ? 0 : -1;
}

void msentry_close(msentry_sandbox* sandbox) { delete sandbox; }

const char* msentry_version(void) { return msentry::Version(); }
