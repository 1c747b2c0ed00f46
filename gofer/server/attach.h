// Attach: one attach point, and everything that can be done to the files below it. Knows nothing of
// 9P messages and fids. The rules of the gofer are enforced here: read-only attach points, hidden
// files, what is never opened, id maps, mapped attributes.
//
// Any thread. The only lock is held while devices are given short numbers; host calls are made
// without one, races with other processes end in an errno of the host's.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "gofer/config.h"
#include "gofer/server/hidden.h"
#include "gofer/server/id_map.h"
#include "gofer/server/mapped_attr.h"
#include "gofer/server/node.h"
#include "gofer/wire/codec.h"
#include "sentry/base/mutex.h"
#include "sentry/base/result.h"

namespace msentry::gofer {

// What an attribute change asks for; valid holds p9::kSet* bits.
struct AttrChange {
  uint32_t valid = 0;
  uint32_t mode = 0, uid = 0, gid = 0;
  uint64_t size = 0;
  p9::TimeSpec atime, mtime;
};

struct OpenedFile {
  RefPtr<Node> node;
  ScopedFd fd;  // none: the node's own fd is the open file
  p9::Attr attr;
  bool created = false;
};

struct NodeAttr {
  RefPtr<Node> node;
  p9::Attr attr;
};

class Attach {
 public:
  // `root` is an O_PATH fd of a directory or a regular file. `hidden` outlives the attach point.
  static Result<std::unique_ptr<Attach>> Create(const AttachConfig& config, ScopedFd root,
                                                const HiddenSet* hidden);

  const std::string& aname() const { return config_.aname; }
  RefPtr<Node> root() const { return root_; }
  bool read_only() const { return config_.read_only; }

  // One component down from `dir` (".." goes to the parent, at most to the root), with attributes.
  Result<NodeAttr> Step(const RefPtr<Node>& dir, std::string_view name);
  Result<p9::Attr> GetAttr(Node& node);
  Result<p9::Attr> SetAttr(Node& node, const AttrChange& change);
  Result<std::string> ReadLink(Node& node);

  // A regular file opened with O_ACCMODE, O_TRUNC, O_APPEND, O_DIRECT, O_NOATIME, O_SYNC and
  // O_DSYNC of `flags`; or a directory, read-only.
  Result<ScopedFd> Open(Node& node, uint32_t flags);
  // As open(2) with O_CREAT (and O_EXCL when in flags).
  Result<OpenedFile> Create(const RefPtr<Node>& dir, std::string_view name, uint32_t flags,
                            uint32_t mode, uint32_t uid, uint32_t gid);
  // Makes a directory, link (to `target`) or special file; regular files too (mknod(2)).
  Result<NodeAttr> Make(const RefPtr<Node>& dir, std::string_view name, uint32_t mode, uint32_t uid,
                        uint32_t gid, uint64_t rdev, std::string_view target);
  Result<> Link(Node& dir, std::string_view name, Node& target);
  Result<> Unlink(Node& dir, std::string_view name, bool directory);
  Result<> Rename(Node& old_dir, std::string_view old_name, Node& new_dir,
                  std::string_view new_name, uint32_t flags);

  // Appends entries from cookie `offset` on (0 is the start) to `out`, up to `limit` bytes of it.
  // Returns whether that was the last of them.
  Result<bool> List(Node& dir, uint64_t offset, size_t limit, std::vector<uint8_t>& out);

  Result<std::string> GetXattr(Node& node, std::string_view name);
  Result<> SetXattr(Node& node, std::string_view name, std::span<const uint8_t> value, int flags);
  Result<> RemoveXattr(Node& node, std::string_view name);
  Result<std::string> ListXattr(Node& node);  // NUL after each

 private:
  Attach(const AttachConfig& config, const HiddenSet* hidden);

  bool mapped() const { return config_.attributes == AttributePolicy::kMapped; }
  const HiddenEntry* FindHidden(const Node& dir, std::string_view name) const;
  // Whether `name` in `dir` may be created, removed or replaced.
  Result<> CheckChange(const Node& dir, std::string_view name) const;
  Result<> CheckWritable(const Node& node) const;
  Result<NodeAttr> MakeReplacement(const RefPtr<Node>& dir, std::string_view name,
                                   const HiddenEntry& entry);
  Result<NodeAttr> Adopt(const RefPtr<Node>& dir, std::string_view name, ScopedFd fd);

  // A special file system of the host (proc, sysfs, ...) mounted below: shown as an empty
  // directory.
  const HiddenEntry* SpecialFileSystem(const host::Stat& stat, int fd);
  uint64_t InodeNumber(uint64_t dev, uint64_t ino);
  p9::Attr ToAttr(const host::Stat& stat, const std::optional<MappedAttr>& mapped);
  p9::Attr AttrOf(int fd, const host::Stat& stat);

  // Gives the file owner, group, permission bits (and for a mapped device: type and rdev).
  Result<> SetIdentity(int fd, const host::Stat& now, const MappedAttr& wanted);
  // The permission bits that a new file is made with on the host.
  uint32_t HostMode(uint32_t mode) const;
  // After a creation: makes owner and mode what was asked for; what the file then looks like.
  Result<p9::Attr> FinishCreation(int fd, const MappedAttr& wanted);
  static Result<> MakeStandIn(int dir, std::string_view name, std::string_view text);
  // mapped(): opens a file of ours whose host mode bars us, by putting its mode into the attribute.
  Result<ScopedFd> ReopenWithOwnMode(Node& node, int flags);
  Result<std::string> HostXattrName(std::string_view name) const;

  const AttachConfig config_;
  const HiddenSet* const hidden_;
  const IdMap uids_, gids_;
  RefPtr<Node> root_;
  Mutex devices_mutex_;
  std::vector<uint64_t> devices_ ABSL_GUARDED_BY(devices_mutex_);  // index is the short number
  std::map<uint64_t, std::unique_ptr<HiddenEntry>> special_ ABSL_GUARDED_BY(devices_mutex_);
};

}  // namespace msentry::gofer
