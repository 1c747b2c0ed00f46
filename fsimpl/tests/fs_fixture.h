// What file system tests share: a Vfs, credentials, a mount namespace with a file system as root,
// and short forms of the operations. Everything runs on the test's own thread: nothing parks.
#pragma once

#include <gtest/gtest.h>

#include "sentry/mm/io_sequence.h"
#include "vfs/file_io.h"
#include "vfs/file_system.h"
#include "vfs/inode.h"
#include "vfs/mount_namespace.h"
#include "vfs/operations.h"
#include "vfs/vfs.h"

namespace msentry {

inline RefPtr<auth::Credentials> RootCreds() {
  RefPtr<auth::Credentials> c = MakeRef<auth::Credentials>();
  c->permitted = c->effective = auth::kAllCaps;
  return c;
}
inline RefPtr<auth::Credentials> UserCreds(uint32_t id) {
  RefPtr<auth::Credentials> c = MakeRef<auth::Credentials>();
  c->uid = c->euid = c->suid = c->fsuid = c->gid = c->egid = c->sgid = c->fsgid = id;
  return c;
}

// "ok" or the name of the error: readable in a failed comparison.
template <typename T>
std::string Outcome(const Result<T>& r) {
  return r.ok() ? "ok" : ErrnoName(r.error());
}

// One view of a mount namespace: root, cwd and who asks.
class Shell {
 public:
  Shell(vfs::Vfs& vfs, RefPtr<vfs::MountNamespace> ns, RefPtr<auth::Credentials> creds)
      : vfs_(vfs), ns_(std::move(ns)), creds_(std::move(creds)), root_(ns_->Root()), cwd_(root_) {}

  vfs::OpContext ctx() const {
    vfs::OpContext c(vfs_, *creds_);
    c.umask = umask;
    c.fsize_limit = fsize_limit;
    return c;
  }
  vfs::Location& root() { return root_; }
  vfs::Location& cwd() { return cwd_; }
  vfs::MountNamespace& ns() { return *ns_; }
  auth::Credentials& creds() { return *creds_; }

  Result<vfs::Location> Resolve(std::string_view path, uint32_t flags = vfs::kWalkFollow) {
    vfs::OpContext c = ctx();
    return vfs::PathWalker({c, root_, cwd_}, flags).Resolve(path);
  }
  Result<RefPtr<vfs::FileDescription>> Open(std::string_view path, int flags, uint32_t mode = 0644,
                                            uint32_t walk = 0) {
    vfs::OpContext c = ctx();
    return vfs::Open({c, root_, cwd_}, path, {flags, mode, walk});
  }
  Result<> Mkdir(std::string_view path, uint32_t mode = 0755) {
    vfs::OpContext c = ctx();
    return vfs::Mkdir({c, root_, cwd_}, path, mode);
  }
  Result<> Mknod(std::string_view path, uint32_t mode, uint64_t rdev = 0) {
    vfs::OpContext c = ctx();
    return vfs::Mknod({c, root_, cwd_}, path, mode, rdev);
  }
  Result<> Symlink(std::string_view target, std::string_view path) {
    vfs::OpContext c = ctx();
    return vfs::Symlink({c, root_, cwd_}, target, path);
  }
  Result<> Link(std::string_view from, std::string_view to) {
    vfs::OpContext c = ctx();
    return vfs::Link({c, root_, cwd_}, from, 0, {c, root_, cwd_}, to);
  }
  Result<> Unlink(std::string_view path) {
    vfs::OpContext c = ctx();
    return vfs::Unlink({c, root_, cwd_}, path);
  }
  Result<> Rmdir(std::string_view path) {
    vfs::OpContext c = ctx();
    return vfs::Rmdir({c, root_, cwd_}, path);
  }
  Result<> Rename(std::string_view from, std::string_view to, unsigned flags = 0) {
    vfs::OpContext c = ctx();
    return vfs::Rename({c, root_, cwd_}, from, {c, root_, cwd_}, to, flags);
  }
  Result<vfs::Attributes> Stat(std::string_view path, uint32_t flags = 0) {
    vfs::OpContext c = ctx();
    return vfs::Stat({c, root_, cwd_}, path, flags);
  }
  Result<std::string> ReadLink(std::string_view path) {
    vfs::OpContext c = ctx();
    return vfs::ReadLink({c, root_, cwd_}, path, 0);
  }
  Result<> Chmod(std::string_view path, uint32_t mode) {
    vfs::OpContext c = ctx();
    vfs::SetAttributes a;
    a.set = vfs::SetAttributes::kMode;
    a.mode = mode;
    return vfs::SetAttr({c, root_, cwd_}, path, vfs::kWalkFollow, a);
  }
  Result<> Chown(std::string_view path, uint32_t uid, uint32_t gid) {
    vfs::OpContext c = ctx();
    vfs::SetAttributes a;
    a.set = vfs::SetAttributes::kUid | vfs::SetAttributes::kGid;
    a.uid = uid;
    a.gid = gid;
    return vfs::SetAttr({c, root_, cwd_}, path, 0, a);
  }
  Result<> Truncate(std::string_view path, uint64_t size) {
    vfs::OpContext c = ctx();
    return vfs::Truncate({c, root_, cwd_}, path, size);
  }
  Result<> Chdir(std::string_view path) {
    vfs::OpContext c = ctx();
    cwd_ = TRY(vfs::ResolveDirectory({c, root_, cwd_}, path));
    return Ok();
  }

