#include "vfs/file_io.h"

#include <linux/falloc.h>
#include <sys/inotify.h>

#include "sentry/mm/io_sequence.h"
#include "vfs/inode.h"
#include "vfs/inotify.h"
#include "vfs/permissions.h"

namespace msentry::vfs {

namespace {

constexpr size_t kCopyBuffer = 64 * 1024;

void Notify(FileDescription& file, uint32_t mask) {
  if (InotifyActive()) [[unlikely]]
    NotifyFile(*file.location().dentry, mask);
}

// Before the first byte is written or cut: a changed program must not keep its set-id bits.
Result<> DropSetId(const OpContext& ctx, FileDescription& file) {
  Inode& inode = file.inode();
  const uint32_t mode = inode.mode();
  if (!(mode & (S_ISUID | S_ISGID)) || !inode.IsRegular()) [[likely]]
    return Ok();
  const uint32_t kept = ModeAfterWrite(ctx.creds, mode);
  if (kept == mode) return Ok();
  SetAttributes attrs;
  attrs.set = SetAttributes::kMode;
  attrs.mode = kept & kModeBits;
  return inode.SetAttr(ctx, attrs);
}

}  // namespace

Result<size_t> ReadFile(const OpContext& ctx, FileDescription& file, mm::IoSequence& to) {
  if (!file.readable()) return Errno::kEBADF;
  Result<size_t> n = file.Read(ctx, to);
  if (n.ok() && *n != 0) Notify(file, IN_ACCESS);
  return n;
}

Result<size_t> WriteFile(const OpContext& ctx, FileDescription& file, mm::IoSequence& from) {
  if (!file.writable()) return Errno::kEBADF;
  TRY(DropSetId(ctx, file));
  Result<size_t> n = file.Write(ctx, from);
  if (n.ok() && *n != 0) Notify(file, IN_MODIFY);
  return n;
}

Result<size_t> ReadFileAt(const OpContext& ctx, FileDescription& file, mm::IoSequence& to,
                          uint64_t offset) {
  if (!file.readable()) return Errno::kEBADF;
  Result<size_t> n = file.PRead(ctx, to, offset);
  if (n.ok() && *n != 0) Notify(file, IN_ACCESS);
  return n;
}

Result<size_t> WriteFileAt(const OpContext& ctx, FileDescription& file, mm::IoSequence& from,
                           uint64_t offset) {
  if (!file.writable()) return Errno::kEBADF;
  TRY(DropSetId(ctx, file));
  Result<size_t> n = 0;
  if (file.flags() & O_APPEND && file.inode().IsRegular()) {
    uint64_t end;  // Linux appends here too, against POSIX (pwrite(2), BUGS)
    n = file.Append(ctx, from, &end);
  } else {
    TRY(LimitWrite(ctx, file.inode(), from, offset));
    n = file.PWrite(ctx, from, offset);
  }
  if (n.ok() && *n != 0) Notify(file, IN_MODIFY);
  return n;
}

Result<> ReadDirectory(const OpContext& ctx, FileDescription& file, DirentSink sink) {
  if (!file.readable()) return Errno::kEBADF;
  if (!file.inode().IsDir()) return Errno::kENOTDIR;
  if (file.location().dentry->IsDeleted()) return Errno::kENOENT;
  TRY(file.IterateDirents(ctx, sink));
  Notify(file, IN_ACCESS);
  return Ok();
}

Result<> TruncateFile(const OpContext& ctx, FileDescription& file, uint64_t size) {
  if (!file.writable() || !file.inode().IsRegular()) return Errno::kEINVAL;
  if (size > ctx.fsize_limit) {
    ctx.fsize_exceeded = true;
    return Errno::kEFBIG;
  }
  TRY(DropSetId(ctx, file));
  SetAttributes attrs;
  attrs.set = SetAttributes::kSize;
  attrs.size = size;
  TRY(file.SetAttr(ctx, attrs));
  Notify(file, IN_MODIFY);
  return Ok();
}

Result<> AllocateFile(const OpContext& ctx, FileDescription& file, int mode, uint64_t offset,
                      uint64_t length) {
  if (!file.writable()) return Errno::kEBADF;
  if (length == 0 || offset > INT64_MAX || length > INT64_MAX) return Errno::kEINVAL;
  if (file.inode().type() == S_IFIFO) return Errno::kESPIPE;
  if (file.inode().IsDir()) return Errno::kEISDIR;
  if (!file.inode().IsRegular()) return Errno::kENODEV;
  if (offset + length > INT64_MAX) return Errno::kEFBIG;
  if (!(mode & FALLOC_FL_KEEP_SIZE) && offset + length > ctx.fsize_limit) {
    ctx.fsize_exceeded = true;
    return Errno::kEFBIG;
  }
  TRY(DropSetId(ctx, file));
  TRY(file.Allocate(ctx, mode, offset, length));
  Notify(file, IN_MODIFY);
  return Ok();
}

Result<size_t> CopyBetween(const OpContext& ctx, FileDescription& source, uint64_t source_offset,
                           FileDescription& target, uint64_t target_offset, size_t n) {
  if (!source.readable() || !target.writable()) return Errno::kEBADF;
  if (target.flags() & O_APPEND) return Errno::kEBADF;
  if (target_offset >= ctx.fsize_limit && n != 0) {
    ctx.fsize_exceeded = true;
    return Errno::kEFBIG;
  }
  n = std::min<uint64_t>(n, ctx.fsize_limit - target_offset);
  TRY(DropSetId(ctx, target));
  Result<size_t> direct = target.CopyRangeFrom(ctx, source, source_offset, target_offset, n);
  if (direct.ok() || direct.error() != Errno::kEXDEV) {
    if (direct.ok() && *direct != 0) Notify(target, IN_MODIFY);
    return direct;
  }
  auto buffer = std::make_unique<std::byte[]>(std::min(n, kCopyBuffer));
  size_t done = 0;
  while (done < n) {
    std::span<std::byte> part(buffer.get(), std::min(n - done, kCopyBuffer));
    mm::IoSequence in = mm::IoSequence::ForReading(part);
    Result<size_t> got = source.PRead(ctx, in, source_offset + done);
    if (!got.ok()) return done ? Result<size_t>(done) : got;
    if (*got == 0) break;
    mm::IoSequence out = mm::IoSequence::ForWriting(part.first(*got));
    Result<size_t> put = target.PWrite(ctx, out, target_offset + done);
    if (!put.ok()) return done ? Result<size_t>(done) : put;
    done += *put;
    if (*put < *got) break;
  }
  if (done) Notify(target, IN_MODIFY);
  return done;
}

Result<size_t> ReadInto(const OpContext& ctx, FileDescription& file, uint64_t offset, void* to,
                        size_t n) {
  size_t done = 0;
  while (done < n) {
    mm::IoSequence in = mm::IoSequence::ForReading({static_cast<std::byte*>(to) + done, n - done});
    size_t got = TRY(file.PRead(ctx, in, offset + done));
    if (got == 0) break;
    done += got;
  }
  return done;
}

Result<std::string> ReadWholeFile(const OpContext& ctx, FileDescription& file, size_t limit) {
  std::string out;
  for (;;) {
    size_t before = out.size();
    out.resize(before + kCopyBuffer);
    size_t got = TRY(ReadInto(ctx, file, before, out.data() + before, kCopyBuffer));
    out.resize(before + got);
    if (out.size() > limit) return Errno::kEFBIG;
    if (got < kCopyBuffer) return out;
  }
}

}  // namespace msentry::vfs
