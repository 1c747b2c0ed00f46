// Client: opening, making, removing, data, listings and extended attributes.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "fsimpl/p9/client.h"

namespace msentry::p9 {
namespace {

using Response = Channel::Response;

std::span<const uint8_t> AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

std::string AsString(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// A donated fd must be an ordinary file: a pipe could block us, a device could do anything.
Result<ScopedFd> CheckDonated(ScopedFd fd) {
  struct stat st;
  if (!HostFstat(fd.get(), &st) || !S_ISREG(st.st_mode)) return Errno::kEIO;
  return fd;
}

constexpr uint32_t kMaxXattrBytes = 65536;

}  // namespace

Result<OpenedHandle> Client::Open(FidNumber fid, uint32_t flags) {
  OpenedHandle opened;
  Response response;
  if (extended_) {
    TRY((channel_->Call<Topenfd, Ropenfd>({.fid = fid, .flags = flags}, response)));
    opened.fd = TRY(CheckDonated(std::move(response.fd)));
    return opened;
  }
  FidNumber handle = TRY(AllocateFid());
  TRY(WalkTo(fid, handle, {}));
  Result<Rlopen> reply = channel_->Call<Tlopen, Rlopen>({.fid = handle, .flags = flags}, response);
  if (!reply.ok()) {
    Clunk(handle);
    return reply.error();
  }
  opened.handle = handle;
  return opened;
}

Result<NewFile> Client::CreateFile(FidNumber dir, std::string_view name, uint32_t mode,
                                   uint32_t uid, uint32_t gid) {
  NewFile made;
  made.fid = TRY(AllocateFid());
  Response response;
  constexpr uint32_t kFlags = O_RDWR | O_CREAT | O_EXCL;
  if (extended_) {
    Rcreatefd reply = TRY((channel_->Call<Tcreatefd, Rcreatefd>({.dfid = dir,
                                                                 .newfid = made.fid,
                                                                 .flags = kFlags,
                                                                 .mode = mode,
                                                                 .uid = uid,
                                                                 .gid = gid,
                                                                 .name = {name}},
                                                                response)));
    if (!S_ISREG(reply.attr.mode)) return Errno::kEIO;
    made.attr = reply.attr;
    made.opened.fd = TRY(CheckDonated(std::move(response.fd)));
    return made;
  }
  // Tlcreate turns a fid of the directory into the open file; the file's own fid is walked to.
  FidNumber handle = TRY(AllocateFid());
  TRY(WalkTo(dir, handle, {}));
  Result<Rlcreate> created = channel_->Call<Tlcreate, Rlcreate>(
      {.fid = handle, .name = {name}, .flags = kFlags, .mode = mode, .gid = gid}, response);
  if (!created.ok()) {
    Clunk(handle);
    return created.error();
  }
  made.opened.handle = handle;
  TRY(WalkTo(dir, made.fid, {&name, 1}));
  made.attr = TRY(GetAttr(made.fid));
  if (made.attr.uid != uid || made.attr.gid != gid) {
    made.attr = TRY(SetAttr(made.fid, {.valid = kSetUid | kSetGid, .uid = uid, .gid = gid}));
  }
  return made;
}

Result<NewFile> Client::MakeNode(FidNumber dir, std::string_view name, uint32_t mode, uint32_t uid,
                                 uint32_t gid, uint64_t rdev, std::string_view target) {
  NewFile made;
  made.fid = TRY(AllocateFid());
  Response response;
  if (extended_) {
    Rmakenode reply = TRY((channel_->Call<Tmakenode, Rmakenode>({.dfid = dir,
                                                                 .newfid = made.fid,
                                                                 .mode = mode,
                                                                 .uid = uid,
                                                                 .gid = gid,
                                                                 .rdev = rdev,
                                                                 .name = {name},
                                                                 .target = target},
                                                                response)));
    if ((reply.attr.mode & S_IFMT) != (mode & S_IFMT)) return Errno::kEIO;
    made.attr = reply.attr;
    return made;
  }
  if (S_ISDIR(mode)) {
    TRY((channel_->Call<Tmkdir, Rmkdir>(
        {.dfid = dir, .name = {name}, .mode = mode & 07777, .gid = gid}, response)));
  } else if (S_ISLNK(mode)) {
    TRY((channel_->Call<Tsymlink, Rsymlink>(
        {.fid = dir, .name = {name}, .target = target, .gid = gid}, response)));
  } else {
    TRY((channel_->Call<Tmknod, Rmknod>({.dfid = dir,
                                         .name = {name},
                                         .mode = mode,
                                         .major = major(rdev),
                                         .minor = minor(rdev),
                                         .gid = gid},
                                        response)));
  }
  TRY(WalkTo(dir, made.fid, {&name, 1}));
  made.attr = TRY(GetAttr(made.fid));
  if (made.attr.uid != uid || made.attr.gid != gid) {
    made.attr = TRY(SetAttr(made.fid, {.valid = kSetUid | kSetGid, .uid = uid, .gid = gid}));
  }
  return made;
}

Result<> Client::Link(FidNumber dir, std::string_view name, FidNumber target) {
  Response response;
  TRY((channel_->Call<Tlink, Rlink>({.dfid = dir, .fid = target, .name = {name}}, response)));
  return Ok();
}

Result<> Client::Unlink(FidNumber dir, std::string_view name, bool directory) {
  Response response;
  uint32_t flags = directory ? AT_REMOVEDIR : 0;
  Result<Runlinkat> reply =
      channel_->Call<Tunlinkat, Runlinkat>({.dfid = dir, .name = {name}, .flags = flags}, response);
  if (reply.ok()) return Ok();
  if (extended_ || reply.error() != Errno::kEOPNOTSUPP) return reply.error();
  // Older servers (diod 1.0.24) have only the message that also gives back the fid.
  FidNumber victim = TRY(AllocateFid());
  TRY(WalkTo(dir, victim, {&name, 1}));
  Result<Rremove> removed = channel_->Call<Tremove, Rremove>({.fid = victim}, response);
  FreeFids(victim, 1);
  if (!removed.ok()) return removed.error();
  return Ok();
}

bool Client::UnlinkLater(FidNumber dir, std::string_view name) {
  if (!extended_ || !alive() || channel_->Congested()) return false;
  std::vector<uint8_t> bytes;
  Encode(bytes, kNoTag, Tunlinkat{.dfid = dir, .name = {name}, .flags = 0});
  clunked_.store(true, std::memory_order_release);
  channel_->SendLater(bytes);
  return true;
}

Result<> Client::Rename(FidNumber old_dir, std::string_view old_name, FidNumber moved,
                        FidNumber new_dir, std::string_view new_name, uint32_t flags) {
  Response response;
  if (extended_ && flags != 0) {
    TRY((channel_->Call<Trename2, Rrename2>({.olddirfid = old_dir,
                                             .oldname = {old_name},
                                             .newdirfid = new_dir,
                                             .newname = {new_name},
                                             .flags = flags},
                                            response)));
    return Ok();
  }
  if (flags != 0) return Errno::kEINVAL;
  Result<Rrenameat> reply = channel_->Call<Trenameat, Rrenameat>(
      {.olddirfid = old_dir, .oldname = {old_name}, .newdirfid = new_dir, .newname = {new_name}},
      response);
  if (reply.ok()) return Ok();
  if (extended_ || reply.error() != Errno::kEOPNOTSUPP) return reply.error();
  TRY((channel_->Call<Trename, Rrename>({.fid = moved, .dfid = new_dir, .name = {new_name}},
                                        response)));
  return Ok();
}

Result<std::vector<uint8_t>> Client::List(FidNumber dir, uint64_t offset, bool* at_end) {
  Response response;
  uint32_t count = static_cast<uint32_t>(MaxIo());
  if (extended_) {
    Rlist reply = TRY(
        (channel_->Call<Tlist, Rlist>({.fid = dir, .offset = offset, .count = count}, response)));
    *at_end = reply.data.data.size() < count / 4;
    return std::vector<uint8_t>(reply.data.data.begin(), reply.data.data.end());
  }
  FidNumber handle = TRY(AllocateFid());
  TRY(WalkTo(dir, handle, {}));
  auto list = [&]() -> Result<std::vector<uint8_t>> {
    TRY((channel_->Call<Tlopen, Rlopen>({.fid = handle, .flags = O_RDONLY | O_DIRECTORY},
                                        response)));
    Rreaddir reply = TRY((channel_->Call<Treaddir, Rreaddir>(
        {.fid = handle, .offset = offset, .count = count}, response)));
    return std::vector<uint8_t>(reply.data.data.begin(), reply.data.data.end());
  };
  Result<std::vector<uint8_t>> listed = list();
  Clunk(handle);
  return listed;
}

Result<size_t> Client::Read(FidNumber handle, uint64_t offset, std::span<std::byte> to) {
  Response response;
  uint32_t count = static_cast<uint32_t>(std::min(to.size(), MaxIo()));
  Rread reply = TRY(
      (channel_->Call<Tread, Rread>({.fid = handle, .offset = offset, .count = count}, response)));
  if (reply.data.data.size() > count) return Errno::kEIO;
  std::memcpy(to.data(), reply.data.data.data(), reply.data.data.size());
  return reply.data.data.size();
}

Result<size_t> Client::Write(FidNumber handle, uint64_t offset, std::span<const std::byte> from) {
  Response response;
  from = from.first(std::min(from.size(), MaxIo()));
  Bytes data{{reinterpret_cast<const uint8_t*>(from.data()), from.size()}};
  Rwrite reply = TRY(
      (channel_->Call<Twrite, Rwrite>({.fid = handle, .offset = offset, .data = data}, response)));
  if (reply.count > from.size()) return Errno::kEIO;
  return size_t{reply.count};
}

Result<std::string> Client::ReadXattrPlain(FidNumber fid, std::string_view name) {
  FidNumber reader = TRY(AllocateFid());
  Response response;
  Rxattrwalk found = TRY((channel_->Call<Txattrwalk, Rxattrwalk>(
      {.fid = fid, .newfid = reader, .name = name}, response)));
  std::string value(std::min<uint64_t>(found.size, kMaxXattrBytes), 0);
  size_t done = 0;
  Result<> outcome = Ok();
  while (done < value.size()) {
    Result<size_t> n = Read(reader, done, std::as_writable_bytes(std::span(value)).subspan(done));
    if (!n.ok()) outcome = n.error();
    if (!n.ok() || *n == 0) break;
    done += *n;
  }
  Clunk(reader);
  if (!outcome.ok()) return outcome.error();
  value.resize(done);
  return value;
}

Result<> Client::WriteXattrPlain(FidNumber fid, std::string_view name, std::string_view value,
                                 int flags) {
  FidNumber writer = TRY(AllocateFid());
  TRY(WalkTo(fid, writer, {}));
  Response response;
  Result<Rxattrcreate> made = channel_->Call<Txattrcreate, Rxattrcreate>(
      {.fid = writer, .name = name, .size = value.size(), .flags = static_cast<uint32_t>(flags)},
      response);
  Result<size_t> written = size_t{0};
  if (made.ok() && !value.empty()) {
    written = Write(writer, 0, std::as_bytes(std::span(value)));
  }
  // The attribute is set by the clunk, whose answer therefore counts.
  Result<Rclunk> clunked = channel_->Call<Tclunk, Rclunk>({.fid = writer}, response);
  FreeFids(writer, 1);
  if (!made.ok()) return made.error();
  if (!written.ok()) return written.error();
  if (!clunked.ok()) return clunked.error();
  return Ok();
}

Result<std::string> Client::GetXattr(FidNumber fid, std::string_view name) {
  if (!extended_) return ReadXattrPlain(fid, name);
  Response response;
  Rxattr reply = TRY((channel_->Call<Txattr, Rxattr>(
      {.op = kXattrGet, .fid = fid, .size = kMaxXattrBytes, .name = name}, response)));
  return AsString(reply.value.data);
}

Result<std::string> Client::ListXattr(FidNumber fid) {
  if (!extended_) return ReadXattrPlain(fid, "");
  Response response;
  Rxattr reply = TRY((channel_->Call<Txattr, Rxattr>(
      {.op = kXattrList, .fid = fid, .size = kMaxXattrBytes}, response)));
  return AsString(reply.value.data);
}

Result<> Client::SetXattr(FidNumber fid, std::string_view name, std::string_view value, int flags) {
  if (!extended_) return WriteXattrPlain(fid, name, value, flags);
  Response response;
  TRY((channel_->Call<Txattr, Rxattr>({.op = kXattrSet,
                                       .fid = fid,
                                       .flags = static_cast<uint32_t>(flags),
                                       .name = name,
                                       .value = {AsBytes(value)}},
                                      response)));
  return Ok();
}

Result<> Client::RemoveXattr(FidNumber fid, std::string_view name) {
  if (!extended_) return WriteXattrPlain(fid, name, "", 0);
  Response response;
  TRY((channel_->Call<Txattr, Rxattr>({.op = kXattrRemove, .fid = fid, .name = name}, response)));
  return Ok();
}

}  // namespace msentry::p9
