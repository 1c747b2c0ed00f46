// Generators of the files at the top of /proc, and of /proc/sys.
#pragma once

#include <string>

#include "fsimpl/pseudofs/pseudofs.h"
#include "procfs/subject.h"

namespace msentry::procfs {

// system_files.cc: cpuinfo, meminfo, stat, uptime, loadavg, version...
void AddSystemFiles(ProcFs& fs, pseudofs::StaticDir& root);
// sys_tree.cc: sys/{kernel,vm,fs,net}.
void AddSysTree(ProcFs& fs, pseudofs::StaticDir& root);

// sysv_ipc.cc: sysvipc/, and the limits of System V IPC for sys/kernel.
void AddSysvIpc(ProcFs& fs, pseudofs::StaticDir& root);
void AddIpcLimits(ProcFs& fs, pseudofs::StaticDir& dir);

// net_files.cc: net/, the same for every process.
RefPtr<vfs::Inode> MakeNetDir(ProcFs& fs);

// What the sandbox's memory looks like: a limit or the host's size, and what its processes use.
struct MemoryFigures {
  uint64_t total = 0, used = 0, file = 0;  // bytes
};
MemoryFigures MeasureMemory(const ProcFs& fs);

}  // namespace msentry::procfs
