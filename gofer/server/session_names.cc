// Session: walking, and messages that make, remove and rename names.
#include <fcntl.h>
#include <sys/sysmacros.h>

#include "gofer/server/session_fid.h"

namespace msentry::gofer {
namespace {

constexpr size_t kMaxPlainWalk = 16;  // MAXWELEM of walk(5)

// Plain 9P names no owner: the new file is the server's own, shown as root.
constexpr uint32_t kPlainUid = 0;

}  // namespace

Result<> Session::On(const p9::Twalk& m, p9::Rwalk& r, Reply&) {
  if (m.names.size() > kMaxPlainWalk) return Errno::kEINVAL;
  FidRef fid = TRY(Get(m.fid));
  if (m.newfid != m.fid) TRY(CheckFree(m.newfid));
  RefPtr<Node> node = fid->node;
  for (const p9::Name& name : m.names) {
    Result<NodeAttr> next = node->attach.Step(node, name.text);
    if (!next.ok()) {
      if (r.qids.empty()) return next.error();
      return Ok();  // partial: newfid stays free
    }
    r.qids.push_back(next->attr.qid);
    node = std::move(next->node);
  }
  FidRef walked = MakeRef<Fid>(std::move(node));
  if (m.newfid != m.fid) return Insert(m.newfid, std::move(walked));
  Replace(m.fid, std::move(walked));
  return Ok();
}

Result<> Session::On(const p9::Twalkattr& m, p9::Rwalkattr& r, Reply& reply) {
  FidRef fid = TRY(Get(m.fid));
  bool keep = (m.flags & p9::kWalkNoFids) == 0;
  if (m.newfid > UINT32_MAX - p9::kMaxNames) return Errno::kEBADF;
  RefPtr<Node> node = fid->node;
  if (m.names.empty()) {
    r.attrs.push_back(TRY(node->attach.GetAttr(*node)));
    if (keep) TRY(Insert(m.newfid, MakeRef<Fid>(node)));
  }
  uint32_t newfid = m.newfid;
  for (const p9::Name& name : m.names) {
    Result<NodeAttr> next = node->attach.Step(node, name.text);
    Result<> kept = Ok();
    if (next.ok() && keep) kept = Insert(newfid++, MakeRef<Fid>(next->node));
    if (!next.ok() || !kept.ok()) {
      r.error = static_cast<uint32_t>(next.ok() ? kept.error() : next.error());
      break;
    }
    r.attrs.push_back(next->attr);
    node = std::move(next->node);
  }
  if (!r.attrs.empty() && S_ISLNK(r.attrs.back().mode)) {
    Result<std::string> target = node->attach.ReadLink(*node);
    if (target.ok()) {
      std::memcpy(reply.scratch.get(), target->data(), target->size());
      r.target = {reinterpret_cast<const char*>(reply.scratch.get()), target->size()};
    }
  }
  return Ok();
}

Result<> Session::On(const p9::Tsymlink& m, p9::Rsymlink& r, Reply&) {
  FidRef dir = TRY(Get(m.fid));
  if (m.target.empty()) return Errno::kENOENT;
  r.qid = TRY(dir->node->attach.Make(dir->node, m.name.text, S_IFLNK | 0777, kPlainUid, m.gid, 0,
                                     m.target))
              .attr.qid;
  return Ok();
}

Result<> Session::On(const p9::Tmknod& m, p9::Rmknod& r, Reply&) {
  FidRef dir = TRY(Get(m.dfid));
  uint32_t type = m.mode & S_IFMT;
  if (type == S_IFDIR || type == S_IFLNK) return Errno::kEINVAL;
  r.qid = TRY(dir->node->attach.Make(dir->node, m.name.text, m.mode, kPlainUid, m.gid,
                                     makedev(m.major, m.minor), {}))
              .attr.qid;
  return Ok();
}

Result<> Session::On(const p9::Tmkdir& m, p9::Rmkdir& r, Reply&) {
  FidRef dir = TRY(Get(m.dfid));
  r.qid = TRY(dir->node->attach.Make(dir->node, m.name.text, S_IFDIR | (m.mode & 07777), kPlainUid,
                                     m.gid, 0, {}))
              .attr.qid;
  return Ok();
}

Result<> Session::On(const p9::Tmakenode& m, p9::Rmakenode& r, Reply&) {
  FidRef dir = TRY(Get(m.dfid));
  TRY(CheckFree(m.newfid));
  if (S_ISLNK(m.mode) && m.target.empty()) return Errno::kENOENT;
  NodeAttr made =
      TRY(dir->node->attach.Make(dir->node, m.name.text, m.mode, m.uid, m.gid, m.rdev, m.target));
  r.attr = made.attr;
  return Insert(m.newfid, MakeRef<Fid>(std::move(made.node)));
}

Result<> Session::On(const p9::Tlink& m, p9::Rlink&, Reply&) {
  FidRef dir = TRY(Get(m.dfid)), target = TRY(Get(m.fid));
  if (&dir->node->attach != &target->node->attach) return Errno::kEXDEV;
  return dir->node->attach.Link(*dir->node, m.name.text, *target->node);
}

Result<> Session::On(const p9::Tlinkattr& m, p9::Rlinkattr& r, Reply&) {
  FidRef dir = TRY(Get(m.dfid)), target = TRY(Get(m.fid));
  Attach& attach = dir->node->attach;
  if (&attach != &target->node->attach) return Errno::kEXDEV;
  TRY(attach.Link(*dir->node, m.name.text, *target->node));
  r.attr = TRY(attach.GetAttr(*target->node));
  return Ok();
}

Result<> Session::RenameBetween(uint32_t old_dir, std::string_view old_name, uint32_t new_dir,
                                std::string_view new_name, uint32_t flags) {
  FidRef from = TRY(Get(old_dir)), to = TRY(Get(new_dir));
  if (&from->node->attach != &to->node->attach) return Errno::kEXDEV;
  return from->node->attach.Rename(*from->node, old_name, *to->node, new_name, flags);
}

Result<> Session::On(const p9::Trenameat& m, p9::Rrenameat&, Reply&) {
  return RenameBetween(m.olddirfid, m.oldname.text, m.newdirfid, m.newname.text, 0);
}

Result<> Session::On(const p9::Trename2& m, p9::Rrename2&, Reply&) {
  return RenameBetween(m.olddirfid, m.oldname.text, m.newdirfid, m.newname.text, m.flags);
}

Result<> Session::On(const p9::Trename& m, p9::Rrename&, Reply&) {
  FidRef fid = TRY(Get(m.fid)), to = TRY(Get(m.dfid));
  Attach& attach = fid->node->attach;
  if (&attach != &to->node->attach) return Errno::kEXDEV;
  RefPtr<Node> parent = fid->node->parent();
  if (!parent) return Errno::kEBUSY;
  std::string name = fid->node->name();
  NodeAttr found = TRY(attach.Step(parent, name));
  if (found.node->id != fid->node->id) return Errno::kESTALE;
  TRY(attach.Rename(*parent, name, *to->node, m.name.text, 0));
  fid->node->MoveTo(to->node, m.name.text);
  return Ok();
}

Result<> Session::On(const p9::Tunlinkat& m, p9::Runlinkat&, Reply&) {
  FidRef dir = TRY(Get(m.dfid));
  if ((m.flags & ~uint32_t{AT_REMOVEDIR}) != 0) return Errno::kEINVAL;
  return dir->node->attach.Unlink(*dir->node, m.name.text, (m.flags & AT_REMOVEDIR) != 0);
}

}  // namespace msentry::gofer
