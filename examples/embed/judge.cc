// A judge for programs that nobody trusts: feeds a script to a shell in a sandbox, collects what it
// prints, and bounds its time.
//
//   judge 'read x; echo $((x * 2))' 21      prints: exited 0, output "42"
#include <msentry.h>
#include <unistd.h>

#include <cstdio>
#include <string>

namespace {

std::string ReadAll(int fd) {
  std::string text;
  char buffer[4096];
  ssize_t n;
  while ((n = read(fd, buffer, sizeof buffer)) > 0) text.append(buffer, static_cast<size_t>(n));
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: judge SCRIPT INPUT\n");
    return 2;
  }
  msentry::Config config;
  config.args = {"/bin/sh", "-c", argv[1]};
  config.env = {"PATH=/usr/bin:/bin"};
  config.cwd = "/tmp";
  config.stdin_mode = msentry::Stdio::Pipe();
  config.stdout_mode = msentry::Stdio::Pipe();
  config.timeout_ms = 10000;
  config.pids = 64;

  std::string error;
  auto sandbox = msentry::Sandbox::Create(config, &error);
  if (!sandbox || !sandbox->Start(&error)) {
    fprintf(stderr, "judge: %s\n", error.c_str());
    return 1;
  }
  std::string input = std::string(argv[2]) + "\n";
  if (write(sandbox->stdin_fd(), input.data(), input.size()) < 0) perror("judge: write");
  sandbox->CloseStdin();
  std::string output = ReadAll(sandbox->stdout_fd());
  msentry::ExitStatus status = sandbox->Wait();
  while (!output.empty() && output.back() == '\n') output.pop_back();
  switch (status.kind) {
    case msentry::ExitStatus::Kind::kExited:
      printf("exited %d, output \"%s\"\n", status.code, output.c_str());
      return 0;
    case msentry::ExitStatus::Kind::kSignaled:
      printf("%s, output \"%s\"\n", status.timed_out ? "out of time" : "killed by a signal",
             output.c_str());
      return 0;
    case msentry::ExitStatus::Kind::kFailed:
      fprintf(stderr, "judge: %s\n", status.message.c_str());
      return 1;
  }
}
