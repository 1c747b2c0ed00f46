// What the host's /proc says of a stub process: the real figures behind the guest's VmRSS and
// mincore(2). Boot opens the host's /proc before the sentry confines itself and hands it over;
// without it the figures are zero and every mapped page counts as resident.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "sentry/base/result.h"
#include "sentry/base/scoped_fd.h"

namespace msentry::mm {

// Pages, as /proc/PID/statm counts them.
struct ResidentUsage {
  uint64_t resident = 0;  // all
  uint64_t file = 0;      // of it, file-backed and shared memory
};

namespace host_proc {

// `proc`: an O_PATH or directory fd of the host's /proc. Once, before any other call.
void SetDirectory(ScopedFd proc);

ResidentUsage Resident(int host_pid);

// Sets bit 0 of pages[i] to whether page `address / 4096 + i` is resident. False: not known.
bool ResidentPages(int host_pid, uint64_t address, std::span<uint8_t> pages);

// The text of one of the host's own files ("cpuinfo"); empty when it cannot be read.
std::string ReadText(const char* name);

// The same file, open for reading only (for a memfd, which is born writable): what a private
// mapping in a stub must be made of. kENXIO when there is no /proc to ask.
Result<ScopedFd> ReopenReadOnly(int fd);

}  // namespace host_proc
}  // namespace msentry::mm
