// The credentials a program gets at execve(2): set-id bits, file capabilities, ambient and
// inherited capabilities (execve(2), capabilities(7)). A function of values; may park for xattrs.
#pragma once

#include "sentry/auth/credentials.h"
#include "sentry/base/result.h"
#include "vfs/context.h"

namespace msentry::vfs {
class FileDescription;
}

namespace msentry::kernel {

class Task;

struct ExecCreds {
  auth::CredsRef creds;
  bool secure = false;   // privileges were gained: AT_SECURE, not dumpable
  bool readable = true;  // the file may be read by its user, so its memory may be too
};

// Capabilities of a file: security.capability (struct vfs_cap_data).
struct FileCaps {
  auth::CapSet permitted = 0, inheritable = 0;
  bool effective = false;
};
// kEINVAL for a malformed value.
Result<FileCaps> ParseFileCaps(std::string_view xattr);

// The pure part: `mode`, `uid`, `gid` are the file's; `honour_set_id` is false on a nosuid mount
// and with no_new_privs.
auth::CredsRef TransformCreds(const auth::Credentials& old, uint32_t mode, uint32_t uid,
                              uint32_t gid, const FileCaps* caps, bool honour_set_id, bool* secure);

Result<ExecCreds> CredsForExec(const vfs::OpContext& context, Task& task,
                               vfs::FileDescription& file);

}  // namespace msentry::kernel
