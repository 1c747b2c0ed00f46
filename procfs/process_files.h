// Generators of the text files of /proc/PID: one function a file.
#pragma once

#include <string>
#include <string_view>

#include "procfs/subject.h"

namespace msentry::procfs {

using Text = Result<std::string>;

// process_status.cc
Text ReadStat(const View& v);
Text ReadStatm(const View& v);
Text ReadStatus(const View& v);
Text ReadComm(const View& v);
Result<> WriteComm(const View& v, std::string_view text);
Text ReadIo(const View& v);
Text ReadLimits(const View& v);
Text ReadPersonality(const View& v);
Text ReadChildren(const View& v);

// process_sched.cc
Text ReadSched(const View& v);
Text ReadSchedstat(const View& v);
Text ReadWchan(const View& v);
Text ReadStack(const View& v);
Text ReadSyscall(const View& v);
Text ReadTimers(const View& v);
Text ReadTimerslack(const View& v);
Result<> WriteTimerslack(const View& v, std::string_view text);
// What may be written and changes nothing.
Result<> AcceptWrite(const View& v, std::string_view text);

// process_memory.cc
Text ReadMaps(const View& v);
Text ReadCmdline(const View& v);
Text ReadEnviron(const View& v);
Text ReadAuxv(const View& v);
// One mapping's line of maps, and the name at its end.
void AppendMapsLine(std::string* out, const mm::Vma& vma, const mm::ImageInfo& image);
std::string NameInMaps(const mm::Vma& vma, const mm::ImageInfo& image);

// process_smaps.cc
Text ReadSmaps(const View& v);
Text ReadSmapsRollup(const View& v);
Text ReadNumaMaps(const View& v);
Result<> WriteClearRefs(const View& v, std::string_view text);
Result<RefPtr<vfs::FileDescription>> OpenPagemap(const View& v, const vfs::OpenArgs& args);

// process_misc.cc
Text ReadMounts(const View& v);
Text ReadMountInfo(const View& v);
Text ReadMountStats(const View& v);
Text ReadCgroup(const View& v);
Text ReadCpuset(const View& v);

// process_identity.cc
Text ReadIdMap(const View& v);
Result<> WriteIdMap(const View& v, std::string_view text);
Text ReadSetgroups(const View& v);
Result<> WriteSetgroups(const View& v, std::string_view text);
Text ReadLoginuid(const View& v);
Result<> WriteLoginuid(const View& v, std::string_view text);
Text ReadSessionid(const View& v);
Text ReadOomScore(const View& v);
Text ReadOomScoreAdj(const View& v);
Result<> WriteOomScoreAdj(const View& v, std::string_view text);
Text ReadOomAdj(const View& v);
Result<> WriteOomAdj(const View& v, std::string_view text);
Text ReadCoredumpFilter(const View& v);
Result<> WriteCoredumpFilter(const View& v, std::string_view text);

// "exe", "cwd", "root": where a link leads.
enum class ProcessLink { kExe, kCwd, kRoot };
Result<vfs::Location> FollowProcessLink(const View& v, ProcessLink link);

// /proc/PID/mem: process_mem.cc.
Result<RefPtr<vfs::FileDescription>> OpenMem(const View& v, const vfs::OpenArgs& args);

}  // namespace msentry::procfs
