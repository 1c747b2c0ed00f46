#include "platform/systrap/patcher.h"

#include <signal.h>
#include <sys/mman.h>

#include <algorithm>

#include "absl/container/inlined_vector.h"
#include "platform/systrap/stub/abi.h"
#include "sentry/base/check.h"

namespace msentry::systrap {
namespace {

// A site is patched when it has trapped this often: a patch costs about as much as four traps.
constexpr uint16_t kTrapsBeforePatch = 4;
// Traps at a patched site: its page has lost our bytes (MADV_DONTNEED), or the program jumps
// straight to the call; look again only now and then.
constexpr uint16_t kTrapsBeforeRetry = 64;
// What a guest can make us remember. Large programs have a few hundred sites.
constexpr size_t kMaxSites = 16384, kMaxArenas = 64;

// Program images are loaded below, libraries above.
constexpr uint64_t kMappingArea = 0x600000000000;

uint64_t PageDown(uint64_t a) { return a & ~(arch::kPageSize - 1); }
uint64_t PageUp(uint64_t a) { return PageDown(a + arch::kPageSize - 1); }

uint64_t Load8(const uint8_t* p) {
  uint64_t v;
  memcpy(&v, p, 8);
  return v;
}

bool Overlaps(uint64_t a_begin, uint64_t a_end, uint64_t b_begin, uint64_t b_end) {
  return a_begin < b_end && b_begin < a_end;
}

}  // namespace

std::unique_ptr<Patcher> Patcher::Clone() {
  auto child = std::make_unique<Patcher>();
  MutexLock lock(mutex_);
  MutexLock child_lock(child->mutex_);
  child->mappings_ = mappings_;
  child->sites_ = sites_;
  child->trampolines_ = trampolines_;
  child->arenas_ = arenas_;
  child->Recount();
  return child;
}

void Patcher::Recount() {
  int n = 0;
  for (const auto& [call, site] : sites_) n += Active(site);
  active_.store(n, std::memory_order_seq_cst);
  generation_.fetch_add(1, std::memory_order_seq_cst);
}

const Patcher::Mapping* Patcher::Find(uint64_t address) const {
  auto it = std::upper_bound(mappings_.begin(), mappings_.end(), address,
                             [](uint64_t a, const Mapping& m) { return a < m.end; });
  if (it == mappings_.end() || it->begin > address) return nullptr;
  return &*it;
}

std::optional<Patcher::Protected> Patcher::Protection(uint64_t address) {
  MutexLock lock(mutex_);
  const Mapping* m = Find(address);
  if (!m) return std::nullopt;
  return Protected{m->protection, m->end};
}

void Patcher::Replace(uint64_t begin, uint64_t end, std::span<const Mapping> with) {
  auto first = std::lower_bound(mappings_.begin(), mappings_.end(), begin,
                                [](const Mapping& m, uint64_t a) { return m.end <= a; });
  auto last = std::lower_bound(first, mappings_.end(), end,
                               [](const Mapping& m, uint64_t a) { return m.begin < a; });
  // At most two pieces are left of what was there, around the new ones.
  absl::InlinedVector<Mapping, 6> pieces;
  if (first != last && first->begin < begin) {
    pieces.push_back(*first);
    pieces.back().end = begin;
  }
  for (const Mapping& m : with) pieces.push_back(m);
  if (first != last && std::prev(last)->end > end) {
    pieces.push_back(*std::prev(last));
    pieces.back().begin = end;
  }
  // Neighbours of one kind become one.
  if (first != mappings_.begin()) pieces.insert(pieces.begin(), *--first);
  if (last != mappings_.end()) pieces.push_back(*last++);
  size_t n = 0;
  for (const Mapping& m : pieces) {
    if (n > 0 && pieces[n - 1].end == m.begin && pieces[n - 1].SameKind(m)) {
      pieces[n - 1].end = m.end;
    } else {
      pieces[n++] = m;
    }
  }
  size_t at = static_cast<size_t>(first - mappings_.begin());
  size_t old = static_cast<size_t>(last - first);
  size_t shared = std::min(old, n);
  std::copy_n(pieces.begin(), shared, first);
  if (n < old) mappings_.erase(first + static_cast<ptrdiff_t>(shared), last);
  if (n > old) {
    mappings_.insert(mappings_.begin() + static_cast<ptrdiff_t>(at + shared),
                     pieces.begin() + static_cast<ptrdiff_t>(shared),
                     pieces.begin() + static_cast<ptrdiff_t>(n));
  }
}

void Patcher::EraseSites(uint64_t begin, uint64_t end) {
  bool changed = false;
  for (auto it = sites_.begin(); it != sites_.end();) {
    const Site& s = it->second;
    // The trampoline stays allocated: a thread may still be on its way through it.
    if (it->first >= begin && it->first < end) {
      if (s.trampoline) trampolines_.erase(s.trampoline);
      sites_.erase(it++);
      changed = true;
    } else {
      ++it;
    }
  }
  if (changed) Recount();
}

bool Patcher::FillPages(PatchPlan& plan) const {
  const Mapping* m = Find(plan.start);
  if (!m || !m->private_file || m->end < plan.start + 8) return false;
  plan.page = PageDown(plan.start);
  plan.page_length = PageUp(plan.start + 8) - plan.page;
  plan.protection = m->protection;
  return true;
}

void Patcher::UndoRange(uint64_t begin, uint64_t end, std::vector<PatchPlan>& plans) {
  for (auto& [call, s] : sites_) {
    if (!Active(s) || !Overlaps(s.site.start, s.site.start + 8, begin, end)) continue;
    PatchCode code = MakePatch(s.site, s.trampoline);
    PatchPlan plan;
    plan.call = call;
    plan.start = s.site.start;
    plan.old_bytes = Load8(code.jump);
    plan.new_bytes = Load8(s.site.original);
    plan.check_old = s.state == State::kPatched;
    plan.undo = true;
    s.state = FillPages(plan) ? State::kUndoing : State::kRefused;
    if (s.state == State::kUndoing) plans.push_back(plan);
  }
  Recount();
}

bool Patcher::MayHold(uint64_t address, uint64_t length) {
  if (active_.load(std::memory_order_seq_cst) == 0) return false;
  MutexLock lock(mutex_);
  const Mapping* m = Find(address);
  return !m || !(m->protection & PROT_WRITE) || length > m->end - address;
}

std::vector<PatchPlan> Patcher::Undo(uint64_t address, uint64_t length) {
  std::vector<PatchPlan> plans;
  MutexLock lock(mutex_);
  UndoRange(address, address + length, plans);
  return plans;
}

std::vector<PatchPlan> Patcher::Before(const platform::MemoryOp& op) {
  using Kind = platform::MemoryOp::Kind;
  std::vector<PatchPlan> undo;
  MutexLock lock(mutex_);
  uint64_t begin = op.address, end = op.address + op.length;
  if (op.kind == Kind::kAdvise || op.kind == Kind::kSync) return undo;
  if (op.kind == Kind::kProtect) {
    // The guest may be about to write its code itself.
    if (op.protection & PROT_WRITE) UndoRange(begin, end, undo);
    std::vector<Mapping> changed;
    for (auto it = std::lower_bound(mappings_.begin(), mappings_.end(), begin,
                                    [](const Mapping&m, uint64_t a) { return m.end <= a; });
         it != mappings_.end() && it->begin < end; ++it) {
      changed.push_back(
          {std::max(it->begin, begin), std::min(it->end, end), op.protection, it->private_file});
    }
    Replace(begin, end, changed);
    return undo;
  }
  auto replaced = [&](uint64_t from, uint64_t to) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    // Trampolines that the guest maps something over: the sites that use them come first.
    for (Arena& arena : arenas_) {
      if (!Overlaps(arena.base, arena.base + kArenaSize, from, to)) continue;
      for (auto& [call, s] : sites_) {
        if (Active(s) && s.trampoline >= arena.base && s.trampoline < arena.base + kArenaSize) {
          UndoRange(s.site.start, s.site.start + 8, undo);
        }
      }
      arena.used.assign(kArenaSize / kTrampolineSize, true);  // not ours any more
    }
    if (!sites_.empty()) EraseSites(from, to);
  };
  if (op.kind == Kind::kRemap) {
    // Moved code keeps our jumps but not our notes of them: put it right before it moves.
    UndoRange(begin, end, undo);
    replaced(op.new_address, op.new_address + op.new_length);
    Mapping moved{};
    if (const Mapping* m = Find(begin)) moved = *m;
    Replace(begin, end, {});
    moved.begin = op.new_address;
    moved.end = op.new_address + op.new_length;
    Replace(moved.begin, moved.end, std::span(&moved, 1));
    replaced(begin, end);
    return undo;
  }
  replaced(begin, end);
  if (op.kind == Kind::kUnmap) {
    Replace(begin, end, {});
  } else {
    Mapping m{begin, end, op.protection,
              op.kind == Kind::kMapFile && (op.flags & MAP_TYPE) == MAP_PRIVATE};
    Replace(begin, end, std::span(&m, 1));
  }
  return undo;
}

