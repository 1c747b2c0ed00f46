// Session: opening files, their data, and locks.
#include <fcntl.h>
#include <unistd.h>

#include "gofer/server/session_fid.h"

namespace msentry::gofer {
namespace {

constexpr uint32_t kPlainUid = 0;

// 9P2000.L's open flags have Linux's (octal) numbers of the generic architecture, x86's among them.
uint32_t HostFlags(uint32_t wire) { return wire; }

}  // namespace

Result<> Session::On(const p9::Tlopen& m, p9::Rlopen& r, Reply&) {
  FidRef fid = TRY(Get(m.fid));
  Attach& attach = fid->node->attach;
  r.qid = TRY(attach.GetAttr(*fid->node)).qid;
  r.iounit = msize() - p9::kIoHeaderBytes;
  MutexLock lock(fid->mutex);
  if (fid->opened || fid->xattr != Fid::Xattr::kNone) return Errno::kEBUSY;
  if (!fid->node->IsDir()) {
    fid->file = TRY(attach.Open(*fid->node, HostFlags(m.flags)));
  } else if ((m.flags & O_ACCMODE) != O_RDONLY) {
    return Errno::kEISDIR;
  }
  fid->opened = true;
  return Ok();
}

Result<> Session::On(const p9::Tlcreate& m, p9::Rlcreate& r, Reply&) {
  FidRef dir = TRY(Get(m.fid));
  OpenedFile made = TRY(dir->node->attach.Create(dir->node, m.name.text, HostFlags(m.flags), m.mode,
                                                 kPlainUid, m.gid));
  r.qid = made.attr.qid;
  r.iounit = msize() - p9::kIoHeaderBytes;
  if (!made.fd) made.fd = TRY(made.node->fd.Duplicate());
  FidRef fid = MakeRef<Fid>(std::move(made.node));
  {
    MutexLock lock(fid->mutex);
    fid->file = std::move(made.fd);
    fid->opened = true;
  }
  Replace(m.fid, std::move(fid));
  return Ok();
}

Result<> Session::On(const p9::Topenfd& m, p9::Ropenfd& r, Reply& reply) {
  FidRef fid = TRY(Get(m.fid));
  // A directory fd would let the peer open anything below it by itself.
  if (fid->node->IsDir()) return Errno::kEISDIR;
  reply.fd = TRY(fid->node->attach.Open(*fid->node, m.flags));
  r.attr = TRY(fid->node->attach.GetAttr(*fid->node));
  return Ok();
}

Result<> Session::On(const p9::Tcreatefd& m, p9::Rcreatefd& r, Reply& reply) {
  FidRef dir = TRY(Get(m.dfid));
  TRY(CheckFree(m.newfid));
  OpenedFile made =
      TRY(dir->node->attach.Create(dir->node, m.name.text, m.flags, m.mode, m.uid, m.gid));
  if (made.node->IsDir()) return Errno::kEISDIR;
  r.created = made.created;
  r.attr = made.attr;
  TRY(Insert(m.newfid, MakeRef<Fid>(made.node)));
  reply.fd = std::move(made.fd);
  reply.donor = std::move(made.node);
  return Ok();
}

Result<> Session::On(const p9::Tread& m, p9::Rread&, Reply& reply) {
  FidRef fid = TRY(Get(m.fid));
  size_t limit = DataLimit(m.count);
  {
    MutexLock lock(fid->mutex);
    if (fid->xattr == Fid::Xattr::kRead) {
      size_t size = fid->xattr_value.size();
      if (m.offset >= size) return Ok();
      size_t n = std::min(limit, size - static_cast<size_t>(m.offset));
      std::memcpy(reply.scratch.get(), fid->xattr_value.data() + m.offset, n);
      reply.tail = {reply.scratch.get(), n};
      return Ok();
    }
    if (fid->opened && fid->node->IsDir()) return Errno::kEISDIR;
  }
  ScopedFd file = TRY(fid->File());
  if (m.offset > INT64_MAX) return Errno::kEINVAL;
  ssize_t n;
  do {
    n = pread(file.get(), reply.scratch.get(), limit, static_cast<off_t>(m.offset));
  } while (n < 0 && errno == EINTR);
  if (n < 0) return FromHost(errno);
  reply.tail = {reply.scratch.get(), static_cast<size_t>(n)};
  return Ok();
}

Result<> Session::On(const p9::Twrite& m, p9::Rwrite& r, Reply&) {
  FidRef fid = TRY(Get(m.fid));
  {
    MutexLock lock(fid->mutex);
    if (fid->xattr == Fid::Xattr::kWrite) {
      // In order, and no more than was announced.
      if (m.offset != fid->xattr_value.size()) return Errno::kEINVAL;
      if (m.data.data.size() > fid->xattr_size - m.offset) return Errno::kE2BIG;
      fid->xattr_value.append(reinterpret_cast<const char*>(m.data.data.data()),
                              m.data.data.size());
      r.count = static_cast<uint32_t>(m.data.data.size());
      return Ok();
    }
  }
  ScopedFd file = TRY(fid->File());
  if (m.offset > INT64_MAX) return Errno::kEFBIG;
  ssize_t n;
  do {
    n = pwrite(file.get(), m.data.data.data(), m.data.data.size(), static_cast<off_t>(m.offset));
  } while (n < 0 && errno == EINTR);
  if (n < 0) return FromHost(errno);
  r.count = static_cast<uint32_t>(n);
  return Ok();
}

Result<> Session::On(const p9::Tfsync& m, p9::Rfsync&, Reply&) {
  FidRef fid = TRY(Get(m.fid));
  Result<ScopedFd> file = fid->File();
  if (!file.ok()) file = fid->node->attach.Open(*fid->node, O_RDONLY);
  if (!file.ok()) return file.error();
  bool whole = m.datasync == 2 && extended_.load(std::memory_order_relaxed);
  int result = whole             ? syncfs(file->get())
               : m.datasync != 0 ? fdatasync(file->get())
                                 : fsync(file->get());
  if (result < 0) return FromHost(errno);
  return Ok();
}

Result<> Session::On(const p9::Treaddir& m, p9::Rreaddir& r, Reply& reply) {
  FidRef fid = TRY(Get(m.fid));
  {
    MutexLock lock(fid->mutex);
    if (!fid->opened) return Errno::kEBADF;
  }
  std::vector<uint8_t> entries;
  TRY(fid->node->attach.List(*fid->node, m.offset, DataLimit(m.count), entries));
  std::memcpy(reply.scratch.get(), entries.data(), entries.size());
  reply.tail = {reply.scratch.get(), entries.size()};
  (void)r;
  return Ok();
}

Result<> Session::On(const p9::Tlist& m, p9::Rlist& r, Reply& reply) {
  FidRef fid = TRY(Get(m.fid));
  std::vector<uint8_t> entries;
  size_t limit = DataLimit(m.count);
  bool last = TRY(fid->node->attach.List(*fid->node, m.offset, limit, entries));
  // The client takes a short answer for the end. One that is short because of a small `count` must
  // not look like it.
  if (!last && entries.size() < limit / 4) return Errno::kEINVAL;
  std::memcpy(reply.scratch.get(), entries.data(), entries.size());
  reply.tail = {reply.scratch.get(), entries.size()};
  (void)r;
  return Ok();
}

Result<> Session::On(const p9::Tallocate& m, p9::Rallocate&, Reply&) {
  FidRef fid = TRY(Get(m.fid));
  if (m.offset > INT64_MAX || m.length > INT64_MAX) return Errno::kEINVAL;
  ScopedFd file = TRY(fid->node->attach.Open(*fid->node, O_RDWR));
  if (fallocate(file.get(), static_cast<int>(m.mode), static_cast<off_t>(m.offset),
                static_cast<off_t>(m.length)) < 0) {
    return FromHost(errno);
  }
  return Ok();
}

Result<> Session::On(const p9::Tcopyrange& m, p9::Rcopyrange& r, Reply&) {
  FidRef in = TRY(Get(m.fid_in)), out = TRY(Get(m.fid_out));
  if (m.offset_in > INT64_MAX || m.offset_out > INT64_MAX) return Errno::kEINVAL;
  ScopedFd from = TRY(in->node->attach.Open(*in->node, O_RDONLY));
  ScopedFd to = TRY(out->node->attach.Open(*out->node, O_WRONLY));
  auto in_at = static_cast<loff_t>(m.offset_in), out_at = static_cast<loff_t>(m.offset_out);
  // One message must not keep its thread for long.
  size_t length = static_cast<size_t>(std::min<uint64_t>(m.length, 64 << 20));
  ssize_t n = copy_file_range(from.get(), &in_at, to.get(), &out_at, length, 0);
  if (n < 0) return FromHost(errno);
  r.count = static_cast<uint64_t>(n);
  return Ok();
}

namespace {

// A 9P lock as the host's lock of the open file description.
struct flock ToFlock(uint8_t type, uint64_t start, uint64_t length) {
  struct flock lock = {};
  lock.l_type = type == p9::kLockRead ? F_RDLCK : type == p9::kLockWrite ? F_WRLCK : F_UNLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(start);
  lock.l_len = static_cast<off_t>(length);
  return lock;
}

}  // namespace

Result<> Session::On(const p9::Tlock& m, p9::Rlock& r, Reply&) {
  FidRef fid = TRY(Get(m.fid));
  if (m.type > p9::kLockUnlock || m.start > INT64_MAX || m.length > INT64_MAX) {
    return Errno::kEINVAL;
  }
  ScopedFd file = TRY(fid->File());
  struct flock lock = ToFlock(m.type, m.start, m.length);
  if (fcntl(file.get(), F_OFD_SETLK, &lock) == 0) {
    r.status = p9::kLockSuccess;
  } else if (errno == EAGAIN || errno == EACCES) {
    r.status = p9::kLockBlocked;
  } else {
    return FromHost(errno);
  }
  return Ok();
}

Result<> Session::On(const p9::Tgetlock& m, p9::Rgetlock& r, Reply&) {
  FidRef fid = TRY(Get(m.fid));
  if (m.type > p9::kLockWrite || m.start > INT64_MAX || m.length > INT64_MAX) {
    return Errno::kEINVAL;
  }
  ScopedFd file = TRY(fid->File());
  struct flock lock = ToFlock(m.type, m.start, m.length);
  if (fcntl(file.get(), F_OFD_GETLK, &lock) < 0) return FromHost(errno);
  r.type = lock.l_type == F_UNLCK   ? p9::kLockUnlock
           : lock.l_type == F_RDLCK ? p9::kLockRead
                                    : p9::kLockWrite;
  r.start = static_cast<uint64_t>(lock.l_start);
  r.length = static_cast<uint64_t>(lock.l_len);
  r.proc_id = m.proc_id;
  r.client_id = m.client_id;
  return Ok();
}

}  // namespace msentry::gofer
