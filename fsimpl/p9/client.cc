#include "fsimpl/p9/client.h"

#include <sys/syscall.h>
#include <unistd.h>

#include "sentry/base/log.h"
#include "vfs/dentry_cache.h"

namespace msentry::p9 {
namespace {

using Response = Channel::Response;

// From here on freed numbers are remembered, so that the 32 bits never run out.
constexpr FidNumber kStartRecycling = 0x80000000;
// A freed number rests until this many others were freed: the server may still be at its clunk.
constexpr size_t kRestingFids = 4096;
constexpr FidNumber kLastFid = 0xffff0000;

// A mode whose type is one of the seven; anything else is not a file.
bool IsSane(const Attr& attr) {
  switch (attr.mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
      return (attr.mode & ~(S_IFMT | 07777)) == 0 && attr.size <= INT64_MAX && attr.blksize != 0;
    default:
      return false;
  }
}

Result<Attr> Sane(const Attr& attr) {
  if (!IsSane(attr)) return Errno::kEIO;
  return attr;
}

// The server has no fds left: a quarter of the cached names goes, here and for good, and with them
// the fids of files that nobody uses.
bool ForgetSomeFiles() {
  constexpr size_t kLeast = 512;
  vfs::DentryCache& cache = vfs::DentryCache::Get();
  size_t size = cache.size();
  if (size < kLeast) return false;
  size_t limit = size - size / 4;
  cache.SetLimit(limit);
  for (size_t before = size + 1; cache.size() > limit && cache.size() < before;) {
    before = cache.size();
    // Names found lately get a second chance on the first round over them.
    for (int i = 0; i < 64 && cache.size() > limit; ++i) cache.Shrink();
  }
  return cache.size() < size;
}

Mutex clients_mutex;
std::vector<Client*>& Clients() ABSL_EXCLUSIVE_LOCKS_REQUIRED(clients_mutex) {
  static auto* clients = new std::vector<Client*>;
  return *clients;
}

}  // namespace

bool HostFstat(int fd, struct stat* st) { return syscall(SYS_fstat, fd, st) == 0; }

Client::Client() {
  MutexLock lock(clients_mutex);
  Clients().push_back(this);
}

Client::~Client() {
  MutexLock lock(clients_mutex);
  std::erase(Clients(), this);
}

void Client::SettleAll() {
  std::vector<Client*> clients;
  {
    MutexLock lock(clients_mutex);
    clients = Clients();
  }
  for (Client* client : clients) {
    if (client->alive()) (void)client->AwaitClunks();
  }
}

Result<std::shared_ptr<Client>> Client::Connect(ScopedFd socket, sched::Scheduler* scheduler,
                                                const ConnectOptions& options) {
  std::shared_ptr<Client> client(new Client);
  client->channel_ = TRY(Channel::Create(std::move(socket), scheduler));
  client->channel_->SetRelief(ForgetSomeFiles);
  TRY(client->Negotiate(options));
  return client;
}

Result<> Client::Negotiate(const ConnectOptions& options) {
  Response response;
  std::string_view version = options.extended ? kVersionExtended : kVersionPlain;
  uint32_t msize = std::clamp(options.msize, kMinMsize, kMaxMsize);
  Result<Rversion> answer =
      channel_->Call<Tversion, Rversion>({.msize = msize, .version = version}, response);
  bool refused = answer.ok() ? answer->version == "unknown" : channel_->alive();
  if (refused && options.extended) {
    // A server that knows only what it knows, instead of cutting the name at the dot.
    answer =
        channel_->Call<Tversion, Rversion>({.msize = msize, .version = kVersionPlain}, response);
  }
  Rversion reply = TRY(std::move(answer));
  extended_ = options.extended && reply.version == kVersionExtended;
  if (!extended_ && reply.version != kVersionPlain) return Errno::kEPROTONOSUPPORT;
  if (reply.msize < kMinMsize || reply.msize > msize) return Errno::kEPROTO;
  msize_ = reply.msize;
  channel_->SetMaxMessage(msize_);
  return Ok();
}

Result<FidNumber> Client::AllocateFids(size_t* count) {
  MutexLock lock(mutex_);
  if (next_fid_ >= kStartRecycling && freed_.size() > kRestingFids) {
    *count = 1;
    FidNumber fid = freed_.front();
    freed_.pop_front();
    return fid;
  }
  if (next_fid_ + *count >= kLastFid) return Errno::kENFILE;
  FidNumber first = next_fid_;
  next_fid_ += static_cast<FidNumber>(*count);
  return first;
}

void Client::FreeFids(FidNumber first, size_t count) {
  MutexLock lock(mutex_);
  if (next_fid_ < kStartRecycling) return;
  for (size_t i = 0; i < count; ++i) freed_.push_back(first + static_cast<FidNumber>(i));
}

void Client::Clunk(FidNumber first, size_t count) {
  if (count == 0 || !alive()) return;
  clunked_.store(true, std::memory_order_release);
  std::vector<uint8_t> bytes;
  if (extended_) {
    Tclunks clunks;
    for (size_t i = 0; i < count; ++i) clunks.fids.push_back(first + static_cast<FidNumber>(i));
    Encode(bytes, kNoTag, clunks);
    channel_->SendLater(bytes);
    FreeFids(first, count);
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    bytes.clear();
    Encode(bytes, kNoTag, Tclunk{.fid = first + static_cast<FidNumber>(i)});
    channel_->SendUnawaited(bytes);
  }
  FreeFids(first, count);
}

bool Client::AwaitClunks() {
  if (!clunked_.exchange(false, std::memory_order_acq_rel)) return false;
  // Clunks are done before anything that comes after them; an empty one is answered.
  Response response;
  if (extended_) return channel_->Call<Tclunks, Rclunks>({}, response).ok();
  return channel_->Call<Tflush, Rflush>({.oldtag = kNoTag}, response).ok();
}

Result<NewFile> Client::Attach(std::string_view aname) {
  NewFile root;
  root.fid = TRY(AllocateFid());
  Response response;
  TRY((channel_->Call<Tattach, Rattach>(
      {.fid = root.fid, .uname = "root", .aname = aname, .n_uname = 0}, response)));
  root.attr = TRY(GetAttr(root.fid));
  return root;
}

Result<Walked> Client::Walk(FidNumber from, std::span<const std::string_view> names) {
  for (int i = 0;; ++i) {
    Walked walked = TRY(extended_ ? WalkExtended(from, names) : WalkPlain(from, names));
    if (!Channel::IsShortOfFds(walked.error) || i == Channel::kReliefs) return walked;
    Clunk(walked.first, walked.attrs.size());
    if (!channel_->Relieve()) return walked.error;
  }
}

Result<Walked> Client::WalkExtended(FidNumber from, std::span<const std::string_view> names) {
  size_t count = std::min(names.size(), kMaxNames);
  Twalkattr request{.fid = from};
  request.newfid = TRY(AllocateFids(&count));
  for (std::string_view name : names.first(count)) request.names.push_back({name});
  Response response;
  Result<Rwalkattr> reply = channel_->Call<Twalkattr, Rwalkattr>(request, response);
  if (!reply.ok()) {
    FreeFids(request.newfid, count);
    return reply.error();
  }
  size_t reached = reply->attrs.size();
  if (reached > count || reply->error > 133 || (reached < count && reply->error == 0)) {
    return Errno::kEIO;
  }
  if (reached < count) {
    FreeFids(request.newfid + static_cast<FidNumber>(reached), count - reached);
  }
  Walked walked{.first = request.newfid,
                .attrs = std::move(reply->attrs),
                .error = FromHost(static_cast<int>(reply->error)),
                .target = std::string(reply->target)};
  for (const Attr& attr : walked.attrs) {
    if (IsSane(attr)) continue;
    Clunk(walked.first, reached);
    return Errno::kEIO;
  }
  return walked;
}

Result<> Client::WalkTo(FidNumber fid, FidNumber newfid, std::span<const std::string_view> names) {
  Twalk request{.fid = fid, .newfid = newfid};
  for (std::string_view name : names) request.names.push_back({name});
  Response response;
  Rwalk reply = TRY((channel_->Call<Twalk, Rwalk>(request, response)));
  if (reply.qids.size() != names.size()) return Errno::kENOENT;
  return Ok();
}

Result<Walked> Client::WalkPlain(FidNumber from, std::span<const std::string_view> names) {
  Walked walked;
  size_t one = 1;
  walked.first = TRY(AllocateFids(&one));
  if (names.empty()) return Errno::kEINVAL;
  // One component: each needs a message for its attributes anyway.
  Result<> step = WalkTo(from, walked.first, names.first(1));
  if (!step.ok()) {
    FreeFids(walked.first, 1);
    walked.error = step.error();
    return walked;
  }
  Result<Attr> attr = GetAttr(walked.first);
  if (!attr.ok()) {
    Clunk(walked.first);
    return attr.error();
  }
  walked.attrs.push_back(*attr);
  return walked;
}

Result<Attr> Client::Peek(FidNumber dir, std::string_view name) {
  if (extended_) {
    Response response;
    Rwalkattr reply = TRY((channel_->Call<Twalkattr, Rwalkattr>(
        {.fid = dir, .newfid = 0, .flags = kWalkNoFids, .names = {{name}}}, response)));
    if (reply.attrs.size() == 1) return Sane(reply.attrs[0]);
    return reply.error > 0 && reply.error <= 133 ? FromHost(static_cast<int>(reply.error))
                                                 : Errno::kEIO;
  }
  Walked walked = TRY(WalkPlain(dir, {&name, 1}));
  if (walked.attrs.empty()) return walked.error;
  Clunk(walked.first);
  return walked.attrs[0];
}

Result<Attr> Client::ToAttr(const Rgetattr& r) {
  if ((r.valid & kGetattrBasic) != kGetattrBasic) return Errno::kEIO;
  Attr a;
  a.qid = r.qid;
  a.ino = r.qid.path;
  a.mode = r.mode, a.uid = r.uid, a.gid = r.gid;
  a.nlink = r.nlink, a.rdev = r.rdev, a.size = r.size, a.blocks = r.blocks;
  a.blksize = static_cast<uint32_t>(r.blksize);
  auto time = [](uint64_t sec, uint64_t nsec) {
    return TimeSpec{static_cast<int64_t>(sec), static_cast<uint32_t>(nsec % 1'000'000'000)};
  };
  a.atime = time(r.atime_sec, r.atime_nsec), a.mtime = time(r.mtime_sec, r.mtime_nsec);
  a.ctime = time(r.ctime_sec, r.ctime_nsec), a.btime = time(r.btime_sec, r.btime_nsec);
  return Sane(a);
}

Result<Attr> Client::GetAttr(FidNumber fid) {
  Response response;
  if (extended_) {
    return Sane(TRY((channel_->Call<Tgetattrs, Rgetattrs>({.fid = fid}, response))).attr);
  }
  return ToAttr(
      TRY((channel_->Call<Tgetattr, Rgetattr>({.fid = fid, .mask = kGetattrAll}, response))));
}

Result<Attr> Client::SetAttr(FidNumber fid, const AttrRequest& q) {
  Response response;
  if (extended_) {
    return Sane(TRY((channel_->Call<Tsetattrs, Rsetattrs>({.fid = fid,
                                                           .valid = q.valid,
                                                           .mode = q.mode,
                                                           .uid = q.uid,
                                                           .gid = q.gid,
                                                           .size = q.size,
                                                           .atime = q.atime,
                                                           .mtime = q.mtime},
                                                          response)))
                    .attr);
  }
  TRY((channel_->Call<Tsetattr, Rsetattr>({.fid = fid,
                                           .valid = q.valid,
                                           .mode = q.mode,
                                           .uid = q.uid,
                                           .gid = q.gid,
                                           .size = q.size,
                                           .atime_sec = static_cast<uint64_t>(q.atime.sec),
                                           .atime_nsec = q.atime.nsec,
                                           .mtime_sec = static_cast<uint64_t>(q.mtime.sec),
                                           .mtime_nsec = q.mtime.nsec},
                                          response)));
  return GetAttr(fid);
}

Result<std::string> Client::ReadLink(FidNumber fid) {
  Response response;
  Rreadlink reply = TRY((channel_->Call<Treadlink, Rreadlink>({.fid = fid}, response)));
  return std::string(reply.target);
}

Result<> Client::Sync(FidNumber fid, SyncKind kind) {
  Response response;
  uint32_t datasync = static_cast<uint32_t>(kind);
  if (!extended_) datasync &= 1;
  TRY((channel_->Call<Tfsync, Rfsync>({.fid = fid, .datasync = datasync}, response)));
  return Ok();
}

Result<Rstatfs> Client::StatFs(FidNumber fid) {
  Response response;
  return channel_->Call<Tstatfs, Rstatfs>({.fid = fid}, response);
}

}  // namespace msentry::p9
