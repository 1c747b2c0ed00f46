// Extended attributes (xattr(7)). Sizes: names up to 255 bytes, values up to 64 KiB.
#include <sys/inotify.h>
#include <sys/xattr.h>

#include "vfs/inode.h"
#include "vfs/inotify.h"
#include "vfs/operations.h"
#include "vfs/permissions.h"

namespace msentry::vfs {

namespace {

constexpr size_t kXattrNameMax = 255, kXattrSizeMax = 65536;

Result<> CheckName(std::string_view name) {
  if (name.empty() || name.size() > kXattrNameMax) return Errno::kERANGE;
  return Ok();
}

}  // namespace

Result<std::string> GetXattr(const OpContext& ctx, const Location& at, std::string_view name) {
  TRY(CheckName(name));
  TRY(CheckXattr(ctx, at.inode(), name, false));
  return at.inode().GetXattr(ctx, name);
}

Result<> SetXattr(const OpContext& ctx, const Location& at, std::string_view name,
                  std::string_view value, int flags) {
  if (flags & ~(XATTR_CREATE | XATTR_REPLACE)) return Errno::kEINVAL;
  TRY(CheckName(name));
  if (value.size() > kXattrSizeMax) return Errno::kE2BIG;
  if (at.mount) TRY(at.mount->CheckWritable());
  TRY(CheckXattr(ctx, at.inode(), name, true));
  TRY(at.inode().SetXattr(ctx, name, value, flags));
  if (InotifyActive()) NotifyFile(*at.dentry, IN_ATTRIB);
  return Ok();
}

Result<> RemoveXattr(const OpContext& ctx, const Location& at, std::string_view name) {
  TRY(CheckName(name));
  if (at.mount) TRY(at.mount->CheckWritable());
  TRY(CheckXattr(ctx, at.inode(), name, true));
  TRY(at.inode().RemoveXattr(ctx, name));
  if (InotifyActive()) NotifyFile(*at.dentry, IN_ATTRIB);
  return Ok();
}

Result<std::vector<std::string>> ListXattr(const OpContext& ctx, const Location& at) {
  std::vector<std::string> names = TRY(at.inode().ListXattr(ctx));
  const bool trusted = ctx.creds.HasCap(auth::Cap::kSysAdmin);
  std::erase_if(names, [&](const std::string& n) { return !trusted && n.starts_with("trusted."); });
  return names;
}

}  // namespace msentry::vfs
