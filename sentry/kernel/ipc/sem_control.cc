// semctl(2): looking at a set of semaphores, setting and removing it.
#include <algorithm>

#include "sentry/kernel/ipc/sem.h"

namespace msentry::kernel {

Result<> SemSet::CheckNumber(int number) const {
  if (number < 0 || number >= count) return Errno::kEINVAL;
  return Ok();
}

abi::Semid64Ds SemSet::StatLocked() const {
  abi::Semid64Ds s{};
  s.perm = Permissions();
  s.otime = otime_;
  s.ctime = ctime;
  s.nsems = static_cast<uint64_t>(count);
  return s;
}

Result<abi::Semid64Ds> SemSet::Stat(const auth::Credentials& creds, bool any) const {
  MutexLock lock(mutex());
  if (!any) TRY(CheckAccess(creds, 0444));
  TRY(CheckAlive());
  return StatLocked();
}

Result<SemSet::Semaphore> SemSet::Get(const auth::Credentials& creds, int number) const {
  MutexLock lock(mutex());
  TRY(CheckAccess(creds, 0444));
  TRY(CheckNumber(number));
  TRY(CheckAlive());
  return semaphores_[static_cast<size_t>(number)];
}

Result<std::vector<uint16_t>> SemSet::GetAll(const auth::Credentials& creds) const {
  MutexLock lock(mutex());
  TRY(CheckAccess(creds, 0444));
  TRY(CheckAlive());
  std::vector<uint16_t> values;
  values.reserve(semaphores_.size());
  for (const Semaphore& s : semaphores_) values.push_back(static_cast<uint16_t>(s.value));
  return values;
}

Result<> SemSet::Set(const auth::Credentials& creds, int number, int value, int pid) {
  if (value < 0 || value > kSemMaxValue) return Errno::kERANGE;
  MutexLock lock(mutex());
  TRY(CheckNumber(number));
  TRY(CheckAccess(creds, 0222));
  TRY(CheckAlive());
  for (auto& [list, adjustments] : undo_) {
    auto found = adjustments.by_number.find(number);
    if (found != adjustments.by_number.end()) found->second = 0;
  }
  semaphores_[static_cast<size_t>(number)] = {value, pid};
  ctime = IpcNow();
  Settle();
  return Ok();
}

Result<> SemSet::SetAll(const auth::Credentials& creds, std::span<const uint16_t> values, int pid) {
  MutexLock lock(mutex());
  TRY(CheckAccess(creds, 0222));
  TRY(CheckAlive());
  if (std::any_of(values.begin(), values.end(), [](int v) { return v > kSemMaxValue; })) {
    return Errno::kERANGE;
  }
  for (auto& [list, adjustments] : undo_) {
    for (auto& [number, adjustment] : adjustments.by_number) adjustment = 0;
  }
  for (size_t i = 0; i < values.size(); ++i) semaphores_[i] = {values[i], pid};
  ctime = IpcNow();
  Settle();
  return Ok();
}

Result<> SemSet::SetPermissions(const auth::Credentials& creds, const abi::Ipc64Perm& to) {
  MutexLock lock(mutex());
  TRY(CheckAlive());
  TRY(CheckOwner(creds));
  TRY(SetOwner(to));
  ctime = IpcNow();
  return Ok();
}

}  // namespace msentry::kernel
