// Thread: turning call sites into jumps, and undoing it (patcher.h has the bookkeeping).
#include <sys/mman.h>
#include <sys/syscall.h>

#include "platform/systrap/guest_thread.h"
#include "platform/systrap/platform_impl.h"

namespace msentry::systrap {
namespace {

// Where a trampoline's bytes wait in the slot for kOpCopyOut: the end of the results' area.
constexpr uint64_t kTrampolineAt = kOutOffset + kOutMax - kTrampolineSize;

}  // namespace

std::vector<Op> Thread::PatchOps(const PatchPlan& plan) {
  uint64_t all = PROT_READ | PROT_WRITE | PROT_EXEC;
  uint64_t flags = (plan.check_old ? kPatchCheck : 0) | (space_->threads() > 1 ? kPatchThreads : 0);
  return {
      HostCall(SYS_mprotect, plan.page, plan.page_length, all),
      Op{kOpPatch, 0, {plan.start, plan.old_bytes, plan.new_bytes, flags}},
      HostCall(SYS_mprotect, plan.page, plan.page_length, static_cast<uint64_t>(plan.protection))};
}

void Thread::Undo(uint64_t address, uint64_t length) {
  sched::FiberMutexLock lock(space_->layout_mutex());
  for (const PatchPlan& plan : space_->patcher().Undo(address, length)) CarryOut(plan);
}

void Thread::CarryOut(const PatchPlan& plan) {
  Patcher& patcher = space_->patcher();
  if (plan.trampoline) {
    // First, and only then may other threads be sent to it.
    memcpy(SlotFile::Bytes(slot_, kTrampolineAt), plan.code, kTrampolineSize);
    const Op op{kOpCopyOut, 0, {plan.trampoline, kTrampolineAt, kTrampolineSize, 1}};
    if (!Execute(std::span(&op, 1)).ok()) return patcher.Done(plan, false);
    patcher.Written(plan);
  }
  std::vector<Op> ops = PatchOps(plan);
  std::deque<Expected> calls;
  for (const Op& op : ops) Announce(op, -1, calls);
  if (gone_) return patcher.Done(plan, false);
  Seize();
  __atomic_store_n(&slot_->patch_failed, 1, __ATOMIC_RELAXED);
  bool patched = ExecuteHeld(ops, std::move(calls)).ok() &&
                 __atomic_load_n(&slot_->patch_failed, __ATOMIC_RELAXED) == 0;
  Unseize();
  patcher.Done(plan, patched);
}

void Thread::CarryOutSeized(const PatchPlan& plan) {
  for (const Op& op : PatchOps(plan)) (void)ExecuteSeized(op).ok();
  space_->patcher().Done(plan, true);
}

bool Thread::MapArena(uint64_t call) {
  for (uint64_t base : space_->patcher().ArenaCandidates(call)) {
    const Op op =
        HostCall(SYS_mmap, base, kArenaSize, PROT_READ | PROT_WRITE | PROT_EXEC,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, ~0ull, 0);
    std::deque<Expected> calls;
    Announce(op, -1, calls);
    Result<int64_t> at = Execute(std::span(&op, 1), std::move(calls));
    if (gone_) return false;
    if (at.ok() && *at == static_cast<int64_t>(base)) {
      space_->patcher().AddArena(base);
      return true;
    }
  }
  return false;
}

void Thread::ConsiderPatch(const arch::Registers& registers) {
  Patcher& patcher = space_->patcher();
  uint64_t call = registers.rip - 2;
  if (!patcher.Trapped(call)) return;
  sched::FiberMutexLock lock(space_->layout_mutex());
  if (space_->gs_used.load(std::memory_order_relaxed)) return;
  // What cannot be read, beyond a mapping's ends, is zeros, which are no form of ours.
  uint8_t code[kCodeBefore + kCodeAfter] = {};
  std::span<std::byte> bytes = std::as_writable_bytes(std::span(code));
  size_t before = std::min<uint64_t>(kCodeBefore, call % arch::kPageSize);
  if (space_->CopyInAsItIs(call - kCodeBefore, bytes.first(kCodeBefore)).value_or(0) !=
      kCodeBefore) {
    memset(code, 0, kCodeBefore);
    (void)space_->CopyInAsItIs(call - before, bytes.subspan(kCodeBefore - before, before)).ok();
  }
  (void)space_->CopyInAsItIs(call, bytes.subspan(kCodeBefore)).ok();
  for (int attempt = 0; attempt < 2; ++attempt) {
    bool need_arena = false;
    std::optional<PatchPlan> plan =
        patcher.Plan(call, registers.orig_rax, std::span<const uint8_t>(code), &need_arena);
    if (plan) {
      CarryOut(*plan);
      return;
    }
    if (!need_arena) return;
    if (!MapArena(call)) break;
  }
  patcher.Refuse(call);
}

}  // namespace msentry::systrap
