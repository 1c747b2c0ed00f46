#include "gofer/server/session.h"

#include "gofer/server/session_fid.h"

namespace msentry::gofer {
namespace {

constexpr size_t kMaxFidsPerSession = 1 << 20;

}  // namespace

Session::Session(std::vector<Attach*> attaches) : attaches_(std::move(attaches)) {}
Session::~Session() = default;

Result<Session::FidRef> Session::Get(uint32_t fid) {
  MutexLock lock(mutex_);
  auto it = fids_.find(fid);
  if (it == fids_.end()) return Errno::kEBADF;
  return it->second;
}

Result<> Session::CheckFree(uint32_t fid) {
  MutexLock lock(mutex_);
  if (fid == p9::kNoFid || fids_.contains(fid)) return Errno::kEBADF;
  return Ok();
}

Result<> Session::Insert(uint32_t fid, FidRef entry) {
  MutexLock lock(mutex_);
  if (fid == p9::kNoFid) return Errno::kEBADF;
  if (fids_.size() >= kMaxFidsPerSession) return Errno::kENFILE;
  if (!fids_.try_emplace(fid, std::move(entry)).second) return Errno::kEBADF;
  return Ok();
}

void Session::Replace(uint32_t fid, FidRef entry) {
  MutexLock lock(mutex_);
  auto it = fids_.find(fid);
  if (it != fids_.end()) it->second.swap(entry);  // gone meanwhile: another request clunked it
}

Session::FidRef Session::Take(uint32_t fid) {
  MutexLock lock(mutex_);
  auto it = fids_.find(fid);
  if (it == fids_.end()) return nullptr;
  FidRef entry = std::move(it->second);
  fids_.erase(it);
  return entry;
}

size_t Session::DataLimit(uint32_t wanted) const {
  return std::min(wanted, msize() - p9::kIoHeaderBytes);
}

template <typename T, typename R>
Result<> Session::Run(std::span<const uint8_t> body, Reply& reply, uint16_t tag) {
  T request;
  if (!p9::Decode(body, request)) return Errno::kEPROTO;
  R answer;
  TRY(On(request, answer, reply));
  p9::Encode(reply.message, tag, answer);
  if (!reply.tail.empty()) {
    // The data is the last field and was encoded as an empty byte string: give it its count.
    uint32_t count = static_cast<uint32_t>(reply.tail.size());
    std::memcpy(reply.message.data() + reply.message.size() - 4, &count, 4);
    uint32_t size = static_cast<uint32_t>(reply.message.size() + count);
    std::memcpy(reply.message.data(), &size, 4);
  }
  if (reply.message.size() + reply.tail.size() > msize()) return Errno::kEMSGSIZE;
  return Ok();
}

void Session::Handle(const p9::Header& header, std::span<const uint8_t> body, Reply& reply) {
  reply.message.clear();
  reply.tail = {};
  reply.fd.Reset();
  reply.donor.Reset();
  auto run = [&]() -> Result<> {
    if (!ready_.load(std::memory_order_acquire) && header.type != p9::Tversion::kType) {
      return Errno::kEPROTO;
    }
    if (IsExtension(header.type) && !extended_.load(std::memory_order_relaxed)) {
      return Errno::kEOPNOTSUPP;
    }
    switch (header.type) {
#define ON(M)           \
  case p9::T##M::kType: \
    return Run<p9::T##M, p9::R##M>(body, reply, header.tag);
      // clang-format off
      ON(version) ON(auth) ON(attach) ON(flush) ON(walk) ON(read) ON(write) ON(clunk) ON(remove)
      ON(statfs) ON(lopen) ON(lcreate) ON(symlink) ON(mknod) ON(rename) ON(readlink) ON(getattr)
      ON(setattr) ON(xattrwalk) ON(xattrcreate) ON(readdir) ON(fsync) ON(lock) ON(getlock)
      ON(link) ON(mkdir) ON(renameat) ON(unlinkat) ON(walkattr) ON(openfd) ON(createfd)
      ON(makenode) ON(clunks) ON(getattrs) ON(setattrs) ON(rename2) ON(allocate) ON(copyrange)
      ON(xattr) ON(linkattr) ON(list)
#undef ON
          // clang-format on
          default : return Errno::kEOPNOTSUPP;
    }
  };
  Result<> result = run();
  if (result.ok()) return;
  reply.message.clear();
  reply.tail = {};
  reply.fd.Reset();
  reply.donor.Reset();
  p9::Encode(reply.message, header.tag,
             p9::Rlerror{.ecode = static_cast<uint32_t>(result.error())});
}

Result<> Session::On(const p9::Tversion& m, p9::Rversion& r, Reply&) {
  if (m.msize < p9::kMinMsize) return Errno::kEMSGSIZE;
  absl::flat_hash_map<uint32_t, FidRef> dropped;
  {
    MutexLock lock(mutex_);
    dropped.swap(fids_);
  }
  r.msize = std::min(m.msize, p9::kMaxMsize);
  msize_ = r.msize;
  bool extended = m.version == p9::kVersionExtended && r.msize >= p9::kMinExtendedMsize;
  // "9P2000.L.something" may be answered with the part before the last dot (version(5)).
  bool known = extended || m.version.substr(0, p9::kVersionPlain.size()) == p9::kVersionPlain;
  r.version = extended ? p9::kVersionExtended : known ? p9::kVersionPlain : "unknown";
  extended_ = extended;
  ready_ = known;
  return Ok();
}

// The peer holds the socket: that is its authorisation.
Result<> Session::On(const p9::Tauth&, p9::Rauth&, Reply&) { return Errno::kENOENT; }

Result<> Session::On(const p9::Tattach& m, p9::Rattach& r, Reply&) {
  if (m.afid != p9::kNoFid) return Errno::kEINVAL;
  for (Attach* attach : attaches_) {
    if (attach->aname() != m.aname) continue;
    r.qid = TRY(attach->GetAttr(*attach->root())).qid;
    return Insert(m.fid, MakeRef<Fid>(attach->root()));
  }
  return Errno::kENOENT;
}

// The connection does the waiting.
Result<> Session::On(const p9::Tflush&, p9::Rflush&, Reply&) { return Ok(); }

Result<> Session::On(const p9::Tclunk& m, p9::Rclunk&, Reply&) {
  FidRef fid = Take(m.fid);
  if (!fid) return Errno::kEBADF;
  return FinishXattr(*fid);
}

Result<> Session::On(const p9::Tremove& m, p9::Rremove&, Reply&) {
  FidRef fid = Take(m.fid);  // clunked even if the removal fails
  if (!fid) return Errno::kEBADF;
  RefPtr<Node> parent = fid->node->parent();
  if (!parent) return Errno::kEBUSY;
  std::string name = fid->node->name();
  NodeAttr found = TRY(fid->node->attach.Step(parent, name));
  if (found.node->id != fid->node->id) return Errno::kESTALE;
  return fid->node->attach.Unlink(*parent, name, fid->node->IsDir());
}

Result<> Session::On(const p9::Tclunks& m, p9::Rclunks&, Reply&) {
  for (uint32_t number : m.fids) {
    FidRef fid = Take(number);
    if (fid) (void)FinishXattr(*fid);
  }
  return Ok();
}

}  // namespace msentry::gofer
