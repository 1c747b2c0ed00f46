// msbench: what one operation costs a sandboxed program. A plain, static Linux program.
//
// An operation is a function that does itself `n` times. The harness (main.c) finds an n that takes
// long enough, repeats it, and prints nanoseconds per operation. Set-up that belongs to one
// operation happens inside it and is spread over n.
#pragma once

#include <stddef.h>

typedef void (*operation_fn)(long n);

struct operation {
  const char* name;
  operation_fn run;
  long quantum;  // counts are multiples of it; 0 is 1
};

// Each family lists its operations, ended by a null name.
extern const struct operation call_operations[];
extern const struct operation file_operations[];
extern const struct operation ipc_operations[];
extern const struct operation process_operations[];
extern const struct operation memory_operations[];

// A file of 1 MiB in the scratch directory, open for reading and writing; its path; and a path in
// the same directory where nothing is.
extern int data_fd;
extern char data_path[];
extern char absent_path[];
extern const char* scratch_dir;
// How this program was started, for the operations that execute it again.
extern const char* self_path;

// Ends the program with a message that names what failed; `ok` is a condition that must hold.
void must(int ok, const char* what);
