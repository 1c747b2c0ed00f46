#include "sentry/kernel/ipc/sem.h"

#include <sys/sem.h>

#include <algorithm>

#include "sentry/kernel/task.h"

namespace msentry::kernel {
namespace {

constexpr uint64_t kUndoEntryBytes = 96;  // of a node in Adjustments, about

}  // namespace

struct SemSet::Waiter {
  Operations operations;
  SemUndoList* undo = nullptr;
  int pid = 0;
  size_t blocked = 0;  // the operation it waits for
  sched::Fiber* fiber = nullptr;
  bool done = false;  // set's mutex
  Result<> outcome = Ok();
  Waiter* next = nullptr;
  Waiter* previous = nullptr;
};

SemSet::SemSet(int key, uint32_t mode, const auth::Credentials& creator, int count,
               IpcCharge charge)
    : IpcObject(key, mode, creator),
      count(count),
      semaphores_(static_cast<size_t>(count)),
      charge_(std::move(charge)) {}

Result<int> SemSet::Get(Task& task, int key, int count, int flags) {
  const RefPtr<IpcNamespace> ns = task.ipc();
  const auth::CredsRef creds = task.creds();
  if (count < 0 || count > ns->limits.semmsl) return Errno::kEINVAL;
  auto make = [&]() -> Result<RefPtr<IpcObject>> {
    if (count == 0) return Errno::kEINVAL;
    const uint64_t used = ns->semaphores_used.load(std::memory_order_relaxed);
    if (used + static_cast<uint64_t>(count) > static_cast<uint64_t>(ns->limits.semmns.load())) {
      return Errno::kENOSPC;
    }
    IpcCharge charge =
        TRY(IpcCharge::Take(sizeof(SemSet) + sizeof(Semaphore) * static_cast<size_t>(count)));
    ns->semaphores_used.fetch_add(static_cast<uint64_t>(count), std::memory_order_relaxed);
    return RefPtr<IpcObject>(
        MakeRef<SemSet>(key, static_cast<uint32_t>(flags), *creds, count, std::move(charge)));
  };
  auto check = [&](const IpcObject& found) -> Result<> {
    if (count > static_cast<const SemSet&>(found).count) return Errno::kEINVAL;
    return Ok();
  };
  return ns->semaphores.Get(*creds, key, flags, ns->limits.semmni, make, check);
}

Result<RefPtr<SemSet>> SemSet::Find(IpcNamespace& ns, int id) {
  RefPtr<IpcObject> object = TRY(ns.semaphores.Find(id));
  return RefPtr<SemSet>(static_cast<SemSet*>(object.get()));
}

Result<> SemSet::Try(Operations operations, SemUndoList* undo, int pid, size_t* blocked) {
  size_t i = 0;
  Result<> outcome = Ok();
  // Two entries of one semaphore see each other's effect, so the values change as we go.
  std::map<int, int>* adjustments = undo != nullptr ? &undo_[undo].by_number : nullptr;
  for (; i < operations.size(); ++i) {
    const abi::Sembuf& op = operations[i];
    Semaphore& semaphore = semaphores_[op.num];
    const int value = semaphore.value + op.op;
    if (op.op == 0 ? semaphore.value != 0 : value < 0) {
      *blocked = i;
      outcome = Errno::kEAGAIN;
      break;
    }
    if (value > kSemMaxValue) {
      outcome = Errno::kERANGE;
      break;
    }
    if ((op.flags & SEM_UNDO) && op.op != 0) {
      int& adjustment = (*adjustments)[op.num];
      const int changed = adjustment - op.op;
      if (changed < -kSemMaxValue - 1 || changed > kSemMaxValue) {
        outcome = Errno::kERANGE;
        break;
      }
      adjustment = changed;
    }
    semaphore.value = value;
  }
  if (outcome.ok()) {
    for (const abi::Sembuf& op : operations) semaphores_[op.num].pid = pid;
    otime_ = IpcNow();
    return Ok();
  }
  while (i-- > 0) {
    const abi::Sembuf& op = operations[i];
    semaphores_[op.num].value -= op.op;
    if ((op.flags & SEM_UNDO) && op.op != 0) (*adjustments)[op.num] += op.op;
  }
  return outcome;
}

void SemSet::Unlink(Waiter& waiter) {
  (waiter.previous ? waiter.previous->next : first_) = waiter.next;
  (waiter.next ? waiter.next->previous : last_) = waiter.previous;
}

void SemSet::Settle() {
  for (Waiter* w = first_; w != nullptr;) {
    const Result<> outcome = Try(w->operations, w->undo, w->pid, &w->blocked);
    const bool again = !outcome.ok() && outcome.error() == Errno::kEAGAIN &&
                       !(w->operations[w->blocked].flags & IPC_NOWAIT);
    if (again) {
      w = w->next;
      continue;
    }
    Waiter* const next = w->next;
    const bool altered =
        outcome.ok() && std::any_of(w->operations.begin(), w->operations.end(),
                                    [](const abi::Sembuf& op) { return op.op != 0; });
    Unlink(*w);
    w->outcome = outcome;
    w->done = true;
    sched::Unpark(w->fiber);  // under the lock: the waiter takes it before it goes
    // What it did may let those before it go on.
    w = altered ? first_ : next;
  }
}

// Room for the adjustments that `operations` may make, so that carrying them out cannot fail.
Result<> SemSet::ReserveUndo(Operations operations, SemUndoList& undo) {
  auto [entry, is_new] = undo_.try_emplace(&undo);
  uint64_t added = is_new ? 1 : 0;
  for (const abi::Sembuf& op : operations) {
    if ((op.flags & SEM_UNDO) && op.op != 0) {
      added += entry->second.by_number.try_emplace(op.num, 0).second ? 1 : 0;
    }
  }
  if (added == 0) return Ok();
  Result<IpcCharge> charge = IpcCharge::Take(added * kUndoEntryBytes);
  if (!charge.ok()) {
    // Entries of zero cost nothing but memory: without room for them they go.
    std::erase_if(entry->second.by_number, [](const auto& a) { return a.second == 0; });
    if (entry->second.by_number.empty()) undo_.erase(entry);
    return charge.error();
  }
  entry->second.charge.Add(*std::move(charge));
  return Ok();
}

Result<> SemSet::Operate(Task& task, Operations operations, int64_t deadline_ns) {
  bool alters = false, undoes = false;
  int highest = 0;
  for (const abi::Sembuf& op : operations) {
    highest = std::max<int>(highest, op.num);
    alters |= op.op != 0;
    undoes |= (op.flags & SEM_UNDO) && op.op != 0;
  }
  Waiter waiter;
  waiter.operations = operations;
  waiter.pid = task.tgid();
  waiter.fiber = task.fiber();
  if (highest >= count) return Errno::kEFBIG;
  if (undoes) {
    waiter.undo = &task.sem_undo();
    waiter.undo->Remember(*this);
  }
  {
    MutexLock lock(mutex());
    TRY(CheckAlive());
    TRY(CheckAccess(*task.creds(), alters ? 0222 : 0444));
    if (undoes) TRY(ReserveUndo(operations, *waiter.undo));
    const Result<> outcome = Try(operations, waiter.undo, waiter.pid, &waiter.blocked);
    if (outcome.ok()) {
      if (alters) Settle();
      return Ok();
    }
    if (outcome.error() != Errno::kEAGAIN) return outcome;
    if (operations[waiter.blocked].flags & IPC_NOWAIT) return Errno::kEAGAIN;
    waiter.previous = last_;
    (last_ ? last_->next : first_) = &waiter;
    last_ = &waiter;
  }
  for (;;) {
    const Task::Wake wake = task.Block(deadline_ns);
    MutexLock lock(mutex());
    if (waiter.done) return waiter.outcome;
    if (wake == Task::Wake::kEvent) continue;
    Unlink(waiter);
    return wake == Task::Wake::kTimedOut ? Errno::kEAGAIN : Errno::kEINTR;
  }
}

Result<int> SemSet::Waiting(const auth::Credentials& creds, int number, bool for_zero) const {
  MutexLock lock(mutex());
  TRY(CheckAccess(creds, 0444));
  TRY(CheckNumber(number));
  TRY(CheckAlive());
  int waiting = 0;
  for (const Waiter* w = first_; w != nullptr; w = w->next) {
    const abi::Sembuf& op = w->operations[w->blocked];
    if (op.num == number && (op.op == 0) == for_zero) ++waiting;
  }
  return waiting;
}

Result<> SemSet::Destroy(IpcNamespace& ns, SemSet& set, const auth::Credentials& creds) {
  std::vector<Semaphore> semaphores;  // dropped after the lock, as the rest
  std::map<SemUndoList*, Adjustments> undo;
  {
    MutexLock lock(set.mutex());
    TRY(set.CheckAlive());
    TRY(set.CheckOwner(creds));
    set.MarkRemovedLocked();
    semaphores.swap(set.semaphores_);
    undo.swap(set.undo_);
    set.charge_ = {};
    for (Waiter* w = set.first_; w != nullptr;) {
      Waiter* const next = w->next;
      w->outcome = Errno::kEIDRM;
      w->done = true;
      sched::Unpark(w->fiber);
      w = next;
    }
    set.first_ = set.last_ = nullptr;
  }
  ns.semaphores_used.fetch_sub(static_cast<uint64_t>(set.count), std::memory_order_relaxed);
  ns.semaphores.Remove(set);
  return Ok();
}

void SemUndoList::Remember(SemSet& set) {
  std::vector<RefPtr<SemSet>> gone;  // dropped after the lock
  MutexLock lock(mutex_);
  for (const auto& known : sets_) {
    if (known.get() == &set) return;
  }
  if (sets_.size() >= prune_at_) {
    auto alive = [](const RefPtr<SemSet>& s) {
      MutexLock set_lock(s->mutex());
      return !s->removed();
    };
    auto first_gone = std::stable_partition(sets_.begin(), sets_.end(), alive);
    gone.assign(std::make_move_iterator(first_gone), std::make_move_iterator(sets_.end()));
    sets_.erase(first_gone, sets_.end());
    prune_at_ = std::max<size_t>(16, sets_.size() * 2);
  }
  sets_.push_back(RefPtr<SemSet>(&set));
}

void SemUndoList::RemoveUser(int pid) {
  if (users_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  std::vector<RefPtr<SemSet>> sets;
  {
    MutexLock lock(mutex_);
    sets.swap(sets_);
  }
  for (const auto& set : sets) set->CarryOutUndo(*this, pid);
}

void SemSet::CarryOutUndo(SemUndoList& undo, int pid) {
  MutexLock lock(mutex());
  auto found = undo_.find(&undo);
  if (found == undo_.end()) return;
  for (const auto& [number, adjustment] : found->second.by_number) {
    if (adjustment == 0) continue;
    Semaphore& semaphore = semaphores_[static_cast<size_t>(number)];
    semaphore.value = std::clamp(semaphore.value + adjustment, 0, kSemMaxValue);
    semaphore.pid = pid;
  }
  undo_.erase(found);
  otime_ = IpcNow();
  Settle();
}

}  // namespace msentry::kernel
