// What the host's /proc says of a stub process: the real figures behind the guest's VmRSS and
// mincore(2). Boot opens the host's /proc before the sentry confines itself and hands it over;
// without it the figures are zero and every mapped page counts as resident.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sentry/base/result.h"
#include "sentry/base/scoped_fd.h"

namespace msentry::mm {

// Pages, as /proc/PID/statm counts them.
struct ResidentUsage {
  uint64_t resident = 0;  // all
  uint64_t file = 0;      // of it, file-backed and shared memory
};

// What the kernel of the host counted of a stub process: of its whole life.
struct HostFigures {
  uint64_t resident = 0;  // pages
  uint64_t minor_faults = 0, major_faults = 0;
};

// Kilobytes, from the host's /proc/PID/status.
struct HostMemory {
  uint64_t resident_kb = 0, peak_kb = 0, page_tables_kb = 0, swap_kb = 0;
};

// One mapping of the stub process as the host's smaps tells it; kilobytes.
struct HostArea {
  enum Field : uint8_t {
    kRss,
    kPss,
    kSharedClean,
    kSharedDirty,
    kPrivateClean,
    kPrivateDirty,
    kReferenced,
    kAnonymous,
    kHugePages,
    kSwap,
    kSwapPss,
    kLocked,
    kFieldCount
  };
  uint64_t start = 0, end = 0;
  std::array<uint64_t, kFieldCount> kb{};
};

// Bytes, each page divided among the processes that have it (smaps_rollup's Pss): what a process
// adds to the whole.
struct ShareUsage {
  bool known = false;
  int64_t anonymous = 0, shared = 0, file = 0;
};

namespace host_proc {

// `proc`: an O_PATH or directory fd of the host's /proc. Once, before any other call.
void SetDirectory(ScopedFd proc);

// Walks the process's page tables: milliseconds for a large one.
ShareUsage Share(int host_pid);
// The host's /proc/PID/stat, statm and status. An fd of either can be kept and asked again; one of
// a process that is gone gives zeros.
ScopedFd OpenStat(int host_pid);
ScopedFd OpenStatm(int host_pid);
ScopedFd OpenStatus(int host_pid);
HostFigures ReadStat(int stat_fd);
HostMemory ReadStatus(int status_fd);
ResidentUsage ReadStatm(int statm_fd);

// All mappings, in address order; empty when there is none to ask.
std::vector<HostArea> ReadSmaps(int host_pid);
// The entries of the host's pagemap for page `address / 4096` on (bit 63: present, 62: swapped, 61:
// file or shared, 56: mapped once, 55: written since the last clear); frame numbers are hidden.
// False: not known.
bool ReadPagemap(int host_pid, uint64_t address, std::span<uint64_t> entries);
// Forgets which pages were referenced or written (`what`: 1 to 4, proc(5) clear_refs), or the peak
// of the resident set (5). EIO when there is nobody to ask.
Result<> ClearRefs(int host_pid, int what);

// Sets bit 0 of pages[i] to whether page `address / 4096 + i` is resident. False: not known.
bool ResidentPages(int host_pid, uint64_t address, std::span<uint8_t> pages);

// The text of one of the host's own files ("cpuinfo"); empty when it cannot be read.
std::string ReadText(const char* name);

// The same file, open for reading only (for a memfd, which is born writable): what a private
// mapping in a stub must be made of. kENXIO when there is no /proc to ask.
Result<ScopedFd> ReopenReadOnly(int fd);

// An fd of one of the files above, kept for the next time while not too many are. Not thread-safe.
class KeptFd {
 public:
  KeptFd() = default;
  KeptFd(const KeptFd&) = delete;
  KeptFd& operator=(const KeptFd&) = delete;
  ~KeptFd();
  // The fd, or -1. `scratch` gets it when it is not to be kept.
  int Get(ScopedFd (*open)(int host_pid), int host_pid, ScopedFd& scratch);

 private:
  static constexpr int kMost = 1024;
  static std::atomic<int> kept;
  ScopedFd fd_;
};

}  // namespace host_proc
}  // namespace msentry::mm
