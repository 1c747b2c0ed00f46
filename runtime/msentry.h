// libmsentry: run a program on msentry's own kernel, from C++.
//
//   msentry::Config config;
//   config.args = {"/bin/sh", "-c", "uname -r"};
//   config.stdout_mode = msentry::Stdio::Pipe();
//   std::string error;
//   auto sandbox = msentry::Sandbox::Create(config, &error);
//   if (!sandbox || !sandbox->Start(&error)) return Fail(error);
//   std::string text = ReadAll(sandbox->stdout_fd());
//   msentry::ExitStatus status = sandbox->Wait();
//
// A sandbox is a few host processes (docs/architecture.md): a supervisor, the sentry, the gofer,
// and one per guest address space. They end, and the private writable layer is removed, when the
// program ends, when Close() or the destructor runs, or when this process dies, however it dies.
//
// Threads: one Sandbox is used by one thread at a time, but Kill() and Resize(), which any thread
// may call. Different sandboxes are independent. The library starts no thread, installs no signal
// handler and changes nothing in the calling process; it needs SIGCHLD not to be ignored.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#if defined(__GNUC__)
#define MSENTRY_EXPORT __attribute__((visibility("default")))
#else
#define MSENTRY_EXPORT
#endif

namespace msentry {

enum class PlatformKind { kSystrap, kPtrace };

// What one of the guest's descriptors 0, 1 and 2 is.
struct Stdio {
  enum class Kind {
    kFd,        // a descriptor of this process, handed over as it is
    kPipe,      // a pipe whose other end the Sandbox gives out
    kNull,      // /dev/null
    kTerminal,  // the sandbox's own terminal, see Sandbox::console_fd()
    kClosed,
  };
  Kind kind = Kind::kNull;
  int fd = -1;  // kFd; borrowed until Start() returns

  static Stdio Fd(int fd) { return {Kind::kFd, fd}; }
  static Stdio Pipe() { return {Kind::kPipe, -1}; }
  static Stdio Null() { return {Kind::kNull, -1}; }
  static Stdio Terminal() { return {Kind::kTerminal, -1}; }
  static Stdio Closed() { return {Kind::kClosed, -1}; }
};

struct WindowSize {
  uint16_t rows = 24, columns = 80, x_pixels = 0, y_pixels = 0;
};

struct Bind {
  std::string source;       // path on the host
  std::string destination;  // absolute path inside
  bool read_only = false;   // else the guest's writes reach the host
};

// Something else to mount: see also Bind.
struct Mount {
  enum class Kind {
    kBind,   // `source`; in Config::mounts use Config::binds instead
    kTmpfs,  // an empty directory in memory
    kFile,   // a file that holds `content`
  };
  Kind kind = Kind::kTmpfs;
  std::string destination;  // absolute path inside
  std::string source, content;
  uint64_t size_bytes = 0;  // of a tmpfs; 0: half of the memory
  uint32_t mode = 01777;    // of a tmpfs
  bool read_only = false;
};

struct Config {
  // The program and its arguments. A name without a slash is looked up in the PATH of `env`,
  // inside.
  std::vector<std::string> args;
  // NAME=VALUE, the whole environment. InheritEnvironment() fills it with the caller's.
  std::vector<std::string> env;
  // Absolute path inside. Empty: the caller's working directory, if it can be seen inside, else
  // "/".
  std::string cwd;

  // Ids inside. By default the caller's own; they give no right on the host.
  bool user_set = false;
  uint32_t uid = 0, gid = 0;
  std::vector<uint32_t> groups;
  std::string hostname;  // empty: "msentry"

  // The read-only lower layer of the root directory; the host's "/" by default.
  std::string rootfs = "/";
  std::vector<Bind> binds;
  std::vector<Mount> mounts;
  // Where the writable layer lives. Empty: a private directory that is removed at the end.
  // Otherwise this directory, made if need be and kept: a later sandbox with the same one goes on
  // from there.
  std::string keep;
  // By default the usual secrets of the host are hidden (docs/threat-model.md).
  bool show_secrets = false;
  std::vector<std::string> show;  // paths to leave visible

