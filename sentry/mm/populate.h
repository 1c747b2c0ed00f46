// Faulting pages in ahead of their use: MAP_POPULATE, mlock(2), MADV_POPULATE_*. The host does it
// in one call that nothing but SIGKILL of the stub breaks, so large ranges go by pieces, and the
// caller is asked in between whether it is still wanted: else a guest could be killed in vain while
// its memory grows.
#pragma once

#include <cstdint>

#include "platform/platform.h"
#include "sentry/base/result.h"

namespace msentry::mm {

inline constexpr int kMadvPopulateRead = 22, kMadvPopulateWrite = 23;

// Bytes that may be populated by one host call: some tens of milliseconds.
inline constexpr uint64_t kPopulatePiece = uint64_t{32} << 20;

// `advice` is one of the above. kERESTARTNOINTR when a signal came: what is done is not done again.
Result<> PopulateInPieces(platform::GuestThread& thread, uint64_t start, uint64_t end, int advice);

// Whether the calling fiber has a signal to take. Set once, by the kernel; without it nobody is
// asked.
void SetSignalCheck(bool (*check)());

}  // namespace msentry::mm
