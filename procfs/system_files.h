// Generators of the files at the top of /proc, and of /proc/sys.
#pragma once

#include <string>

#include "absl/functional/function_ref.h"
#include "fsimpl/pseudofs/pseudofs.h"
#include "procfs/subject.h"

namespace msentry::procfs {

// Adds `name`, readable by all, whose text `generate` makes.
void AddFile(ProcFs& fs, pseudofs::StaticDir& dir, const char* name,
             Result<std::string> (*generate)(const ProcFs&));

// system_files.cc: all of /proc but sys/ and net/, with those of the next two.
void AddSystemFiles(ProcFs& fs, pseudofs::StaticDir& root);
// machine_files.cc: cpuinfo, stat, uptime, loadavg ...
void AddMachineFiles(ProcFs& fs, pseudofs::StaticDir& root);
// memory_files.cc: meminfo, vmstat ...
void AddMemoryFiles(ProcFs& fs, pseudofs::StaticDir& root);
// sysctl_tree.cc: sys/{kernel,vm,fs,net}.
void AddSysTree(ProcFs& fs, pseudofs::StaticDir& root);

// sysv_ipc.cc: sysvipc/, and the limits of System V IPC for sys/kernel.
void AddSysvIpc(ProcFs& fs, pseudofs::StaticDir& root);
void AddIpcLimits(ProcFs& fs, pseudofs::StaticDir& dir);

// net_files.cc: net/, the same for every process.
RefPtr<vfs::Inode> MakeNetDir(ProcFs& fs);

// Every open file of every process, some more than once.
void ForEachOpenFile(kernel::Kernel& kernel,
                     absl::FunctionRef<void(const RefPtr<vfs::FileDescription>&)> visit);

}  // namespace msentry::procfs
