// Thread: guest memory through the slot. Arguments that the stub has copied in are read there;
// results wait there until the stub carries them out, on its way back to guest code.
#include "platform/systrap/guest_thread.h"

#include <sys/syscall.h>

#include "platform/systrap/platform_impl.h"

namespace msentry::systrap {
namespace {

constexpr uint64_t kOutRoom = kOutMax - 64;  // the end is guest_patch.cc's
constexpr size_t kMaxDeferred = 4096;  // of one small result; larger ones take the bulk window
constexpr size_t kMaxDeferredOps = 40;

}  // namespace

void Thread::ReadMarshalled(const arch::Registers& registers) {
  marshalled_ = __atomic_load_n(&slot_->marshalled, __ATOMIC_RELAXED) != 0;
  if (!marshalled_) return;
  for (int i = 0; i < 6; ++i) {
    uint64_t length = __atomic_load_n(&slot_->arg_length[i], __ATOMIC_RELAXED);
    uint64_t offset = __atomic_load_n(&slot_->arg_offset[i], __ATOMIC_RELAXED);
    // rt_sigreturn has no argument but its stack.
    uint64_t begin = registers.orig_rax == SYS_rt_sigreturn ? registers.rsp : registers.arg(i);
    // The stub is not trusted: only what lies in the slot's two areas and is guest memory.
    bool fits = (offset >= kArgsOffset && offset <= kArgsOffset + kArgsMax &&
                 length <= kArgsOffset + kArgsMax - offset) ||
                (offset == kBulkOffset && length <= kBulkMax);
    if (!fits || begin >= arch::kTaskSize || length > arch::kTaskSize - begin) length = 0;
    args_[i] = {{begin, begin + length}, offset};
  }
}

std::span<std::byte> Thread::Marshalled(uint64_t address, size_t length) {
  if (!marshalled_) return {};
  for (const MarshalledArg& arg : args_) {
    if (address < arg.guest.begin || address >= arg.guest.end) continue;
    size_t n = std::min<uint64_t>(length, arg.guest.end - address);
    return {SlotFile::Bytes(slot_, arg.offset + (address - arg.guest.begin)), n};
  }
  return {};
}

bool Thread::Deferred(uint64_t address, size_t length) const {
  for (const Range& range : deferred_) {
    if (range.Overlaps(address, address + length)) return true;
  }
  return false;
}

void Thread::Flushed() {
  pending_.clear();
  deferred_.clear();
  out_used_ = 0;
  bulk_deferred_ = false;
}

bool Thread::Flush() {
  if (pending_.empty()) return !gone_;
  marshalled_ = false;
  Seize();
  Result<int64_t> result = ExecuteSome({});
  Unseize();
  return result.ok();
}

Result<size_t> Thread::CopyIn(uint64_t address, std::span<std::byte> out) {
  if (out.empty()) return size_t{0};
  if (!deferred_.empty() && Deferred(address, out.size()) && !Flush()) return Errno::kEFAULT;
  std::span<std::byte> here = Marshalled(address, out.size());
  if (here.empty()) {
    return StubIsAwake() ? CopyInByStub(address, out) : space_->CopyIn(address, out);
  }
  memcpy(out.data(), here.data(), here.size());
  return here.size();
}

// Asking a stub that waits for us anyway costs a third of process_vm_readv; waking it more.
bool Thread::StubIsAwake() const {
  return come() && !gone_ && platform_.stubs_spin() &&
         !__atomic_load_n(&slot_->sleeping, __ATOMIC_RELAXED) &&
         !__atomic_load_n(&slot_->doze, __ATOMIC_RELAXED);
}

// Through what is free of the results' area.
Result<size_t> Thread::CopyInByStub(uint64_t address, std::span<std::byte> out) {
  if (address >= arch::kTaskSize) return Errno::kEFAULT;
  const uint64_t offset = kOutOffset + out_used_;
  const size_t n =
      std::min<uint64_t>({out.size(), arch::kTaskSize - address, kOutRoom - out_used_});
  if (n == 0) return space_->CopyIn(address, out);
  const Op op{kOpCopyIn, 0, {address, offset, n}};
  Result<int64_t> got = Execute(std::span(&op, 1));
  if (!got.ok() || *got <= 0) return Errno::kEFAULT;
  out = out.first(std::min<size_t>(n, static_cast<size_t>(*got)));
  memcpy(out.data(), SlotFile::Bytes(slot_, offset), out.size());
  space_->patcher().HidePatches(address, out);
  return out.size();
}

Result<size_t> Thread::CopyOut(uint64_t address, std::span<const std::byte> in) {
  if (in.empty()) return size_t{0};
  if (gone_ || address >= arch::kTaskSize || in.size() > arch::kTaskSize - address) {
    return space_->CopyOut(address, in);
  }
  // What the stub copied in is no longer what is there.
  for (const MarshalledArg& arg : args_) {
    if (marshalled_ && arg.guest.Overlaps(address, address + in.size())) marshalled_ = false;
  }
  if (space_->patcher().MayHold(address, in.size())) Undo(address, in.size());
  if (in.size() > kMaxDeferred && in.size() <= kBulkMax && !bulk_deferred_ &&
      pending_.size() < kMaxDeferredOps) {
    TakeBulkWindow();
    memcpy(SlotFile::Bytes(slot_, kBulkOffset), in.data(), in.size());
    Defer(address, kBulkOffset, in.size());
    bulk_deferred_ = true;
    return in.size();
  }
  if (in.size() > kMaxDeferred || out_used_ + in.size() > kOutRoom ||
      pending_.size() >= kMaxDeferredOps) {
    // In order: what was deferred must not come later than this.
    if (!deferred_.empty() && !Flush()) return Errno::kEFAULT;
    return space_->CopyOut(address, in);
  }
  uint64_t offset = kOutOffset + out_used_;
  memcpy(SlotFile::Bytes(slot_, offset), in.data(), in.size());
  out_used_ += (in.size() + 7) & ~uint64_t{7};
  Defer(address, offset, in.size());
  return in.size();
}

void Thread::Defer(uint64_t address, uint64_t offset, size_t bytes) {
  pending_.push_back(Op{kOpCopyOut, 0, {address, offset, bytes, 0}});
  deferred_.push_back({address, address + bytes});
}

// What the stub had copied to the bulk window is overwritten.
void Thread::TakeBulkWindow() {
  for (MarshalledArg& arg : args_) {
    if (arg.offset == kBulkOffset) arg.guest = {};
  }
}

std::span<std::byte> Thread::BeginBulk(uint64_t address, size_t length, Direction direction) {
  if (gone_ || length == 0 || address >= arch::kTaskSize) return {};
  length = std::min<uint64_t>(length, arch::kTaskSize - address);
  bulk_address_ = address;
  bulk_direction_ = direction;
  size_t n = std::min<size_t>(length, kBulkMax);
  std::span<std::byte> window(SlotFile::Bytes(slot_, kBulkOffset), n);
  if (direction == Direction::kToGuest) {
    if (bulk_deferred_ && !Flush()) return {};
    TakeBulkWindow();
    for (const MarshalledArg& arg : args_) {
      if (marshalled_ && arg.guest.Overlaps(address, address + n)) marshalled_ = false;
    }
    return window;
  }
  if (!deferred_.empty() && Deferred(address, length) && !Flush()) return {};
  if (std::span<std::byte> here = Marshalled(address, length); !here.empty()) return here;
  if (bulk_deferred_ && !Flush()) return {};
  TakeBulkWindow();
  const Op op{kOpCopyIn, 0, {address, kBulkOffset, n}};
  Result<int64_t> got = Execute(std::span(&op, 1));
  if (!got.ok() || *got <= 0) return {};
  return window.first(std::min<size_t>(n, static_cast<size_t>(*got)));
}

Result<> Thread::FinishBulk(size_t bytes) {
  if (bulk_direction_ != Direction::kToGuest || bytes == 0) return Ok();
  CHECK(bytes <= kBulkMax);
  Defer(bulk_address_, kBulkOffset, bytes);
  bulk_deferred_ = true;
  return Ok();
}

}  // namespace msentry::systrap
