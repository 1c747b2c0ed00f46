// /proc (proc(5)) over the kernel's own state: nothing here is stored, everything is asked when it
// is read.
//
//   HostFacts facts = ReadHostFacts();                      // boot, before it confines itself
//   kernel.vfs().RegisterFsType({.name = "proc"}, [&](...) { return procfs::Create(kernel, ...);
//   });
//
// Process directories are made when they are looked up and live as long as somebody uses them; a
// look-up in the directory of a process that is gone gives ENOENT, a read of an open file ESRCH.
// Who may see what follows Linux: owners by effective ids, and ptrace(2)'s access mode check for
// what tells about memory (access.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sentry/base/ref_ptr.h"
#include "sentry/kernel/kernel.h"
#include "vfs/file_system.h"

namespace msentry::procfs {

// What the host says of itself: its size is read at boot.
struct HostFacts {
  std::string vendor = "GenuineIntel";
  int family = 6, model = 0;
  std::string mhz = "2000.000", cache_size, bogomips = "4000.00", address_sizes, flags;
  int clflush = 64, cpuid_level = 13;
  uint64_t memory_bytes = 0;
  int cpus = 1;
  // What a profile says instead: told as it is.
  std::string model_name = "unknown", shown_vendor;
  std::vector<std::string> hidden_flags;
};
HostFacts ReadHostFacts();
// With what the host says of its processors, from the /proc that boot has left us: read once, when
// somebody asks (it takes the host milliseconds to say).
const HostFacts& WithProcessor(const HostFacts& facts);

struct Options {
  HostFacts host;
};

RefPtr<vfs::FileSystem> Create(kernel::Kernel& kernel, const Options& options);

}  // namespace msentry::procfs
