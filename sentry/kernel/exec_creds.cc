#include "sentry/kernel/exec_creds.h"

#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/stat.h>

#include "sentry/kernel/task.h"
#include "sentry/kernel/trace.h"
#include "vfs/file_description.h"
#include "vfs/mount.h"
#include "vfs/operations.h"
#include "vfs/permissions.h"

namespace msentry::kernel {

using auth::CapSet;

Result<FileCaps> ParseFileCaps(std::string_view xattr) {
  uint32_t magic;
  if (xattr.size() < sizeof(magic)) return Errno::kEINVAL;
  memcpy(&magic, xattr.data(), sizeof(magic));
  const uint32_t revision = magic & VFS_CAP_REVISION_MASK;
  size_t words = 0;
  size_t size = 0;
  if (revision == VFS_CAP_REVISION_1) {
    words = 1;
    size = XATTR_CAPS_SZ_1;
  } else if (revision == VFS_CAP_REVISION_2) {
    words = 2;
    size = XATTR_CAPS_SZ_2;
  } else if (revision == VFS_CAP_REVISION_3) {
    words = 2;
    size = XATTR_CAPS_SZ_3;
  } else {
    return Errno::kEINVAL;
  }
  if (xattr.size() != size) return Errno::kEINVAL;
  FileCaps caps;
  for (size_t i = 0; i < words; ++i) {
    uint32_t pair[2];
    memcpy(pair, xattr.data() + sizeof(magic) + i * sizeof(pair), sizeof(pair));
    caps.permitted |= CapSet{pair[0]} << 32 * i;
    caps.inheritable |= CapSet{pair[1]} << 32 * i;
  }
  caps.permitted &= auth::kAllCaps;
  caps.inheritable &= auth::kAllCaps;
  caps.effective = (magic & VFS_CAP_FLAGS_EFFECTIVE) != 0;
  return caps;
}

auth::CredsRef TransformCreds(const auth::Credentials& old, uint32_t mode, uint32_t uid,
                              uint32_t gid, const FileCaps* file_caps, bool honour_set_id,
                              bool* secure) {
  RefPtr<auth::Credentials> next = old.Clone();
  if (honour_set_id) {
    if (mode & S_ISUID) next->euid = uid;
    // Set-gid without group execute marks mandatory locking, not a set-gid program.
    if ((mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP)) next->egid = gid;
  }
  const bool set_id = next->euid != old.euid || next->egid != old.egid;
  next->suid = next->fsuid = next->euid;
  next->sgid = next->fsgid = next->egid;

  FileCaps caps;
  if (file_caps != nullptr && honour_set_id) caps = *file_caps;
  const bool has_file_caps = file_caps != nullptr && honour_set_id;
  CapSet root_grants = 0;
  const bool no_root = (old.securebits & issecure_mask(SECURE_NOROOT)) != 0;
  if (!no_root && (next->euid == 0 || next->uid == 0) && !(has_file_caps && next->uid != 0)) {
    caps.permitted = caps.inheritable = auth::kAllCaps;
    caps.effective = next->euid == 0;
    root_grants = auth::kAllCaps;
  }
  if (set_id || has_file_caps) next->ambient = 0;
  next->permitted =
      (caps.permitted & old.bounding) | (caps.inheritable & old.inheritable) | next->ambient;
  next->effective = caps.effective ? next->permitted : next->ambient;
  next->securebits &= ~issecure_mask(SECURE_KEEP_CAPS);

  const bool is_setid = next->euid != next->uid || next->egid != next->gid;
  const bool gained = root_grants == 0 && (next->permitted & ~next->ambient) != 0 &&
                      (caps.effective || next->permitted != next->ambient) && has_file_caps;
  *secure = (set_id && is_setid) || is_setid || gained;
  return next;
}

Result<ExecCreds> CredsForExec(const vfs::OpContext& context, Task& task,
                               vfs::FileDescription& file) {
  const auth::CredsRef old = task.creds();
  const vfs::Location& location = file.location();
  const bool nosuid = location.mount && (location.mount->flags() & vfs::kMountNoSuid) != 0;
  const bool honour = !nosuid && !old->no_new_privs && TracerMayFollow(task);
  vfs::Inode& inode = file.inode();

  ExecCreds out;
  std::optional<FileCaps> caps;
  if (honour) {
    // Most files have none: asked for only where the answer could matter.
    const auto value = inode.GetXattr(context, "security.capability");
    if (value.ok()) {
      const Result<FileCaps> parsed = ParseFileCaps(*value);
      if (!parsed.ok()) return Errno::kEPERM;
      caps = *parsed;
    }
  }
  out.creds = TransformCreds(*old, inode.mode(), inode.uid(), inode.gid(), caps ? &*caps : nullptr,
                             honour, &out.secure);
  out.readable = vfs::CheckMode(*old, inode, vfs::kMayRead).ok();
  return out;
}

}  // namespace msentry::kernel
