#include "sentry/mm/populate.h"

#include <algorithm>
#include <atomic>

namespace msentry::mm {
namespace {

std::atomic<bool (*)()> signal_check{nullptr};

}  // namespace

void SetSignalCheck(bool (*check)()) { signal_check.store(check, std::memory_order_relaxed); }

Result<> PopulateInPieces(platform::GuestThread& thread, uint64_t start, uint64_t end, int advice) {
  auto* signal_due = signal_check.load(std::memory_order_relaxed);
  for (uint64_t at = start; at < end;) {
    if (at != start && signal_due != nullptr && signal_due()) return Errno::kERESTARTNOINTR;
    const uint64_t length = std::min(end - at, kPopulatePiece);
    platform::MemoryBatch batch;
    batch.Advise(at, length, advice);
    TRY(thread.Apply(batch));
    at += length;
  }
  return Ok();
}

}  // namespace msentry::mm
