// Patcher: the protections of a guest address space, as its memory operations made them, and which
// call sites have been turned into jumps (patch_forms.h). Bookkeeping only: a Thread carries the
// plans out.
//
// Only private file mappings that the guest cannot write are patched: our first write makes a
// private copy of the page, which goes away with the mapping and is inherited by fork. A guest's
// debugger, and every copy the sentry makes, sees the original bytes (HidePatches).
//
// Any thread; one leaf lock. Plans are made and carried out with the space's layout lock held, so
// one at a time, and no fork and no memory operation comes between.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "platform/platform.h"
#include "platform/systrap/patch_forms.h"
#include "sentry/base/mutex.h"

namespace msentry::systrap {

// One change of code, to be carried out by a thread of the space.
struct PatchPlan {
  uint64_t call = 0;   // the site
  uint64_t start = 0;  // the eight bytes that change
  uint64_t old_bytes = 0, new_bytes = 0;
  bool undo = false;
  bool check_old = true;               // change nothing if the bytes are not old_bytes
  uint64_t page = 0, page_length = 0;  // to be made writable meanwhile
  int protection = 0;                  // what they have, and get back
  uint64_t trampoline = 0;             // 0: none to be written
  uint8_t code[kTrampolineSize] = {};
};
inline constexpr uint64_t kArenaSize = 0x10000;

class Patcher {
 public:
  Patcher() = default;
  // For a forked child, whose memory is a copy.
  std::unique_ptr<Patcher> Clone();

  // Before a memory operation is carried out: what has to be undone first, so that nothing we wrote
  // is left behind or pulled away.
  std::vector<PatchPlan> Before(const platform::MemoryOp& op);

  // A call trapped with rip behind `call + 2`. True if it is time to look at the code there (the
  // caller reads it and asks Plan).
  bool Trapped(uint64_t call);
  // What to do there; nothing if the code (as it is, patches not hidden) has no form we know.
  // `need_arena` is set when no arena has a place for the trampoline: map kArenaSize bytes at one
  // of ArenaCandidates, AddArena, ask again.
  std::optional<PatchPlan> Plan(uint64_t call, uint64_t number, std::span<const uint8_t> code,
                                bool* need_arena);
  std::vector<uint64_t> ArenaCandidates(uint64_t call);  // best first
  void AddArena(uint64_t base);
  // The plan's trampoline is written: threads may be sent there.
  void Written(const PatchPlan& plan);
  void Done(const PatchPlan& plan, bool patched);
  // The site is never looked at again.
  void Refuse(uint64_t call);

  // Changes whenever an answer of ToHost may.
  uint64_t generation() const { return generation_.load(std::memory_order_seq_cst); }
  // Guest addresses and where a thread really stands: they differ inside trampolines only.
  uint64_t ToGuest(uint64_t rip);
  uint64_t ToHost(uint64_t rip);
  // A fault at `rip` that a patch made: where the thread goes on (a host address). `resumed_in`:
  // the generation when the thread last resumed. A patch that was there then may be undone by now.
  std::optional<uint64_t> FixFault(int signo, uint64_t rip, uint64_t resumed_in);

  // False: no patch is in that range. The quick answer for a guest's data: what it can write holds
  // none.
  bool MayHold(uint64_t address, uint64_t length);
  // `bytes` were read at `address`: puts the original bytes over ours.
  void HidePatches(uint64_t address, std::span<std::byte> bytes);
  // The patches in a range that is about to be written, to be undone first.
  std::vector<PatchPlan> Undo(uint64_t address, uint64_t length);
  // The protection at `address` and where it ends; nothing if nothing is mapped there.
  struct Protected {
    int protection;
    uint64_t end;
  };
  std::optional<Protected> Protection(uint64_t address);

 private:
  struct Mapping {
    uint64_t begin, end;
    int protection;
    bool private_file;  // may be patched
    bool SameKind(const Mapping& o) const {
      return protection == o.protection && private_file == o.private_file;
    }
  };
  // kWriting: the trampoline is being written, nothing leads to it yet. kPatching: it is there, the
  // site's bytes are changing. kUndoing: they are changing back.
  enum class State : uint8_t { kCounting, kWriting, kPatching, kPatched, kUndoing, kRefused };
  struct Site {
    State state = State::kCounting;
    uint16_t traps = 0;
    uint64_t trampoline = 0;
    PatchSite site;
  };
  struct Arena {
    uint64_t base;
    std::vector<bool> used;
  };

  // Replaces what is noted for [begin, end) by `with` (sorted, inside the range).
  void Replace(uint64_t begin, uint64_t end, std::span<const Mapping> with)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  const Mapping* Find(uint64_t address) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EraseSites(uint64_t begin, uint64_t end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void UndoRange(uint64_t begin, uint64_t end, std::vector<PatchPlan>& plans)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool FillPages(PatchPlan& plan) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Site* SiteOfTrampoline(uint64_t rip) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Its bytes are ours or about to be, and its trampoline may be used.
  static bool Active(const Site& site) {
    return site.state == State::kPatching || site.state == State::kPatched ||
           site.state == State::kUndoing;
  }
  void Recount() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Mutex mutex_;
  std::vector<Mapping> mappings_ ABSL_GUARDED_BY(mutex_);                        // sorted, disjoint
  absl::flat_hash_map<uint64_t, Site> sites_ ABSL_GUARDED_BY(mutex_);            // by call address
  absl::flat_hash_map<uint64_t, uint64_t> trampolines_ ABSL_GUARDED_BY(mutex_);  // to call
  std::vector<Arena> arenas_ ABSL_GUARDED_BY(mutex_);
  // Sites that are patched or about to be: the callers' short cut when there are none.
  std::atomic<int> active_{0};
  std::atomic<uint64_t> generation_{1};
};

}  // namespace msentry::systrap
