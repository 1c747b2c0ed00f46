#include "fsimpl/pseudofs/text_file.h"

#include <algorithm>

#include "sentry/arch/registers.h"
#include "sentry/mm/io_sequence.h"

namespace msentry::pseudofs {

Result<size_t> TextFile::PRead(const vfs::OpContext& ctx, mm::IoSequence& to, uint64_t offset) {
  sched::FiberMutexLock lock(text_mutex_);
  if (offset == 0 || !generated_) {
    text_ = TRY(text_inode().Generate(ctx));
    generated_ = true;
  }
  if (offset >= text_.size()) return size_t{0};
  return to.CopyOut(std::as_bytes(std::span<const char>(text_)).subspan(offset));
}

Result<size_t> TextFile::PWrite(const vfs::OpContext& ctx, mm::IoSequence& from, uint64_t) {
  char text[arch::kPageSize];
  size_t n = std::min(from.size(), sizeof(text));
  if (n == 0) return n;  // a write of nothing tells nothing
  n = TRY(from.CopyIn(std::as_writable_bytes(std::span(text, n))));
  TRY(text_inode().Store(ctx, std::string_view(text, n)));
  return n;
}

// seq_lseek: SEEK_SET and SEEK_CUR only; what follows the text is empty.
Result<int64_t> TextFile::Seek(const vfs::OpContext&, int64_t offset, int whence) {
  sched::FiberMutexLock lock(position_mutex_);
  int64_t base = 0;
  if (whence == SEEK_CUR) {
    base = position_.load(std::memory_order_relaxed);
  } else if (whence == SEEK_END && text_inode().seeks_end()) {
    base = static_cast<int64_t>(text_inode().pseudo_fs().style().size);
  } else if (whence != SEEK_SET) {
    return Errno::kEINVAL;
  }
  int64_t to = 0;
  if (__builtin_add_overflow(base, offset, &to) || to < 0) return Errno::kEINVAL;
  position_.store(to, std::memory_order_relaxed);
  return to;
}

}  // namespace msentry::pseudofs
