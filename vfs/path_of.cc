#include "absl/strings/str_cat.h"
#include "vfs/inode.h"
#include "vfs/mount_namespace.h"

namespace msentry::vfs {

namespace {
// From `at` up to `root`; false when the way does not lead there. Components go to the front of a
// buffer that is filled from its end, because a path can have thousands.
bool Climb(const Location& from, const Location& root, std::string* path) {
  std::vector<std::string> names;
  Location at = from;
  bool reached = false;
  for (;;) {
    if (at == root) {
      reached = true;
      break;
    }
    if (at.mount && at.dentry == at.mount->root()) {
      Location up = at.mount->MountPoint();
      if (!up) break;
      at = std::move(up);
      continue;
    }
    std::string name;
    RefPtr<Dentry> parent = at.dentry->ParentAndName(&name);
    if (!parent) break;
    names.push_back(std::move(name));
    at.dentry = std::move(parent);
  }
  for (auto it = names.rbegin(); it != names.rend(); ++it) absl::StrAppend(path, "/", *it);
  if (path->empty()) path->push_back('/');
  return reached;
}
}  // namespace

std::string PathOf(const Location& location, const Location& root) {
  if (location.dentry->unnamed()) {
    std::string name = location.dentry->name();
    if (name.ends_with(':')) return absl::StrCat(name, "[", location.inode().ino(), "]");
    if (!location.mount || !name.starts_with('#')) return name;
    // O_TMPFILE: shown below the directory's file system root.
    return absl::StrCat("/", name, " (deleted)");
  }
  std::string path;
  bool reached = Climb(location, root, &path);
  if (location.dentry->IsDeleted()) path += " (deleted)";
  return reached ? path : absl::StrCat("(unreachable)", path);
}

Result<std::string> PathForGetcwd(const Location& location, const Location& root) {
  if (location.dentry->IsDeleted()) return Errno::kENOENT;
  return PathOf(location, root);
}

}  // namespace msentry::vfs