bool Patcher::Trapped(uint64_t call) {
  MutexLock lock(mutex_);
  const Mapping* m = Find(call);
  if (!m || !m->private_file || !(m->protection & PROT_EXEC) || (m->protection & PROT_WRITE)) {
    return false;
  }
  if (sites_.size() >= kMaxSites && !sites_.contains(call)) return false;
  Site& s = sites_[call];
  if (s.state == State::kRefused || s.state == State::kPatching || s.state == State::kWriting ||
      s.state == State::kUndoing) {
    return false;
  }
  ++s.traps;
  if (s.state == State::kPatched) {
    if (s.traps < kTrapsBeforeRetry) return false;
    s.traps = 0;
    return s.site.form == PatchForm::kFollow;
  }
  return s.traps >= kTrapsBeforePatch;
}

void Patcher::Refuse(uint64_t call) {
  MutexLock lock(mutex_);
  sites_[call].state = State::kRefused;
  Recount();
}

std::vector<uint64_t> Patcher::ArenaCandidates(uint64_t call) {
  std::vector<uint64_t> candidates;
  constexpr uint64_t kReach = 0x7f000000;
  // Above the guest's range nobody else maps anything.
  if (arch::kTaskSize - call < kReach) {
    for (uint64_t i = 0; i < 4; ++i) candidates.push_back(arch::kTaskSize + i * kArenaSize);
  }
  MutexLock lock(mutex_);
  if (arenas_.size() >= kMaxArenas) return {};
  const Mapping* m = Find(call);
  // Where sentry/mm puts nothing by itself: new mappings go below the libraries, the heap grows
  // above the program. The host tells what is free.
  if (call >= kMappingArea) {
    uint64_t top = ((m ? m->end : call) + kArenaSize - 1) & ~(kArenaSize - 1);
    for (uint64_t step = 0x1000000; step < kReach; step *= 2) {
      if (top + step + kArenaSize < arch::kTaskSize) candidates.push_back(top + step);
    }
  } else {
    uint64_t base = (m ? m->begin : call) & ~(kArenaSize - 1);
    for (uint64_t step = 0x100000; step < kReach; step *= 2) {
      if (base > step + arch::kMinGuestAddress) candidates.push_back(base - step);
    }
  }
  return candidates;
}

