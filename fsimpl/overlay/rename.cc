// OverlayInode: rename. vfs holds the overlay's rename mutex and both directories' dir_mutex.
#include <linux/fs.h>

#include "absl/cleanup/cleanup.h"
#include "fsimpl/overlay/overlay_inode.h"

namespace msentry::overlay {

namespace {

// Both real directories locked. Only renames lock two, and they are one at a time. They may be one
// and the same, which the annotations cannot follow.
class RealDirs {
 public:
  RealDirs(vfs::Inode& a, vfs::Inode& b) ABSL_NO_THREAD_SAFETY_ANALYSIS : a_(a), b_(b) {
    a_.dir_mutex().Lock();
    if (&a_ != &b_) b_.dir_mutex().Lock();
  }
  ~RealDirs() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (&a_ != &b_) b_.dir_mutex().Unlock();
    a_.dir_mutex().Unlock();
  }

 private:
  vfs::Inode& a_;
  vfs::Inode& b_;
};

}  // namespace

// Before this file's upper part is moved: a directory must go on finding its lower part, or one
// that has none must not find somebody else's.
Result<> OverlayInode::PrepareMove(bool target_has_lower) {
  TRY(EnsureUpper());
  if (!IsDir()) return Ok();
  const vfs::OpContext ctx = overlay().Internal();
  if (!lowers_.empty()) return upper()->SetXattr(ctx, kRedirect, lower_path_, 0);
  if (target_has_lower) return upper()->SetXattr(ctx, kOpaque, "y", 0);
  return Ok();
}

Result<> OverlayInode::Rename(const vfs::OpContext&, std::string_view name, Inode& moved_inode,
                              Inode& new_dir, std::string_view new_name, Inode* replaced_inode,
                              unsigned flags) {
  const vfs::OpContext ctx = overlay().Internal();
  if (flags & RENAME_WHITEOUT) return Errno::kEINVAL;
  if (!overlay().has_upper()) return Errno::kEROFS;
  OverlayInode& moved = static_cast<OverlayInode&>(moved_inode);
  OverlayInode& to = static_cast<OverlayInode&>(new_dir);
  OverlayInode* replaced = static_cast<OverlayInode*>(replaced_inode);
  const bool exchange = flags & RENAME_EXCHANGE;

  const bool hide_source = TRY(LowerHas(name));
  const bool target_has_lower = TRY(to.LowerHas(new_name));
  TRY(EnsureUpper());
  TRY(to.EnsureUpper());
  auto changed = absl::MakeCleanup([&] {
    NamesChanged();
    to.NamesChanged();
  });
  if (replaced && !exchange && replaced->IsDir()) TRY(replaced->ClearWhiteouts());
  TRY(moved.PrepareMove(target_has_lower));
  if (exchange) TRY(replaced->PrepareMove(hide_source));
  if (replaced && !exchange) TRY(replaced->BeforeNameGoes());

  Inode& from_real = *upper();
  Inode& to_real = *to.upper();
  {
    RealDirs lock(from_real, to_real);
    RefPtr<Inode> source = TRY(moved.UpperNamed(ctx, from_real, name));
    if (!source || IsWhiteout(ctx, *source)) {
      // The copy was made under another of its names: this one becomes a link to it.
      if (source) TRY(from_real.Unlink(ctx, name, *source));
      TRY(from_real.Link(ctx, name, *moved.upper()));
      source = RefPtr<Inode>(moved.upper());
    }
    RefPtr<Inode> target;
    if (replaced) {
      target = TRY(replaced->UpperNamed(ctx, to_real, new_name));
    } else if (!to.lowers_.empty()) {
      target = TRY(RealLookupLocked(ctx, to_real, new_name));  // a whiteout
    }
    if (exchange) {
      if (!target) {
        TRY(to_real.Link(ctx, new_name, *replaced->upper()));
        target = RefPtr<Inode>(replaced->upper());
      }
      TRY(from_real.Rename(ctx, name, *source, to_real, new_name, target.get(), RENAME_EXCHANGE));
    } else {
      if (target && (IsWhiteout(ctx, *target) || (source->IsDir() && !target->IsDir()))) {
        TRY(to_real.Unlink(ctx, new_name, *target));
        target.Reset();
      }
      if (target.get() == source.get()) {
        TRY(from_real.Unlink(ctx, name,
                             *source));  // two names of one file: rename(2) would do nothing
      } else {
        TRY(from_real.Rename(ctx, name, *source, to_real, new_name, target.get(), 0));
        if (target) overlay().NameGone(ctx, *target);
      }
      if (hide_source) TRY(Whiteout(from_real, name));
    }
  }
  moved.RemoveName(*this, name);
  if (replaced) {
    if (exchange) {
      replaced->RemoveName(to, new_name);
      replaced->AddName(*this, name);
    } else {
      replaced->AfterNameWent(to, new_name);
    }
  }
  moved.AddName(to, new_name);
  return Ok();
}

}  // namespace msentry::overlay
