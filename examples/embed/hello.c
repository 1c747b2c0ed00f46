/* The least that embeds msentry from C: runs its arguments in a sandbox, with our standard input
 * and output. */
#include <msentry_c.h>
#include <stdio.h>

int main(int argc, char** argv) {
  char error[256] = "";
  msentry_config* config = msentry_config_new();
  if (argc < 2) {
    fprintf(stderr, "usage: hello_c PROGRAM [ARGS...]\n");
    return 2;
  }
  for (int i = 1; i < argc; i++) msentry_config_arg(config, argv[i]);
  msentry_sandbox* sandbox = msentry_start(config, error, sizeof error);
  msentry_config_free(config);
  if (sandbox == NULL) {
    fprintf(stderr, "hello_c: %s\n", error);
    return 125;
  }
  struct msentry_status status;
  msentry_wait(sandbox, &status);
  msentry_close(sandbox);
  if (status.end == MSENTRY_FAILED) fprintf(stderr, "hello_c: %s\n", status.message);
  return status.end == MSENTRY_SIGNALED ? 128 + status.code : status.code;
}