void Patcher::AddArena(uint64_t base) {
  MutexLock lock(mutex_);
  arenas_.push_back(Arena{base, std::vector<bool>(kArenaSize / kTrampolineSize)});
}

std::optional<PatchPlan> Patcher::Plan(uint64_t call, uint64_t number,
                                       std::span<const uint8_t> code, bool* need_arena) {
  *need_arena = false;
  MutexLock lock(mutex_);
  Site& s = sites_[call];
  if (s.state != State::kCounting && s.state != State::kPatched) return std::nullopt;
  // The jump is there: another thread made it since this one trapped.
  if (s.state == State::kPatched &&
      (s.site.form == PatchForm::kMove || code[kCodeBefore] == kJumpOpcode)) {
    return std::nullopt;
  }
  std::optional<PatchSite> site = RecognizeSite(code, call, number);
  if (!site) {
    s.state = State::kRefused;
    Recount();
    return std::nullopt;
  }
  // Two sites must not share bytes: the later one stays as it is.
  for (const auto& [other, o] : sites_) {
    if (other != call && (Active(o) || o.state == State::kWriting) &&
        Overlaps(o.site.start, o.site.start + 8, site->start, site->start + 8)) {
      s.state = State::kRefused;
      return std::nullopt;
    }
  }
  PatchPlan plan;
  plan.call = call;
  plan.start = site->start;
  if (!FillPages(plan)) {
    s.state = State::kRefused;
    return std::nullopt;
  }
  for (Arena& arena : arenas_) {
    for (uint64_t i = 0; i < arena.used.size() && !plan.trampoline; ++i) {
      uint64_t at = arena.base + i * kTrampolineSize;
      if (arena.used[i] || !TrampolineFits(*site, at)) continue;
      arena.used[i] = true;
      plan.trampoline = at;
    }
    if (plan.trampoline) break;
  }
  if (!plan.trampoline) {
    *need_arena = true;
    return std::nullopt;
  }
  PatchCode made = MakePatch(*site, plan.trampoline);
  plan.old_bytes = Load8(site->original);
  plan.new_bytes = Load8(made.jump);
  memcpy(plan.code, made.trampoline, kTrampolineSize);
  if (s.trampoline) trampolines_.erase(s.trampoline);
  s.site = *site;
  s.trampoline = plan.trampoline;
  s.state = State::kWriting;
  trampolines_[plan.trampoline] = call;
  Recount();
  return plan;
}