  Result<size_t> WriteTo(vfs::FileDescription& file, std::string_view text) {
    vfs::OpContext c = ctx();
    mm::IoSequence from = mm::IoSequence::ForWriting(std::as_bytes(std::span(text)));
    return vfs::WriteFile(c, file, from);
  }
  Result<std::string> ReadFrom(vfs::FileDescription& file, size_t n) {
    vfs::OpContext c = ctx();
    std::string out(n, '\0');
    mm::IoSequence to = mm::IoSequence::ForReading(std::as_writable_bytes(std::span(out)));
    out.resize(TRY(vfs::ReadFile(c, file, to)));
    return out;
  }
  // The whole file, made or replaced.
  Result<> Put(std::string_view path, std::string_view text) {
    RefPtr<vfs::FileDescription> f = TRY(Open(path, O_WRONLY | O_CREAT | O_TRUNC));
    while (!text.empty()) text.remove_prefix(TRY(WriteTo(*f, text)));
    return Ok();
  }
  Result<std::string> Get(std::string_view path) {
    RefPtr<vfs::FileDescription> f = TRY(Open(path, O_RDONLY));
    vfs::OpContext c = ctx();
    return vfs::ReadWholeFile(c, *f, 1 << 30);
  }
  // Names in the directory, sorted, without "." and "..".
  Result<std::vector<std::string>> List(std::string_view path) {
    RefPtr<vfs::FileDescription> f = TRY(Open(path, O_RDONLY | O_DIRECTORY));
    vfs::OpContext c = ctx();
    std::vector<std::string> names;
    for (size_t before = SIZE_MAX; before != names.size();) {
      before = names.size();
      // A few at a time, so that continuing is tested as well.
      int room = 3;
      TRY(vfs::ReadDirectory(c, *f, [&](const vfs::Dirent& d) {
        if (room-- == 0) return false;
        names.emplace_back(d.name);
        return true;
      }));
    }
    std::erase_if(names, [](const std::string& n) { return n == "." || n == ".."; });
    std::sort(names.begin(), names.end());
    return names;
  }

  uint32_t umask = 022;
  uint64_t fsize_limit = UINT64_MAX;

 private:
  vfs::Vfs& vfs_;
  RefPtr<vfs::MountNamespace> ns_;
  RefPtr<auth::Credentials> creds_;
  vfs::Location root_, cwd_;
};

}  // namespace msentry
