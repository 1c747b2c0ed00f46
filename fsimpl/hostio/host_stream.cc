#include "fsimpl/hostio/host_stream.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sentry/mm/io_sequence.h"
#include "vfs/user_memory.h"
#include "vfs/vfs.h"

namespace msentry::hostio {
namespace {

constexpr size_t kBlockingPiece = 4096;  // PIPE_BUF: what a pipe that polls writable takes at once

vfs::Timespec ToVfs(const timespec& t) { return {t.tv_sec, static_cast<uint32_t>(t.tv_nsec)}; }

}  // namespace

Result<RefPtr<HostStream>> HostStream::Create(const vfs::OpContext& ctx,
                                              sched::Scheduler& scheduler, ScopedFd fd) {
  struct stat st;
  if (fstat(fd.get(), &st) != 0) return FromHost(errno);
  const int host_flags = fcntl(fd.get(), F_GETFL);
  if (host_flags < 0) return FromHost(errno);
  const bool seekable = S_ISREG(st.st_mode) || S_ISBLK(st.st_mode);
  const int flags = host_flags & (O_ACCMODE | O_APPEND);
  vfs::Location location = vfs::MakeAnonymousLocation(
      vfs::MakeAnonymousInode(ctx.vfs, ctx.creds, st.st_mode & (S_IFMT | 0777)), "host:");
  const int raw_fd = fd.get();
  auto stream = MakeRef<HostStream>(std::move(location), flags, std::move(fd), seekable,
                                    (host_flags & O_NONBLOCK) != 0);
  if (seekable) return stream;
  HostStream* raw = stream.get();
  // /dev/null and its like cannot be watched; they are always ready.
  Result<std::unique_ptr<sched::HostFdWatch>> watch = sched::HostFdWatch::Create(
      scheduler, raw_fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP,
      [raw](uint32_t events) { raw->queue_.Notify(events | sched::kRdNorm | sched::kWrNorm); });
  if (watch.ok()) stream->watch_ = *std::move(watch);
  return stream;
}

HostStream::HostStream(vfs::Location location, int flags, ScopedFd fd, bool seekable,
                       bool nonblocking)
    : FileDescription(std::move(location), flags),
      fd_(std::move(fd)),
      seekable_(seekable),
      nonblocking_(nonblocking) {}

HostStream::~HostStream() = default;

bool HostStream::HostReady(short events) const {
  pollfd p{fd_.get(), events, 0};
  return poll(&p, 1, 0) > 0;
}

Result<size_t> HostStream::Read(const vfs::OpContext&, mm::IoSequence& to) {
  if (!seekable_ && !nonblocking_ && !HostReady(POLLIN)) return Errno::kEAGAIN;
  return to.ReadFromHost(fd_.get(), -1, to.size());
}

Result<size_t> HostStream::Write(const vfs::OpContext&, mm::IoSequence& from) {
  if (seekable_ || nonblocking_) return from.WriteToHost(fd_.get(), -1, from.size());
  size_t done = 0;
  while (!from.empty()) {
    Result<size_t> n = HostReady(POLLOUT)
                           ? from.WriteToHost(fd_.get(), -1, std::min(from.size(), kBlockingPiece))
                           : Result<size_t>(Errno::kEAGAIN);
    if (!n.ok() || *n == 0) {
      if (done > 0) break;
      return n;
    }
    done += *n;
  }
  return done;
}

Result<size_t> HostStream::PRead(const vfs::OpContext&, mm::IoSequence& to, uint64_t offset) {
  if (!seekable_) return Errno::kESPIPE;
  return to.ReadFromHost(fd_.get(), static_cast<int64_t>(offset), to.size());
}

Result<size_t> HostStream::PWrite(const vfs::OpContext&, mm::IoSequence& from, uint64_t offset) {
  if (!seekable_) return Errno::kESPIPE;
  return from.WriteToHost(fd_.get(), static_cast<int64_t>(offset), from.size());
}

Result<int64_t> HostStream::Seek(const vfs::OpContext&, int64_t offset, int whence) {
  if (whence < SEEK_SET || whence > SEEK_HOLE) return Errno::kEINVAL;
  const off_t position = lseek(fd_.get(), offset, whence);
  if (position < 0) return FromHost(errno);
  return position;
}

int64_t HostStream::position() const {
  const off_t position = lseek(fd_.get(), 0, SEEK_CUR);
  return position < 0 ? 0 : position;
}

Result<vfs::Attributes> HostStream::GetAttr(const vfs::OpContext& ctx, vfs::AttrMask wanted) {
  vfs::Attributes attributes = TRY(inode().GetAttr(ctx, wanted));
  struct stat st;
  if (fstat(fd_.get(), &st) != 0) return FromHost(errno);
  // Two descriptors of one host file must compare equal (cat's "input file is output file"), and
  // different files must not.
  attributes.ino = st.st_ino;
  attributes.size = st.st_size;
  attributes.blocks = st.st_blocks;
  attributes.blksize = st.st_blksize;
  attributes.rdev = S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode) ? st.st_rdev : 0;
  attributes.nlink = st.st_nlink;
  attributes.atime = ToVfs(st.st_atim);
  attributes.mtime = ToVfs(st.st_mtim);
  attributes.ctime = ToVfs(st.st_ctim);
  return attributes;
}

Result<> HostStream::SetAttr(const vfs::OpContext& ctx, const vfs::SetAttributes& attrs) {
  // The host file itself is not the guest's to change, but for its length.
  if (!(attrs.set & vfs::SetAttributes::kSize)) return inode().SetAttr(ctx, attrs);
  if (!seekable_) return Errno::kEINVAL;
  if (ftruncate(fd_.get(), static_cast<off_t>(attrs.size)) != 0) return FromHost(errno);
  return Ok();
}

Result<int64_t> HostStream::Ioctl(const vfs::OpContext&, uint32_t command, uint64_t argument,
                                  vfs::UserMemory& memory) {
  if (command != FIONREAD) return Errno::kENOTTY;
  int available = 0;
  if (ioctl(fd_.get(), FIONREAD, &available) != 0) return FromHost(errno);
  TRY(memory.Write<int32_t>(argument, available));
  return 0;
}

Result<> HostStream::Fsync(const vfs::OpContext&, bool data_only) {
  if (!seekable_) return Errno::kEINVAL;
  int error = 0;
  sched::Offload([&] {
    if ((data_only ? fdatasync(fd_.get()) : fsync(fd_.get())) != 0) error = errno;
  });
  if (error != 0) return FromHost(error);
  return Ok();
}

sched::EventMask HostStream::Readiness(sched::EventMask mask) {
  if (!watch_) return mask & (sched::kIn | sched::kOut | sched::kRdNorm | sched::kWrNorm);
  pollfd p{fd_.get(), static_cast<short>(mask & 0xffff), 0};
  if (poll(&p, 1, 0) <= 0) return 0;
  return static_cast<uint16_t>(p.revents) & (mask | sched::kErr | sched::kHup);
}

}  // namespace msentry::hostio
