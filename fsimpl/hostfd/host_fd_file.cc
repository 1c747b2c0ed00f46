#include "fsimpl/hostfd/host_fd_file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <climits>
#include <string>
#include <vector>

#include "sentry/mm/io_sequence.h"
#include "vfs/user_memory.h"

namespace msentry::hostfd {
namespace {

constexpr size_t kStreamChunk = 64 * 1024;
constexpr int kStatusFlags = O_ACCMODE | O_APPEND | O_NONBLOCK;

// How a call that must not wait is made.
enum class Waiting {
  kNever,     // regular files, and descriptors with an O_NONBLOCK of our own
  kSocket,    // MSG_DONTWAIT
  kAskFirst,  // RWF_NOWAIT, or poll(2) where the host knows no RWF_NOWAIT for it
};

vfs::Timespec FromHostTime(const timespec& t) {
  return {t.tv_sec, static_cast<uint32_t>(t.tv_nsec)};
}

// What is behind the descriptor. Several descriptions (through /proc/self/fd) share it.
class HostInode final : public vfs::Inode {
 public:
  HostInode(RefPtr<vfs::FileSystem> fs, const struct stat& st, ScopedFd fd, Waiting waiting,
            std::string name)
      : Inode(std::move(fs), st.st_ino, st.st_mode, st.st_uid, st.st_gid),
        fd_(std::move(fd)),
        waiting_(waiting),
        name_(std::move(name)) {}

  // Pipes, sockets and some devices become ready; regular files always are, and the host refuses to
  // watch them.
  void Watch(sched::Scheduler& scheduler) {
    auto watch = sched::HostFdWatch::Create(
        scheduler, fd_.get(), POLLIN | POLLOUT | POLLPRI | POLLRDHUP,
        [this](uint32_t events) { queue_.Notify(events | POLLERR | POLLHUP); });
    if (watch.ok()) watch_ = std::move(watch).value();
  }

  Result<vfs::Attributes> GetAttr(const vfs::OpContext&, vfs::AttrMask) override {
    struct stat st;
    if (fstat(fd_.get(), &st) != 0) return FromHost(errno);
    vfs::Attributes a;
    a.ino = st.st_ino;
    a.rdev = st.st_rdev;
    a.size = st.st_size;
    a.blocks = st.st_blocks;
    a.blksize = st.st_blksize;
    a.mode = st.st_mode;
    a.nlink = st.st_nlink;
    a.uid = st.st_uid;
    a.gid = st.st_gid;
    a.atime = FromHostTime(st.st_atim);
    a.mtime = FromHostTime(st.st_mtim);
    a.ctime = FromHostTime(st.st_ctim);
    return a;
  }
  Result<> SetAttr(const vfs::OpContext&, const vfs::SetAttributes& attrs) override {
    using Set = vfs::SetAttributes;
    if (attrs.set & (Set::kMode | Set::kUid | Set::kGid)) return Errno::kEPERM;
    if ((attrs.set & Set::kSize) && ftruncate(fd_.get(), attrs.size) != 0) return FromHost(errno);
    return Ok();
  }
  bool OpensSpecial() const override { return true; }
  Result<RefPtr<vfs::FileDescription>> Open(const vfs::OpContext& ctx,
                                            const vfs::OpenArgs& args) override;

  Result<vfs::HostMappingInfo> Backing(bool shared_writable) const {
    // The descriptor may be writable, and a stub must never get one that is.
    if (!IsRegular() || shared_writable || (fcntl(fd_.get(), F_GETFL) & O_ACCMODE) != O_RDONLY) {
      return Errno::kENODEV;
    }
    return vfs::HostMappingInfo{.fd = fd_.get(), .offset = 0};
  }

  int fd() const { return fd_.get(); }
  Waiting waiting() const { return waiting_; }
  const std::string& name() const { return name_; }
  sched::WaitQueue& queue() { return queue_; }
  bool watched() const { return watch_ != nullptr; }

 private:
  const ScopedFd fd_;
  const Waiting waiting_;
  const std::string name_;
  sched::WaitQueue queue_;
  std::unique_ptr<sched::HostFdWatch> watch_;  // written at boot only
};

Result<> SyncHost(int fd, bool data_only) {
  int result = 0, error = 0;
  sched::Offload([&] {
    result = data_only ? fdatasync(fd) : fsync(fd);
    error = errno;
  });
  if (result != 0) return FromHost(error);
  return Ok();
}

class HostFdFile final : public vfs::FileDescription {
 public:
  HostFdFile(vfs::Location location, int flags) : FileDescription(std::move(location), flags) {}

