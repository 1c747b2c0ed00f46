// Session: attributes and extended attributes.
#include "gofer/server/session_fid.h"

namespace msentry::gofer {
namespace {

constexpr size_t kMaxXattrBytes = 65536;  // XATTR_SIZE_MAX

}  // namespace

Result<> Session::On(const p9::Tstatfs& m, p9::Rstatfs& r, Reply&) {
  FidRef fid = TRY(Get(m.fid));
  const Node& node = fid->node->fd ? *fid->node : *fid->node->attach.root();
  struct statfs st = TRY(host::StatFs(node.fd.get()));
  r.type = static_cast<uint32_t>(st.f_type);
  r.bsize = static_cast<uint32_t>(st.f_bsize);
  r.blocks = st.f_blocks, r.bfree = st.f_bfree, r.bavail = st.f_bavail;
  r.files = st.f_files, r.ffree = st.f_ffree;
  std::memcpy(&r.fsid, &st.f_fsid, sizeof r.fsid);
  r.namelen = static_cast<uint32_t>(st.f_namelen);
  return Ok();
}

Result<> Session::On(const p9::Treadlink& m, p9::Rreadlink& r, Reply& reply) {
  FidRef fid = TRY(Get(m.fid));
  std::string target = TRY(fid->node->attach.ReadLink(*fid->node));
  std::memcpy(reply.scratch.get(), target.data(), target.size());
  r.target = {reinterpret_cast<const char*>(reply.scratch.get()), target.size()};
  return Ok();
}

Result<> Session::On(const p9::Tgetattr& m, p9::Rgetattr& r, Reply&) {
  FidRef fid = TRY(Get(m.fid));
  p9::Attr a = TRY(fid->node->attach.GetAttr(*fid->node));
  r.valid = p9::kGetattrBasic | 0x800;  // and the birth time
  r.qid = a.qid;
  r.mode = a.mode, r.uid = a.uid, r.gid = a.gid;
  r.nlink = a.nlink, r.rdev = a.rdev, r.size = a.size, r.blksize = a.blksize, r.blocks = a.blocks;
  r.atime_sec = static_cast<uint64_t>(a.atime.sec), r.atime_nsec = a.atime.nsec;
  r.mtime_sec = static_cast<uint64_t>(a.mtime.sec), r.mtime_nsec = a.mtime.nsec;
  r.ctime_sec = static_cast<uint64_t>(a.ctime.sec), r.ctime_nsec = a.ctime.nsec;
  r.btime_sec = static_cast<uint64_t>(a.btime.sec), r.btime_nsec = a.btime.nsec;
  return Ok();
}

Result<> Session::On(const p9::Tgetattrs& m, p9::Rgetattrs& r, Reply&) {
  FidRef fid = TRY(Get(m.fid));
  r.attr = TRY(fid->node->attach.GetAttr(*fid->node));
  return Ok();
}

Result<> Session::On(const p9::Tsetattr& m, p9::Rsetattr&, Reply&) {
  FidRef fid = TRY(Get(m.fid));
  if (m.atime_nsec >= 1'000'000'000 || m.mtime_nsec >= 1'000'000'000) return Errno::kEINVAL;
  TRY(fid->node->attach.SetAttr(
      *fid->node,
      {.valid = m.valid,
       .mode = m.mode,
       .uid = m.uid,
       .gid = m.gid,
       .size = m.size,
       .atime = {static_cast<int64_t>(m.atime_sec), static_cast<uint32_t>(m.atime_nsec)},
       .mtime = {static_cast<int64_t>(m.mtime_sec), static_cast<uint32_t>(m.mtime_nsec)}}));
  return Ok();
}

Result<> Session::On(const p9::Tsetattrs& m, p9::Rsetattrs& r, Reply&) {
  FidRef fid = TRY(Get(m.fid));
  r.attr = TRY(fid->node->attach.SetAttr(*fid->node, {.valid = m.valid,
                                                      .mode = m.mode,
                                                      .uid = m.uid,
                                                      .gid = m.gid,
                                                      .size = m.size,
                                                      .atime = m.atime,
                                                      .mtime = m.mtime}));
  return Ok();
}

Result<> Session::On(const p9::Txattrwalk& m, p9::Rxattrwalk& r, Reply&) {
  FidRef fid = TRY(Get(m.fid));
  TRY(CheckFree(m.newfid));
  Attach& attach = fid->node->attach;
  std::string value =
      TRY(m.name.empty() ? attach.ListXattr(*fid->node) : attach.GetXattr(*fid->node, m.name));
  r.size = value.size();
  FidRef reader = MakeRef<Fid>(fid->node);
  {
    MutexLock lock(reader->mutex);
    reader->xattr = Fid::Xattr::kRead;
    reader->xattr_value = std::move(value);
  }
  return Insert(m.newfid, std::move(reader));
}

Result<> Session::On(const p9::Txattrcreate& m, p9::Rxattrcreate&, Reply&) {
  FidRef fid = TRY(Get(m.fid));
  if (m.size > kMaxXattrBytes) return Errno::kE2BIG;
  MutexLock lock(fid->mutex);
  if (fid->opened || fid->xattr != Fid::Xattr::kNone) return Errno::kEBUSY;
  fid->xattr = Fid::Xattr::kWrite;
  fid->xattr_name = m.name;
  fid->xattr_size = m.size;
  fid->xattr_flags = static_cast<int>(m.flags & 3);
  return Ok();
}

// On clunk of a fid from Txattrcreate: what was written becomes the attribute; size 0 removes it.
Result<> Session::FinishXattr(Fid& fid) {
  MutexLock lock(fid.mutex);
  if (fid.xattr != Fid::Xattr::kWrite) return Ok();
  Attach& attach = fid.node->attach;
  if (fid.xattr_size == 0) return attach.RemoveXattr(*fid.node, fid.xattr_name);
  if (fid.xattr_value.size() != fid.xattr_size) return Errno::kEINVAL;
  return attach.SetXattr(
      *fid.node, fid.xattr_name,
      {reinterpret_cast<const uint8_t*>(fid.xattr_value.data()), fid.xattr_value.size()},
      fid.xattr_flags);
}

Result<> Session::On(const p9::Txattr& m, p9::Rxattr& r, Reply& reply) {
  FidRef fid = TRY(Get(m.fid));
  Attach& attach = fid->node->attach;
  Node& node = *fid->node;
  std::string value;
  switch (m.op) {
    case p9::kXattrGet:
      value = TRY(attach.GetXattr(node, m.name));
      break;
    case p9::kXattrList:
      value = TRY(attach.ListXattr(node));
      break;
    case p9::kXattrSet:
      if (m.value.data.size() > kMaxXattrBytes) return Errno::kE2BIG;
      return attach.SetXattr(node, m.name, m.value.data, static_cast<int>(m.flags & 3));
    case p9::kXattrRemove:
      return attach.RemoveXattr(node, m.name);
    default:
      return Errno::kEINVAL;
  }
  r.size = static_cast<uint32_t>(value.size());
  if (m.size == 0) return Ok();
  if (value.size() > DataLimit(m.size)) return Errno::kERANGE;
  std::memcpy(reply.scratch.get(), value.data(), value.size());
  reply.tail = {reply.scratch.get(), value.size()};
  return Ok();
}

}  // namespace msentry::gofer