void Patcher::Written(const PatchPlan& plan) {
  MutexLock lock(mutex_);
  Site& s = sites_[plan.call];
  CHECK(s.state == State::kWriting);
  s.state = State::kPatching;
  Recount();
}

void Patcher::Done(const PatchPlan& plan, bool patched) {
  MutexLock lock(mutex_);
  auto it = sites_.find(plan.call);
  if (it == sites_.end()) return;
  State state = it->second.state;
  if (plan.undo) {
    if (state == State::kUndoing) it->second.state = State::kRefused;
    Recount();
    return;
  }
  if (state != State::kPatching && state != State::kWriting) return;
  it->second.state = patched ? State::kPatched : State::kRefused;
  it->second.traps = 0;
  if (!patched) trampolines_.erase(plan.trampoline);
  Recount();
}

Patcher::Site* Patcher::SiteOfTrampoline(uint64_t rip) {
  auto t = trampolines_.find(rip & ~(kTrampolineSize - 1));
  if (t == trampolines_.end()) return nullptr;
  auto s = sites_.find(t->second);
  return s == sites_.end() ? nullptr : &s->second;
}

uint64_t Patcher::ToGuest(uint64_t rip) {
  if (active_.load(std::memory_order_seq_cst) == 0) return rip;
  MutexLock lock(mutex_);
  Site* s = SiteOfTrampoline(rip);
  if (!s) return rip;
  return GuestAddressInTrampoline(s->site, rip - s->trampoline);
}

uint64_t Patcher::ToHost(uint64_t rip) {
  if (active_.load(std::memory_order_seq_cst) == 0) return rip;
  MutexLock lock(mutex_);
  auto s = sites_.find(rip - 2);
  if (s == sites_.end() || !Active(s->second) || s->second.site.form != PatchForm::kFollow) {
    return rip;
  }
  return MakePatch(s->second.site, s->second.trampoline).resume;
}

std::optional<uint64_t> Patcher::FixFault(int signo, uint64_t rip, uint64_t resumed_in) {
  MutexLock lock(mutex_);
  if (sites_.empty()) return std::nullopt;
  // A site that was undone since the thread resumed has its own bytes again: the thread tries once
  // more, and if the fault is the program's, it comes back with nothing changed.
  const bool changed = generation() != resumed_in;
  if (signo == SIGTRAP) {
    // The int3 of a patch being made, maybe done by now: the thread shall try again.
    for (const auto& [call, s] : sites_) {
      if (s.trampoline && s.site.start == rip - 1 && (Active(s) || changed)) return rip - 1;
    }
    return std::nullopt;
  }
  if (signo != SIGILL && signo != SIGSEGV) return std::nullopt;
  auto it = sites_.find(rip - 2);
  if (it == sites_.end() || !it->second.trampoline || it->second.site.form != PatchForm::kFollow) {
    return std::nullopt;
  }
  if (Active(it->second)) return MakePatch(it->second.site, it->second.trampoline).resume;
  if (changed) return rip;
  return std::nullopt;
}

void Patcher::HidePatches(uint64_t address, std::span<std::byte> bytes) {
  if (!MayHold(address, bytes.size())) return;
  MutexLock lock(mutex_);
  const uint64_t end = address + bytes.size();
  for (const auto& [call, s] : sites_) {
    if (!Active(s) || !Overlaps(s.site.start, s.site.start + 8, address, end)) continue;
    for (uint64_t i = 0; i < kJumpSize; ++i) {
      uint64_t at = s.site.start + i;
      if (at >= address && at < end) {
        bytes[at - address] = static_cast<std::byte>(s.site.original[i]);
      }
    }
  }
}

}  // namespace msentry::systrap