  Result<size_t> Read(const vfs::OpContext&, mm::IoSequence& to) override {
    if (host().waiting() == Waiting::kNever) return to.ReadFromHost(host().fd(), -1, to.size());
    std::vector<std::byte> buffer(std::min(to.size(), kStreamChunk));
    size_t n = TRY(ReadNow(buffer));
    return to.CopyOut(std::span(buffer).first(n));
  }
  Result<size_t> Write(const vfs::OpContext&, mm::IoSequence& from) override {
    if (host().waiting() == Waiting::kNever) return from.WriteToHost(host().fd(), -1, from.size());
    std::vector<std::byte> buffer(std::min(from.size(), kStreamChunk));
    mm::IoSequence source = from.Prefix(buffer.size());
    size_t have = TRY(source.CopyIn(buffer));
    size_t n = TRY(WriteNow(std::span(buffer).first(have)));
    from.Skip(n);
    return n;
  }
  Result<size_t> PRead(const vfs::OpContext&, mm::IoSequence& to, uint64_t offset) override {
    if (!IsSeekable()) return Errno::kESPIPE;
    if (offset > INT64_MAX) return Errno::kEINVAL;
    return to.ReadFromHost(host().fd(), offset, to.size());
  }
  Result<size_t> PWrite(const vfs::OpContext&, mm::IoSequence& from, uint64_t offset) override {
    if (!IsSeekable()) return Errno::kESPIPE;
    if (offset > INT64_MAX) return Errno::kEINVAL;
    return from.WriteToHost(host().fd(), offset, from.size());
  }
  // The position is the host's: whoever shares the description sees it move.
  Result<int64_t> Seek(const vfs::OpContext&, int64_t offset, int whence) override {
    off_t position = lseek(host().fd(), offset, whence);
    if (position < 0) return FromHost(errno);
    return static_cast<int64_t>(position);
  }
  int64_t position() const override {
    off_t position = lseek(host().fd(), 0, SEEK_CUR);
    return position < 0 ? 0 : position;
  }
  Result<> Fsync(const vfs::OpContext&, bool data_only) override {
    return SyncHost(host().fd(), data_only);
  }
  Result<int64_t> Ioctl(const vfs::OpContext&, uint32_t command, uint64_t argument,
                        vfs::UserMemory& memory) override {
    // Of all the host knows, only the harmless question for the bytes at hand.
    int bytes;
    if (command != FIONREAD || ioctl(host().fd(), FIONREAD, &bytes) != 0) return Errno::kENOTTY;
    TRY(memory.Write(argument, bytes));
    return 0;
  }
  sched::EventMask Readiness(sched::EventMask mask) override {
    pollfd p{host().fd(), static_cast<short>(mask & 0x7fff), 0};
    if (poll(&p, 1, 0) < 0) return 0;
    return static_cast<sched::EventMask>(p.revents) & (mask | sched::kErr | sched::kHup);
  }
  sched::WaitQueue& wait_queue() override { return host().queue(); }
  bool SupportsEpoll() const override { return host().watched(); }
  Result<vfs::HostMappingInfo> HostBacking(bool shared_writable) override {
    return host().Backing(shared_writable);
  }
  std::string AnonymousName() const override { return host().name(); }

 private:
  HostInode& host() const { return static_cast<HostInode&>(inode()); }
  bool IsSeekable() const { return host().IsRegular() || host().type() == S_IFBLK; }

  bool IsReady(short events) const {
    pollfd p{host().fd(), events, 0};
    return poll(&p, 1, 0) > 0;
  }
  Result<size_t> ReadNow(std::span<std::byte> out) const {
    const int fd = host().fd();
    ssize_t n;
    if (host().waiting() == Waiting::kSocket) {
      n = recv(fd, out.data(), out.size(), MSG_DONTWAIT);
    } else {
      iovec v{out.data(), out.size()};
      n = preadv2(fd, &v, 1, -1, RWF_NOWAIT);
      if (n < 0 && errno == EOPNOTSUPP) {
        if (!IsReady(POLLIN)) return Errno::kEAGAIN;
        n = read(fd, out.data(), out.size());
      }
    }
    if (n < 0) return FromHost(errno == EINTR ? EAGAIN : errno);
    return static_cast<size_t>(n);
  }
  Result<size_t> WriteNow(std::span<const std::byte> in) const {
    const int fd = host().fd();
    ssize_t n;
    if (host().waiting() == Waiting::kSocket) {
      n = send(fd, in.data(), in.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    } else {
      iovec v{const_cast<std::byte*>(in.data()), in.size()};
      n = pwritev2(fd, &v, 1, -1, RWF_NOWAIT);
      if (n < 0 && errno == EOPNOTSUPP) {
        if (!IsReady(POLLOUT)) return Errno::kEAGAIN;
        // A pipe that is ready takes this much without waiting.
        n = write(fd, in.data(), std::min<size_t>(in.size(), PIPE_BUF));
      }
    }
    if (n < 0) return FromHost(errno == EINTR ? EAGAIN : errno);
    return static_cast<size_t>(n);
  }
};

// A regular file opened again (through /dev/stdout, /proc/self/fd): it has a position of its own,
// which the host's description keeps out of.
class ReopenedFile final : public vfs::SeekableFile {
 public:
  ReopenedFile(vfs::Location location, int flags) : SeekableFile(std::move(location), flags) {}

