// Moving data between files without the program touching it: sendfile(2), splice(2), tee(2),
// vmsplice(2), copy_file_range(2). Through a buffer of ours, or from host file to host file.
#include <fcntl.h>
#include <sys/uio.h>

#include "fsimpl/pipefs/pipe_file.h"
#include "sentry/syscalls/calls_splice.h"
#include "sentry/syscalls/util.h"
#include "vfs/file_io.h"

namespace msentry::syscalls {
namespace {

constexpr size_t kPiece = 65536;
constexpr uint32_t kSpliceFlags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT;

// One end of a transfer: a file at its position, or at an offset of the caller's.
struct End {
  FileDescription& file;
  std::optional<int64_t> offset;

  Result<size_t> Read(const vfs::OpContext& ctx, std::span<std::byte> to) const {
    mm::IoSequence sink = mm::IoSequence::ForReading(to);
    return offset ? vfs::ReadFileAt(ctx, file, sink, *offset) : vfs::ReadFile(ctx, file, sink);
  }
  Result<size_t> Write(const vfs::OpContext& ctx, std::span<const std::byte> from) const {
    mm::IoSequence source = mm::IoSequence::ForWriting(from);
    return offset ? vfs::WriteFileAt(ctx, file, source, *offset)
                  : vfs::WriteFile(ctx, file, source);
  }
  void Advance(size_t n) {
    if (offset) *offset += static_cast<int64_t>(n);
  }
};

Result<std::optional<int64_t>> CopyInOffset(Task& t, uint64_t address) {
  std::optional<int64_t> offset;
  if (address == 0) return offset;
  offset = TRY(t.memory().CopyIn(GuestPtr<int64_t>(address)));
  if (*offset < 0) return Errno::kEINVAL;
  return offset;
}

Result<> CopyOutOffset(Task& t, uint64_t address, const End& end) {
  if (address == 0) return Ok();
  return t.memory().CopyOut(GuestPtr<int64_t>(address), *end.offset);
}

template <typename Attempt>
auto Retry(Task& t, FileDescription& file, sched::EventMask events, bool wait, Attempt attempt) {
  if (!wait) return attempt();
  return RetryBlocking(t, file, events, sched::kNever, attempt);
}

// Moves up to `n` bytes. What has been read must be written, so the piece that is read is no larger
// than what the target takes at once; a target that blocks is waited for.
Result<int64_t> Transfer(Task& t, End in, End out, size_t n, bool wait, End* in_after,
                         End* out_after) {
  const vfs::OpContext ctx = t.FileContext();
  size_t done = 0;
  auto* out_pipe = vfs::FileCast<pipefs::PipeFile>(out.file);
  std::vector<std::byte> buffer(std::min(n, kPiece));
  Result<size_t> failed = size_t{0};
  while (done < n) {
    size_t want = std::min(n - done, buffer.size());
    if (out_pipe != nullptr) {
      // Room first: bytes taken out of a pipe cannot be put back.
      Result<size_t> room =
          Retry(t, out.file, kWriteEvents, wait && done == 0, [&]() -> Result<size_t> {
            if (out_pipe->pipe().readers() == 0) return Errno::kEPIPE;
            const size_t room_now = out_pipe->pipe().Room();
            if (room_now < pipefs::Pipe::kAtomicWrite) return Errno::kEAGAIN;
            return room_now;
          });
      if (!room.ok()) {
        failed = room;
        break;
      }
      want = std::min(want, *room);
    }
    const std::span<std::byte> piece(buffer.data(), want);
    Result<size_t> got =
        Retry(t, in.file, kReadEvents, wait && done == 0, [&] { return in.Read(ctx, piece); });
    if (!got.ok()) {
      failed = got;
      break;
    }
    if (*got == 0) break;
    in.Advance(*got);
    size_t written = 0;
    while (written < *got) {
      Result<size_t> put = Retry(t, out.file, kWriteEvents, true, [&] {
        return out.Write(ctx, piece.subspan(written, *got - written));
      });
      if (!put.ok()) {
        failed = put;
        break;
      }
      out.Advance(*put);
      written += *put;
    }
    done += written;
    if (written < *got) {
      // A file's position goes back to what was really moved.
      if (!in.offset) (void)in.file.Seek(ctx, -static_cast<int64_t>(*got - written), SEEK_CUR);
      in.Advance(-(*got - written));
      break;
    }
    if (*got < want) break;  // the source has no more now
  }
  in_after->offset = in.offset;
  out_after->offset = out.offset;
  if (done == 0 && !failed.ok()) {
    if (failed.error() == Errno::kEPIPE) RaiseSigpipe(t);
    return failed.error();
  }
  return static_cast<int64_t>(done);
}

}  // namespace

Result<int64_t> SysSendfile(Task& t, const SyscallArgs& a) {
  RefPtr<FileDescription> out = TRY(t.GetFile(a.Int(0)));
  RefPtr<FileDescription> in = TRY(t.GetFile(a.Int(1)));
  if (!in->readable() || !out->writable()) return Errno::kEBADF;
  // The source must have pages: a file or a device that can be mapped, no pipe or socket.
  const uint32_t type = in->inode().type();
  if (type == S_IFIFO || type == S_IFSOCK || type == S_IFDIR) return Errno::kEINVAL;
  if (out->flags() & O_APPEND) return Errno::kEINVAL;
  const std::optional<int64_t> offset = TRY(CopyInOffset(t, a[2]));
  End source{*in, offset}, target{*out, std::nullopt};
  const int64_t n = TRY(
      Transfer(t, source, target, std::min<uint64_t>(a[3], abi::kRwMax), true, &source, &target));
  TRY(CopyOutOffset(t, a[2], source));
  return n;
}

Result<int64_t> SysSplice(Task& t, const SyscallArgs& a) {
  if (a.Uint(5) & ~kSpliceFlags) return Errno::kEINVAL;
  if (a[4] == 0) return 0;
  RefPtr<FileDescription> in = TRY(t.GetFile(a.Int(0)));
  RefPtr<FileDescription> out = TRY(t.GetFile(a.Int(2)));
  if (!in->readable() || !out->writable()) return Errno::kEBADF;
  auto* in_pipe = vfs::FileCast<pipefs::PipeFile>(*in);
  auto* out_pipe = vfs::FileCast<pipefs::PipeFile>(*out);
  if (in_pipe == nullptr && out_pipe == nullptr) return Errno::kEINVAL;
  if (in_pipe != nullptr && out_pipe != nullptr && &in_pipe->pipe() == &out_pipe->pipe()) {
    return Errno::kEINVAL;
  }
  if ((in_pipe != nullptr && a[1] != 0) || (out_pipe != nullptr && a[3] != 0)) {
    return Errno::kESPIPE;
  }
  if (out->flags() & O_APPEND) return Errno::kEINVAL;
  End source{*in, TRY(CopyInOffset(t, a[1]))}, target{*out, TRY(CopyInOffset(t, a[3]))};
  const int64_t n = TRY(Transfer(t, source, target, std::min<uint64_t>(a[4], abi::kRwMax),
                                 !(a.Uint(5) & SPLICE_F_NONBLOCK), &source, &target));
  TRY(CopyOutOffset(t, a[1], source));
  TRY(CopyOutOffset(t, a[3], target));
  return n;
}

Result<int64_t> SysTee(Task& t, const SyscallArgs& a) {
  if (a.Uint(3) & ~kSpliceFlags) return Errno::kEINVAL;
  if (a[2] == 0) return 0;
  RefPtr<FileDescription> in = TRY(t.GetFile(a.Int(0)));
  RefPtr<FileDescription> out = TRY(t.GetFile(a.Int(1)));
  if (!in->readable() || !out->writable()) return Errno::kEBADF;
  auto* in_pipe = vfs::FileCast<pipefs::PipeFile>(*in);
  auto* out_pipe = vfs::FileCast<pipefs::PipeFile>(*out);
  if (in_pipe == nullptr || out_pipe == nullptr || &in_pipe->pipe() == &out_pipe->pipe()) {
    return Errno::kEINVAL;
  }
  const bool wait = !(a.Uint(3) & SPLICE_F_NONBLOCK);
  for (;;) {
    const size_t n = std::min<uint64_t>(a[2], 1 << 20);
    Result<size_t> copied = in_pipe->pipe().TeeTo(out_pipe->pipe(), n);
    if (copied.ok() || copied.error() != Errno::kEAGAIN || !wait) {
      if (!copied.ok() && copied.error() == Errno::kEPIPE) RaiseSigpipe(t);
      return static_cast<int64_t>(TRY(copied));
    }
    // First for something to read, then for room: either may be what is missing.
    const auto until = [&](FileDescription& file, sched::EventMask events) {
      return t.BlockOn(file.wait_queue(), events, sched::kNever, [&]() -> Result<> {
        return file.Readiness(events) != 0 ? Result<>(Ok()) : Errno::kEAGAIN;
      });
    };
    TRY(until(*in, kReadEvents));
    TRY(until(*out, kWriteEvents));
  }
}

Result<int64_t> SysVmsplice(Task& t, const SyscallArgs& a) {
  if (a.Uint(3) & ~kSpliceFlags) return Errno::kEINVAL;
  RefPtr<FileDescription> file = TRY(t.GetFile(a.Int(0)));
  if (vfs::FileCast<pipefs::PipeFile>(*file) == nullptr) return Errno::kEBADF;
  mm::IoSequence data = TRY(t.memory().CopyInIovec(a[1], a[2]));
  if (data.empty()) return 0;
  // The pages are copied, not shared: the same but for speed.
  if (a.Uint(3) & SPLICE_F_NONBLOCK) {
    const vfs::OpContext ctx = t.FileContext();
    return static_cast<int64_t>(
        TRY(file->writable() ? vfs::WriteFile(ctx, *file, data) : vfs::ReadFile(ctx, *file, data)));
  }
  return file->writable() ? WriteBlocking(t, *file, data) : ReadBlocking(t, *file, data);
}

Result<int64_t> SysCopyFileRange(Task& t, const SyscallArgs& a) {
  if (a.Uint(5) != 0) return Errno::kEINVAL;
  RefPtr<FileDescription> in = TRY(t.GetFile(a.Int(0)));
  RefPtr<FileDescription> out = TRY(t.GetFile(a.Int(2)));
  if (!in->readable() || !out->writable() || (out->flags() & O_APPEND)) return Errno::kEBADF;
  if (in->inode().IsDir() || out->inode().IsDir()) return Errno::kEISDIR;
  if (!in->inode().IsRegular() || !out->inode().IsRegular()) return Errno::kEINVAL;
  const vfs::OpContext ctx = t.FileContext();
  std::optional<int64_t> in_offset = TRY(CopyInOffset(t, a[1]));
  std::optional<int64_t> out_offset = TRY(CopyInOffset(t, a[3]));
  const int64_t from = in_offset ? *in_offset : in->position();
  const int64_t to = out_offset ? *out_offset : out->position();
  const size_t wanted = std::min<uint64_t>(a[4], abi::kRwMax);
  if (&in->inode() == &out->inode() && from < to + static_cast<int64_t>(wanted) &&
      to < from + static_cast<int64_t>(wanted)) {
    return Errno::kEINVAL;
  }
  const size_t n = TRY(vfs::CopyBetween(ctx, *in, from, *out, to, wanted));
  // The positions move only where the caller did not give offsets.
  if (in_offset) {
    TRY(t.memory().CopyOut(GuestPtr<int64_t>(a[1]), from + static_cast<int64_t>(n)));
  } else {
    TRY(in->Seek(ctx, from + static_cast<int64_t>(n), SEEK_SET));
  }
  if (out_offset) {
    TRY(t.memory().CopyOut(GuestPtr<int64_t>(a[3]), to + static_cast<int64_t>(n)));
  } else {
    TRY(out->Seek(ctx, to + static_cast<int64_t>(n), SEEK_SET));
  }
  return static_cast<int64_t>(n);
}

}  // namespace msentry::syscalls
