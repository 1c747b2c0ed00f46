// The bridge between open files and mm: mm knows files as mm::MappedFile only.
#pragma once

#include "sentry/mm/mapped_file.h"
#include "vfs/file_description.h"

namespace msentry::vfs {

// `file` as something to map; it holds the description. `root` gives MapsPath() its point of view.
// What cannot be mapped says so in HostBacking.
RefPtr<mm::MappedFile> MakeMappedFile(RefPtr<FileDescription> file, const Location& root);
// The description behind a MappedFile of ours (/proc/PID/exe, map_files).
FileDescription& FileOfMapping(const mm::MappedFile& mapped);

}  // namespace msentry::vfs
