// Reading, writing, truncating open files: what the system calls use. These check the
// access mode (EBADF), O_PATH, RLIMIT_FSIZE, clear set-id bits on write, and raise inotify events;
// the work is the FileDescription's.
//
// None of them waits: EAGAIN means would block, whatever O_NONBLOCK says.
#pragma once

#include "sentry/base/result.h"
#include "vfs/file_description.h"

namespace msentry::vfs {

Result<size_t> ReadFile(const OpContext& ctx, FileDescription& file, mm::IoSequence& to);
Result<size_t> WriteFile(const OpContext& ctx, FileDescription& file, mm::IoSequence& from);
// ESPIPE for streams, EINVAL for negative offsets (checked by the caller's decoding).
Result<size_t> ReadFileAt(const OpContext& ctx, FileDescription& file, mm::IoSequence& to,
                          uint64_t offset);
Result<size_t> WriteFileAt(const OpContext& ctx, FileDescription& file, mm::IoSequence& from,
                           uint64_t offset);
// getdents64(2). ENOTDIR, ENOENT for a removed directory.
Result<> ReadDirectory(const OpContext& ctx, FileDescription& file, DirentSink sink);
Result<> TruncateFile(const OpContext& ctx, FileDescription& file, uint64_t size);  // ftruncate(2)
Result<> AllocateFile(const OpContext& ctx, FileDescription& file, int mode, uint64_t offset,
                      uint64_t length);
// copy_file_range(2) and sendfile(2) between positions given by value; returns bytes moved, 0 at
// the end of `source`. Host to host when both are host files, else through a bounded buffer.
Result<size_t> CopyBetween(const OpContext& ctx, FileDescription& source, uint64_t source_offset,
                           FileDescription& target, uint64_t target_offset, size_t n);
// The whole of a file up to `limit` bytes into sentry memory (loader, scripts, tests). EFBIG.
Result<std::string> ReadWholeFile(const OpContext& ctx, FileDescription& file, size_t limit);
// Exactly up to `n` bytes at `offset` into sentry memory; returns how many were there.
Result<size_t> ReadInto(const OpContext& ctx, FileDescription& file, uint64_t offset, void* to,
                        size_t n);

}  // namespace msentry::vfs
