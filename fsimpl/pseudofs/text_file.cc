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

}  // namespace msentry::pseudofs
