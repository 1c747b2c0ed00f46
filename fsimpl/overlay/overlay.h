// overlay: read-only lower layers with one writable upper layer above (the kernel's
// Documentation/filesystems/overlayfs). The sandbox's root is one: lower is the host's tree through
// the gofer, upper a private directory on the host's disk.
//
//   RefPtr<vfs::FileSystem> root =
//       TRY(overlay::Create(ctx, {.lower = {image}, .upper = upper}));
//
// The layers are any vfs file systems. They are used through their inodes only, not through their
// dentries, and nobody else may change them meanwhile. The on-disk format is the kernel's: a
// whiteout is a character device 0/0, an opaque directory has trusted.overlay.opaque=y (the upper
// layer decides where it keeps what the host cannot: the gofer's mapped attributes), a directory of
// a lower layer that is renamed has trusted.overlay.redirect, as with redirect_dir=on.
//
// The root of a fresh upper layer takes owner, mode and times of the topmost lower one, once (who
// mounts the kernel's prepares the directory himself).
//
// A file that was opened for reading before it was copied up reads the upper file from then on:
// unlike the kernel's, an old descriptor never shows stale content. (Memory mapped before the copy
// keeps the lower file's pages.)
#pragma once

#include <string>
#include <vector>

#include "sentry/base/ref_ptr.h"
#include "sentry/base/result.h"
#include "vfs/context.h"
#include "vfs/file_system.h"

namespace msentry::overlay {

struct Options {
  std::vector<RefPtr<vfs::FileSystem>> lower;  // topmost first; at least one
  RefPtr<vfs::FileSystem> upper;               // null: a read-only overlay
  std::string show_options;                    // for mountinfo, e.g. "lowerdir=/,upperdir=..."
};

// `ctx` needs all file capabilities: used for the layers' own reading.
Result<RefPtr<vfs::FileSystem>> Create(const vfs::OpContext& ctx, const Options& options);

}  // namespace msentry::overlay
