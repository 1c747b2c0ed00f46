// PathWalker: the one path resolution (path_resolution(7), openat2(2)).
//
//   WalkContext walk{ctx, fs.root, fs.cwd};
//   Location where = TRY(PathWalker(walk, kWalkFollow).Resolve(path));
//   ParentAndName p = TRY(PathWalker(walk, 0).ResolveParent(path));   // for mkdir, unlink, rename
//
// A fully cached absolute path resolves without allocation, without parking and without a
// FiberMutex; a miss locks the directory and asks the file system, several components at once where
// it can (Inode::Prefetch). Search permission is checked in every directory that is crossed.
//
// Errors: ENOENT (also the empty path without kWalkEmptyPath), ENOTDIR, EACCES, ELOOP,
// ENAMETOOLONG, EXDEV (RESOLVE_BENEATH, NO_XDEV), EAGAIN (RESOLVE_CACHED; a racing rename under
// BENEATH/IN_ROOT).
#pragma once

#include <string>
#include <string_view>

#include "sentry/base/result.h"
#include "vfs/context.h"
#include "vfs/location.h"

namespace msentry::vfs {

enum WalkFlag : uint32_t {
  kWalkFollow = 1,         // a symlink as last component is followed (not: O_NOFOLLOW, lstat)
  kWalkDirectory = 2,      // the result must be a directory (ENOTDIR)
  kWalkEmptyPath = 4,      // "" means `start` itself (AT_EMPTY_PATH)
  kWalkNoXdev = 8,         // RESOLVE_NO_XDEV
  kWalkNoMagicLinks = 16,  // RESOLVE_NO_MAGICLINKS
  kWalkNoSymlinks = 32,    // RESOLVE_NO_SYMLINKS
  kWalkBeneath = 64,       // RESOLVE_BENEATH
  kWalkInRoot = 128,       // RESOLVE_IN_ROOT
  kWalkCached = 256,       // RESOLVE_CACHED
};
// RESOLVE_* of openat2(2) as walk flags; EINVAL for unknown or contradicting ones.
Result<uint32_t> WalkFlagsOfResolve(uint64_t resolve);

// From where and as whom. `root` and `start` are the task's root and its cwd, or the directory that
// an *at() call names; references to values that outlive the walk.
struct WalkContext {
  const OpContext& op;
  const Location& root;
  const Location& start;
};

// The directory that holds (or would hold) the last component. `name` is never empty unless the
// path was "/" or ended in "." or ".." (`kind` says so).
struct ParentAndName {
  enum Kind { kNormal, kRoot, kDot, kDotDot };
  Location parent;
  std::string name;
  Kind kind = kNormal;
  bool trailing_slash = false;
};

class PathWalker {
 public:
  PathWalker(const WalkContext& context, uint32_t flags) : c_(context), flags_(flags) {}

  // The file that `path` names. The result's dentry is positive.
  Result<Location> Resolve(std::string_view path);
  // Everything but the last component.
  Result<ParentAndName> ResolveParent(std::string_view path);
  // open(O_CREAT): goes on from `parent` (a result of this walker) through the symlink `link` found
  // there, to the parent of what it names. Counts against the same limit. Not for magic links.
  Result<ParentAndName> ResolveParentOfLink(const Location& parent, const Location& link);

  // One component in the directory `dir`, cached or not; never follows, never crosses a mount. The
  // dentry may be negative. Search permission is the caller's business.
  static Result<RefPtr<Dentry>> LookupChild(const OpContext& ctx, const RefPtr<Dentry>& dir,
                                            std::string_view name);
  // The same with dir_mutex held by the caller.
  static Result<RefPtr<Dentry>> LookupChildLocked(const OpContext& ctx, const RefPtr<Dentry>& dir,
                                                  std::string_view name);

 private:
  enum class Want { kThrough, kFinal, kParent };  // an intermediate link, the whole, its parent
  // Where `path` starts; strips its leading slashes.
  Result<> Start(std::string_view* path, Location* at);
  Result<> Walk(std::string_view path, Location* at, Want want, ParentAndName* parent);
  Result<RefPtr<Dentry>> Child(const Location& at, std::string_view name, std::string_view rest);
  Result<> FollowLink(Location* at, const Location& link, Want want, ParentAndName* parent);
  Result<> DotDot(Location* at);
  Result<> CrossMounts(Location* at);
  Result<> CheckNotMoved() const;
  bool scoped() const { return flags_ & (kWalkBeneath | kWalkInRoot); }
  const Location& Root() const { return scoped() ? c_.start : c_.root; }

  const WalkContext c_;
  const uint32_t flags_;
  int links_ = 0;
  uint64_t sequence_ = 0;  // of renames, when the walk must not escape
};

}  // namespace msentry::vfs
