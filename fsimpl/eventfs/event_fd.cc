#include "fsimpl/eventfs/event_fd.h"

#include "absl/strings/str_format.h"
#include "sentry/mm/io_sequence.h"
#include "vfs/vfs.h"

namespace msentry::eventfs {
namespace {

constexpr uint64_t kMax = UINT64_MAX - 1;
constexpr sched::EventMask kReadable = sched::kIn | sched::kRdNorm;
constexpr sched::EventMask kWritable = sched::kOut | sched::kWrNorm;

}  // namespace

const char EventFd::kClassTag = 0;

EventFd::EventFd(vfs::Location location, int flags, uint64_t initial, bool semaphore)
    : FileDescription(std::move(location), O_RDWR | flags),
      semaphore_(semaphore),
      count_(initial) {}

Result<size_t> EventFd::Read(const vfs::OpContext&, mm::IoSequence& to) {
  if (to.size() < sizeof(uint64_t)) return Errno::kEINVAL;
  uint64_t count = count_.load();
  uint64_t taken;
  do {
    if (count == 0) return Errno::kEAGAIN;
    taken = semaphore_ ? 1 : count;
  } while (!count_.compare_exchange_weak(count, count - taken));
  queue_.Notify(kWritable);
  return to.CopyOut(std::as_bytes(std::span(&taken, 1)));
}

Result<size_t> EventFd::Write(const vfs::OpContext&, mm::IoSequence& from) {
  if (from.size() < sizeof(uint64_t)) return Errno::kEINVAL;
  uint64_t add;
  mm::IoSequence number = from.Prefix(sizeof add);  // the caller may try again with `from`
  if (TRY(number.CopyIn(std::as_writable_bytes(std::span(&add, 1)))) < sizeof add) {
    return Errno::kEFAULT;
  }
  if (add == UINT64_MAX) return Errno::kEINVAL;
  uint64_t count = count_.load();
  do {
    if (add > kMax - count) return Errno::kEAGAIN;
  } while (!count_.compare_exchange_weak(count, count + add));
  if (add != 0) queue_.Notify(kReadable);
  from.Skip(sizeof add);
  return sizeof add;
}

void EventFd::Add(uint64_t n) {
  uint64_t count = count_.load();
  while (!count_.compare_exchange_weak(count, count + std::min(n, kMax - count))) {
  }
  queue_.Notify(kReadable);
}

sched::EventMask EventFd::Readiness(sched::EventMask mask) {
  const uint64_t count = count_.load();
  sched::EventMask ready = 0;
  if (count > 0) ready |= kReadable;
  if (count < kMax) ready |= kWritable;
  return ready & mask;
}

std::string EventFd::FdInfo() { return absl::StrFormat("eventfd-count: %16x\n", count_.load()); }

RefPtr<EventFd> MakeEventFd(const vfs::OpContext& ctx, uint32_t initial, bool semaphore,
                            int flags) {
  return MakeRef<EventFd>(
      vfs::MakeAnonymousLocation(vfs::MakeAnonymousInode(ctx.vfs, ctx.creds, 0600),
                                 "anon_inode:[eventfd]"),
      flags, initial, semaphore);
}

}  // namespace msentry::eventfs
