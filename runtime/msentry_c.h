/* libmsentry for C: the same as runtime/msentry.h, whose comments hold here too.
 *
 *   msentry_config *config = msentry_config_new();
 *   msentry_config_arg(config, "/bin/echo");
 *   msentry_config_arg(config, "hello");
 *   msentry_sandbox *sandbox = msentry_start(config, error, sizeof error);
 *   struct msentry_status status;
 *   msentry_wait(sandbox, &status);
 *   msentry_close(sandbox);
 *   msentry_config_free(config);
 *
 * Functions that can fail return 0 or a pointer on success, -1 or NULL on failure, and then leave
 * one line in `error` when it is given. Strings are copied. No function here aborts on bad input.
 */
#ifndef MSENTRY_C_H
#define MSENTRY_C_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define MSENTRY_C_EXPORT __attribute__((visibility("default")))
#else
#define MSENTRY_C_EXPORT
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct msentry_config msentry_config;
typedef struct msentry_sandbox msentry_sandbox;

enum msentry_stdio { MSENTRY_FD, MSENTRY_PIPE, MSENTRY_NULL, MSENTRY_CLOSED };
enum msentry_platform { MSENTRY_SYSTRAP, MSENTRY_PTRACE };
enum msentry_end { MSENTRY_EXITED, MSENTRY_SIGNALED, MSENTRY_FAILED };

struct msentry_status {
  enum msentry_end end;
  int code;          /* exit status, signal, or 125, 126, 127 */
  int timed_out;     /* 1 when the timeout ended it */
  int out_of_memory; /* 1 when the memory limit ended a process */
  char message[256]; /* why it failed; else empty */
};

/* A config with the environment of the caller, and descriptors 0, 1 and 2 handed over. NULL when
 * out of memory. */
MSENTRY_C_EXPORT msentry_config* msentry_config_new(void);
MSENTRY_C_EXPORT void msentry_config_free(msentry_config* config);
MSENTRY_C_EXPORT void msentry_config_arg(msentry_config* config, const char* arg);
MSENTRY_C_EXPORT void msentry_config_clear_env(msentry_config* config);
MSENTRY_C_EXPORT void msentry_config_env(msentry_config* config, const char* name_is_value);
MSENTRY_C_EXPORT void msentry_config_cwd(msentry_config* config, const char* path);
MSENTRY_C_EXPORT void msentry_config_rootfs(msentry_config* config, const char* path);
MSENTRY_C_EXPORT void msentry_config_bind(msentry_config* config, const char* source,
                                          const char* destination, int read_only);
MSENTRY_C_EXPORT void msentry_config_keep(msentry_config* config, const char* directory);
MSENTRY_C_EXPORT void msentry_config_user(msentry_config* config, uint32_t uid, uint32_t gid);
MSENTRY_C_EXPORT void msentry_config_hostname(msentry_config* config, const char* name);
MSENTRY_C_EXPORT void msentry_config_platform(msentry_config* config,
                                              enum msentry_platform platform);
MSENTRY_C_EXPORT void msentry_config_limits(msentry_config* config, uint32_t cpus,
                                            uint64_t memory_bytes, uint32_t pids,
                                            uint64_t timeout_ms);
/* `which` is 0, 1 or 2; `fd` counts for MSENTRY_FD only. */
MSENTRY_C_EXPORT int msentry_config_stdio(msentry_config* config, int which,
                                          enum msentry_stdio kind, int fd);
MSENTRY_C_EXPORT void msentry_config_binary(msentry_config* config, const char* path);

MSENTRY_C_EXPORT msentry_sandbox* msentry_start(const msentry_config* config, char* error,
                                                size_t size);
/* Our end of a MSENTRY_PIPE descriptor, or -1. Owned by the sandbox. */
MSENTRY_C_EXPORT int msentry_fd(const msentry_sandbox* sandbox, int which);
MSENTRY_C_EXPORT void msentry_close_stdin(msentry_sandbox* sandbox);
MSENTRY_C_EXPORT int msentry_wait(msentry_sandbox* sandbox, struct msentry_status* status);
MSENTRY_C_EXPORT int msentry_kill(msentry_sandbox* sandbox, int signal);
MSENTRY_C_EXPORT void msentry_close(msentry_sandbox* sandbox);
MSENTRY_C_EXPORT const char* msentry_version(void);

#ifdef __cplusplus
}
#endif
#endif