  PlatformKind platform = PlatformKind::kSystrap;
  bool strict_gate = false;   // --platform-gate=strict
  uint32_t cpus = 0;          // 0: all that this process may use
  uint64_t memory_bytes = 0;  // 0: no limit
  int64_t cpu_quota_us = -1;  // CPU time in 100 ms over all CPUs; -1: no limit
  uint32_t pids = 32768;      // guest threads at one time
  uint64_t timeout_ms = 0;    // 0: none

  // Path of the sandbox's group in every cgroup hierarchy, without the slash. A "*" at its end is
  // replaced by characters of its own for each sandbox. Empty: "ms-*".
  std::string task_id;
  uint64_t memory_to_report = 0;  // MemTotal; 0: the limit, or the host's size
  // /proc/cpuinfo, where it is not to be the host's.
  std::string cpu_vendor, cpu_model_name;
  std::vector<std::string> hidden_cpu_flags;

  Stdio stdin_mode, stdout_mode, stderr_mode;
  WindowSize window;  // of the terminal, when there is one

  bool strace = false;                    // system calls to the log
  std::vector<std::string> strace_calls;  // names; empty: all
  int log_fd = 2;                         // borrowed until Start() returns; -1: no log
  enum class LogLevel { kWarning, kInfo, kDebug } log_level = LogLevel::kWarning;

  // A terminal whose settings, as they are in Start(), the supervisor restores should this process
  // be killed; -1: none.
  int guarded_terminal_fd = -1;

  // As on a host that allows no user namespace (for tests).
  bool avoid_namespaces = false;
  // The msentry program that the sandbox's processes run. Empty: $MSENTRY_BINARY, else the
  // installed one.
  std::string msentry_binary;

  MSENTRY_EXPORT void InheritEnvironment();
};

struct ExitStatus {
  enum class Kind {
    kExited,    // `code` is the program's exit status
    kSignaled,  // `code` is the signal that ended it
    kFailed,    // msentry could not run it or broke; `message` says why; `code` is 125, 126 or 127
  };
  Kind kind = Kind::kFailed;
  int code = 125;
  bool timed_out = false;
  bool out_of_memory = false;  // the memory limit ended a process, not necessarily the first
  std::string message;

  // What a shell makes of it: the status, 128 + signal, or 125, 126, 127.
  int ShellCode() const { return kind == Kind::kSignaled ? 128 + code : code; }
};

class MSENTRY_EXPORT Sandbox {
 public:
  // Checks `config` and prepares the writable layer. Null, and one line in *error, when something
  // is wrong with it.
  static std::unique_ptr<Sandbox> Create(const Config& config, std::string* error);
  // Close().
  ~Sandbox();
  Sandbox(const Sandbox&) = delete;
  Sandbox& operator=(const Sandbox&) = delete;

  // Starts the processes. Returns before the program runs: what keeps it from running is told by
  // Wait().
  bool Start(std::string* error);

  // Our ends of the kPipe descriptors; -1 for others. Still owned by the sandbox: to close one (end
  // of file for the guest), use CloseStdin(), or take it with Release.
  int stdin_fd() const;
  int stdout_fd() const;
  int stderr_fd() const;
  void CloseStdin();

  // The byte stream of the sandbox's terminal, both ways, when a descriptor is kTerminal: what is
  // written is typed, what is read is shown. End of file when the sandbox is gone.
  int console_fd() const;
  bool Resize(const WindowSize& size);

  // Waits for the end of the first process and of everything else in the sandbox. May be called
  // again.
  ExitStatus Wait();
  // A descriptor that becomes readable when Poll() has something to do. Owned by the sandbox.
  int event_fd() const;
  // Takes in what happened, without waiting. true, with *status set, when the sandbox has ended.
  bool Poll(ExitStatus* status);

  // Sends a signal to the first process. With `foreground`, to the foreground job of its terminal.
  bool Kill(int signal, bool foreground = false);
  // Ends everything now. Wait() tells kSignaled, SIGKILL, unless it had ended before.
  void Close();

  // What is weaker on this host than it could be, one line each; complete once the program runs.
  const std::vector<std::string>& warnings() const;

 private:
  struct Impl;
  explicit Sandbox(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// "0.1.0"
MSENTRY_EXPORT const char* Version();

}  // namespace msentry
