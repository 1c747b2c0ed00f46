#include "runtime/state_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

namespace msentry::runtime {
namespace {

constexpr long kTmpfsMagic = 0x01021994;

// The directory of all private ones of this user; hidden from every guest as a whole.
std::string BaseIn(const std::string& parent) {
  return parent + "/msentry-" + std::to_string(geteuid());
}

// Makes it. Others may write in `parent` and must not have made it for us.
bool MakeBase(const std::string& base, std::string* error) {
  if (mkdir(base.c_str(), 0700) != 0 && errno != EEXIST) {
    *error = "cannot make a directory for the writable layer: " + base + ": " + strerror(errno);
    return false;
  }
  struct stat st;
  if (lstat(base.c_str(), &st) != 0 && errno == ENOENT)
    return true;  // removed again meanwhile; mkdtemp will tell
  if (S_ISDIR(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 077) == 0) return true;
  *error = base + " is not a private directory of this user: remove it or set TMPDIR";
  return false;
}

bool UsableParent(const char* path) {
  struct stat st;
  return path != nullptr && path[0] == '/' && stat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
         access(path, W_OK | X_OK) == 0;
}

bool OnTmpfs(const char* path) {
  struct statfs fs;
  return statfs(path, &fs) == 0 && fs.f_type == kTmpfsMagic;
}

struct DirCloser {
  void operator()(DIR* d) const { closedir(d); }
};
using Directory = std::unique_ptr<DIR, DirCloser>;

std::vector<std::string> Names(int fd) {
  std::vector<std::string> names;
  // A descriptor of its own: the position in the directory is shared by duplicates.
  int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (own < 0) return names;
  Directory directory(fdopendir(own));
  if (!directory) {
    close(own);
    return names;
  }
  while (dirent* entry = readdir(directory.get())) {
    std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(std::move(name));
  }
  return names;
}

// A subdirectory made accessible to us. The guest may have taken away every permission.
ScopedFd OpenSubdirectory(int parent, const std::string& name) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  struct stat st;
  if (fstatat(parent, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(st.st_mode)) {
    return ScopedFd();
  }
  if ((st.st_mode & 0700) != 0700) fchmodat(parent, name.c_str(), 0700, 0);
  return ScopedFd(openat(parent, name.c_str(), kFlags));
}

// Empties the directory `top`. Subdirectories of subdirectories are first moved up to `top`, so
// that neither the stack nor the number of open descriptors grows with the depth.
void Empty(int top) {
  uint64_t serial = 0;
  bool progress = true;
  while (progress) {
    progress = false;
    for (const std::string& name : Names(top)) {
      if (unlinkat(top, name.c_str(), 0) == 0) {
        progress = true;
        continue;
      }
      if (unlinkat(top, name.c_str(), AT_REMOVEDIR) == 0) {
        progress = true;
        continue;
      }
      ScopedFd sub = OpenSubdirectory(top, name);
      if (!sub) continue;
      for (const std::string& inner : Names(sub.get())) {
        if (unlinkat(sub.get(), inner.c_str(), 0) == 0) continue;
        if (unlinkat(sub.get(), inner.c_str(), AT_REMOVEDIR) == 0) continue;
        // A directory can be moved only when it is writable: its ".." changes.
        fchmodat(sub.get(), inner.c_str(), 0700, 0);
        std::string flat = ".remove-" + std::to_string(serial++);
        if (renameat(sub.get(), inner.c_str(), top, flat.c_str()) == 0) progress = true;
      }
      sub.Reset();
      if (unlinkat(top, name.c_str(), AT_REMOVEDIR) == 0) progress = true;
    }
  }
}

void Sweep(const std::string& base) {
  ScopedFd fd(open(base.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return;
  for (const std::string& name : Names(fd.get())) {
    ScopedFd dir(openat(fd.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat st;
    if (!dir || fstat(dir.get(), &st) != 0 || st.st_uid != geteuid()) continue;
    if (flock(dir.get(), LOCK_EX | LOCK_NB) != 0) continue;  // somebody's
    Empty(dir.get());
    unlinkat(fd.get(), name.c_str(), AT_REMOVEDIR);
  }
}

bool MakeUpper(const StateDirectory& state, std::string* error) {
  if (mkdirat(state.lock.get(), "upper", 0755) == 0 || errno == EEXIST) return true;
  *error = "cannot make " + UpperPath(state.path) + ": " + strerror(errno);
  return false;
}

}  // namespace

std::string DefaultStateParent() {
  const char* candidates[] = {getenv("TMPDIR"), "/var/tmp", "/tmp"};
  for (bool accept_tmpfs : {false, true}) {
    for (const char* path : candidates) {
      if (UsableParent(path) && (accept_tmpfs || !OnTmpfs(path))) return path;
    }
  }
  return "/var/tmp";
}

bool CreateStateDirectory(const std::string& parent, StateDirectory* out, std::string* error) {
  const std::string base = BaseIn(parent);
  for (int attempt = 0; attempt < 16; attempt++) {
    if (!MakeBase(base, error)) return false;
    Sweep(base);
    std::string path = base + "/XXXXXX";
    if (mkdtemp(path.data()) == nullptr) {
      if (errno == ENOENT) continue;  // the last user of the base took it away
      *error =
          "cannot make a directory for the writable layer in " + parent + ": " + strerror(errno);
      return false;
    }
    out->lock.Reset(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    // Another sandbox may sweep between mkdtemp and flock; then the name is gone: once more.
    struct stat mine, named;
    if (out->lock && flock(out->lock.get(), LOCK_EX | LOCK_NB) == 0 &&
        fstat(out->lock.get(), &mine) == 0 && lstat(path.c_str(), &named) == 0 &&
        mine.st_ino == named.st_ino) {
      out->path = path;
      out->keep = false;
      if (MakeUpper(*out, error)) return true;
      RemoveStateDirectory(path);
      return false;
    }
  }
  *error = "cannot lock a directory for the writable layer in " + parent;
  return false;
}

bool OpenKeptStateDirectory(const std::string& path, StateDirectory* out, std::string* error) {
  if (mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) {
    *error = "--keep " + path + ": " + strerror(errno);
    return false;
  }
  std::unique_ptr<char, decltype(&free)> real(realpath(path.c_str(), nullptr), &free);
  if (!real) {
    *error = "--keep " + path + ": " + strerror(errno);
    return false;
  }
  out->path = real.get();
  out->keep = true;
  out->lock.Reset(open(out->path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!out->lock) {
    *error = "--keep " + path + ": " + strerror(errno);
    return false;
  }
  if (flock(out->lock.get(), LOCK_EX | LOCK_NB) != 0) {
    *error = "--keep " + path + ": another sandbox uses it";
    return false;
  }
  return MakeUpper(*out, error);
}

void RemoveStateDirectory(const std::string& path) {
  RemoveTree(path);
  rmdir(path.substr(0, path.rfind('/')).c_str());
}

void RemoveTree(const std::string& path) {
  ScopedFd top(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!top) return;
  fchmod(top.get(), 0700);
  Empty(top.get());
  rmdir(path.c_str());
}

}  // namespace msentry::runtime
