// Client: what the file system asks of the gofer, one method an operation. Uses the msentry
// extension when the server has it and does the same with plain 9P2000.L messages when not.
//
// All methods may park the calling fiber; no Mutex may be held by the caller. Fids are plain
// numbers that their owner gives back with Clunk(). Attributes from the server are checked for
// sense, no more: owners, sizes and times are the server's word.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fsimpl/p9/channel.h"
#include "fsimpl/p9/p9.h"
#include "gofer/wire/messages.h"

namespace msentry::p9 {

using FidNumber = uint32_t;

// fstat(2) itself: glibc's goes through newfstatat, which takes a path and is not on the sentry's
// list of allowed calls.
bool HostFstat(int fd, struct stat* st);

struct AttrRequest {
  uint32_t valid = 0;  // kSet*
  uint32_t mode = 0, uid = 0, gid = 0;
  uint64_t size = 0;
  TimeSpec atime, mtime;
};

// How far a walk got: component i is fid first + i with attrs[i]; the caller owns all of them.
struct Walked {
  FidNumber first = kNoFid;
  Attrs attrs;
  Errno error{};       // 0: all components reached
  std::string target;  // of the last one, if it is a link and the server said it
};

// An open file: a donated host fd, or (plain protocol) a fid to read and write with.
struct OpenedHandle {
  ScopedFd fd;
  FidNumber handle = kNoFid;
};

struct NewFile {
  FidNumber fid = kNoFid;
  Attr attr;
  OpenedHandle opened;  // CreateFile only
};

class Client {
 public:
  static Result<std::shared_ptr<Client>> Connect(ScopedFd socket, sched::Scheduler* scheduler,
                                                 const ConnectOptions& options);

  ~Client();
  static void SettleAll();

  bool alive() const { return channel_->alive(); }
  bool extended() const { return extended_; }
  uint64_t exchanges() const { return channel_->exchanges(); }

  Result<NewFile> Attach(std::string_view aname);
  Result<Walked> Walk(FidNumber from, std::span<const std::string_view> names);
  // The attributes of `name` in `dir` now, without a new fid.
  Result<Attr> Peek(FidNumber dir, std::string_view name);
  Result<Attr> GetAttr(FidNumber fid);
  Result<Attr> SetAttr(FidNumber fid, const AttrRequest& request);
  Result<std::string> ReadLink(FidNumber fid);

  // `flags`: O_RDONLY, O_WRONLY or O_RDWR, with O_TRUNC. Regular files.
  Result<OpenedHandle> Open(FidNumber fid, uint32_t flags);
  // Makes and opens (O_RDWR) a regular file; EEXIST if the name exists.
  Result<NewFile> CreateFile(FidNumber dir, std::string_view name, uint32_t mode, uint32_t uid,
                             uint32_t gid);
  // Directory, link or special file, by mode's type.
  Result<NewFile> MakeNode(FidNumber dir, std::string_view name, uint32_t mode, uint32_t uid,
                           uint32_t gid, uint64_t rdev, std::string_view target);
  Result<> Link(FidNumber dir, std::string_view name, FidNumber target);
  Result<> Unlink(FidNumber dir, std::string_view name, bool directory);
  // Removes a name that is there, of a file that is no directory, without waiting: everything that
  // is asked later sees it gone. False: it cannot be done so now. A failure counts as a refusal.
  bool UnlinkLater(FidNumber dir, std::string_view name);
  uint32_t refusals() const { return channel_->refusals(); }
  // `moved` is a fid of the file itself.
  Result<> Rename(FidNumber old_dir, std::string_view old_name, FidNumber moved, FidNumber new_dir,
                  std::string_view new_name, uint32_t flags);

  // One message's worth of entries (Dirent format) from cookie `offset` on; empty at the end.
  // `at_end` is set when the server says that nothing follows.
  Result<std::vector<uint8_t>> List(FidNumber dir, uint64_t offset, bool* at_end);
  // On a handle. At most MaxIo() bytes.
  Result<size_t> Read(FidNumber handle, uint64_t offset, std::span<std::byte> to);
  Result<size_t> Write(FidNumber handle, uint64_t offset, std::span<const std::byte> from);
  size_t MaxIo() const { return msize_ - kIoHeaderBytes; }
  // Of an open handle, or any fid with the extension. kWholeFs: syncfs(2).
  enum class SyncKind : uint32_t { kFile = 0, kData = 1, kWholeFs = 2 };
  Result<> Sync(FidNumber fid, SyncKind kind);
  Result<Rstatfs> StatFs(FidNumber fid);

  Result<std::string> GetXattr(FidNumber fid, std::string_view name);
  Result<> SetXattr(FidNumber fid, std::string_view name, std::string_view value, int flags);
  Result<> RemoveXattr(FidNumber fid, std::string_view name);
  Result<std::string> ListXattr(FidNumber fid);  // NUL after each

  // Gives fids back. Never parks: the message goes with the next one.
  void Clunk(FidNumber first, size_t count = 1);
  // Returns when the server has let go of all that was clunked so far; false: nothing was since
  // the last time.
  bool AwaitClunks();

 private:
  Client();
  Result<> Negotiate(const ConnectOptions& options);
  // Consecutive unused numbers, as many of `count` as there are in a row (at least one), or ENFILE.
  Result<FidNumber> AllocateFids(size_t* count);
  Result<FidNumber> AllocateFid() {
    size_t one = 1;
    return AllocateFids(&one);
  }
  void FreeFids(FidNumber first, size_t count);

  Result<Walked> WalkExtended(FidNumber from, std::span<const std::string_view> names);
  Result<Walked> WalkPlain(FidNumber from, std::span<const std::string_view> names);
  // newfid = fid walked by names.
  Result<> WalkTo(FidNumber fid, FidNumber newfid, std::span<const std::string_view> names);
  Result<Attr> ToAttr(const Rgetattr& reply);
  Result<std::string> ReadXattrPlain(FidNumber fid, std::string_view name);
  Result<> WriteXattrPlain(FidNumber fid, std::string_view name, std::string_view value, int flags);

  std::unique_ptr<Channel> channel_;
  bool extended_ = false;  // fixed after Negotiate
  uint32_t msize_ = kMinMsize;
  std::atomic<bool> clunked_{false};  // since AwaitClunks()
  Mutex mutex_;
  FidNumber next_fid_ ABSL_GUARDED_BY(mutex_) = 1;
  std::deque<FidNumber> freed_ ABSL_GUARDED_BY(mutex_);  // kept once numbers run short
};

}  // namespace msentry::p9
