// Descriptions of the two ends. Data goes through a small buffer on the stack, because the
// terminal's lock cannot be held while guest memory is copied.
#include "fsimpl/devpts/devpts.h"
#include "sentry/mm/io_sequence.h"

namespace msentry::devpts {
namespace {

constexpr size_t kPiece = 4096;

// Moves what `take` yields into `to`, until it has no more or `to` is full.
template <typename Take>
Result<size_t> ReadPieces(mm::IoSequence& to, bool one_piece, Take take) {
  char buffer[kPiece];
  size_t done = 0;
  do {
    Result<size_t> n = take(std::span<char>(buffer, std::min(to.size(), kPiece)));
    if (!n.ok()) {
      if (done > 0) break;
      return n.error();
    }
    if (*n == 0) break;
    done += TRY(to.CopyOut(std::as_bytes(std::span(buffer, *n))));
    if (*n < kPiece) break;
  } while (!one_piece && !to.empty());
  return done;
}

template <typename Put>
Result<size_t> WritePieces(mm::IoSequence& from, Put put) {
  char buffer[kPiece];
  size_t done = 0;
  while (!from.empty()) {
    const size_t wanted = std::min(from.size(), kPiece);
    mm::IoSequence piece = from.Prefix(wanted);
    Result<size_t> have = piece.CopyIn(std::as_writable_bytes(std::span(buffer, wanted)));
    Result<size_t> n = have.ok() ? put(std::string_view(buffer, *have)) : have;
    if (!n.ok()) {
      if (done > 0) break;
      return n.error();
    }
    from.Skip(*n);
    done += *n;
    if (*n < wanted) break;
  }
  return done;
}

}  // namespace

const char MasterFile::kClassTag = 0;
const char SlaveFile::kClassTag = 0;

MasterFile::MasterFile(vfs::Location location, int flags, RefPtr<Pty> pty, RefPtr<DevptsFs> fs)
    : FileDescription(std::move(location), flags), pty_(std::move(pty)), fs_(std::move(fs)) {}

Result<RefPtr<vfs::FileDescription>> MasterFile::OpenPeer(const vfs::OpContext& ctx, int flags) {
  return fs_->OpenSlave(ctx, pty_, flags & (O_ACCMODE | O_NONBLOCK | O_NOCTTY));
}

MasterFile::~MasterFile() { pty_->MasterClosed(); }

Result<size_t> MasterFile::Read(const vfs::OpContext&, mm::IoSequence& to) {
  return ReadPieces(to, true, [&](std::span<char> out) { return pty_->MasterRead(out); });
}

Result<size_t> MasterFile::Write(const vfs::OpContext&, mm::IoSequence& from) {
  return WritePieces(from, [&](std::string_view in) { return pty_->MasterWrite(in); });
}

Result<int64_t> MasterFile::Ioctl(const vfs::OpContext&, uint32_t command, uint64_t argument,
                                  vfs::UserMemory& memory) {
  return pty_->MasterIoctl(command, argument, memory);
}

sched::EventMask MasterFile::Readiness(sched::EventMask mask) {
  return pty_->MasterReadiness(mask);
}

SlaveFile::SlaveFile(vfs::Location location, int flags, RefPtr<Pty> pty)
    : FileDescription(std::move(location), flags), pty_(std::move(pty)) {}

SlaveFile::~SlaveFile() { pty_->SlaveClosed(); }

Result<size_t> SlaveFile::Read(const vfs::OpContext&, mm::IoSequence& to) {
  return ReadPieces(to, true, [&](std::span<char> out) { return pty_->SlaveRead(out); });
}

Result<size_t> SlaveFile::Write(const vfs::OpContext&, mm::IoSequence& from) {
  return WritePieces(from, [&](std::string_view in) { return pty_->SlaveWrite(in); });
}

Result<int64_t> SlaveFile::Ioctl(const vfs::OpContext&, uint32_t command, uint64_t argument,
                                 vfs::UserMemory& memory) {
  return pty_->SlaveIoctl(command, argument, memory);
}

sched::EventMask SlaveFile::Readiness(sched::EventMask mask) { return pty_->SlaveReadiness(mask); }

}  // namespace msentry::devpts