  Result<size_t> PRead(const vfs::OpContext&, mm::IoSequence& to, uint64_t offset) override {
    return to.ReadFromHost(host().fd(), static_cast<int64_t>(offset), to.size());
  }
  Result<size_t> PWrite(const vfs::OpContext&, mm::IoSequence& from, uint64_t offset) override {
    return from.WriteToHost(host().fd(), static_cast<int64_t>(offset), from.size());
  }
  Result<> Fsync(const vfs::OpContext&, bool data_only) override {
    return SyncHost(host().fd(), data_only);
  }
  Result<vfs::HostMappingInfo> HostBacking(bool shared_writable) override {
    return host().Backing(shared_writable);
  }
  std::string AnonymousName() const override { return host().name(); }

 protected:
  Result<uint64_t> EndOffset(const vfs::OpContext&) override {
    struct stat st;
    if (fstat(host().fd(), &st) != 0) return FromHost(errno);
    return static_cast<uint64_t>(st.st_size);
  }

 private:
  HostInode& host() const { return static_cast<HostInode&>(inode()); }
};

Result<RefPtr<vfs::FileDescription>> HostInode::Open(const vfs::OpContext&,
                                                     const vfs::OpenArgs& args) {
  // No more than what was handed over: the host's access mode stays.
  int have = fcntl(fd_.get(), F_GETFL);
  if (have < 0) return FromHost(errno);
  int mode = args.flags & O_ACCMODE;
  if ((have & O_ACCMODE) != O_RDWR && (have & O_ACCMODE) != mode) return Errno::kEACCES;
  const int status = args.flags & kStatusFlags;
  if (IsRegular()) {
    return RefPtr<vfs::FileDescription>(MakeRef<ReopenedFile>(args.location, status));
  }
  return RefPtr<vfs::FileDescription>(MakeRef<HostFdFile>(args.location, status));
}

// "pipe:[123]", "/dev/null", "/home/me/list": what the host calls it.
std::string NameOf(int fd) {
  std::string path = "/proc/self/fd/" + std::to_string(fd);
  char text[PATH_MAX];
  ssize_t n = readlink(path.c_str(), text, sizeof text);
  return n > 0 ? std::string(text, n) : "host:[" + std::to_string(fd) + "]";
}

}  // namespace

Result<RefPtr<vfs::FileDescription>> Wrap(vfs::Vfs& vfs, sched::Scheduler& scheduler, ScopedFd fd) {
  struct stat st;
  int flags = fcntl(fd.get(), F_GETFL);
  if (flags < 0 || fstat(fd.get(), &st) != 0) return FromHost(errno);
  if (flags & O_PATH) return Errno::kEBADF;
  if (S_ISDIR(st.st_mode)) return Errno::kEINVAL;
  std::string name = NameOf(fd.get());

  Waiting waiting = Waiting::kNever;
  if (S_ISSOCK(st.st_mode)) {
    waiting = Waiting::kSocket;
  } else if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
    std::string path = "/proc/self/fd/" + std::to_string(fd.get());
    ScopedFd own(open(path.c_str(), (flags & O_ACCMODE) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (own) {
      fd = std::move(own);
    } else {
      waiting = Waiting::kAskFirst;
    }
  }
  auto inode = MakeRef<HostInode>(vfs.anonymous_fs(), st, std::move(fd), waiting, name);
  inode->Watch(scheduler);
  return RefPtr<vfs::FileDescription>(
      MakeRef<HostFdFile>(vfs::MakeAnonymousLocation(inode, name), flags & kStatusFlags));
}

}  // namespace msentry::hostfd
