#include "vfs/types.h"

#include <time.h>

namespace msentry::vfs {

Timespec FileTimeNow() {
  timespec ts;
  clock_gettime(CLOCK_REALTIME_COARSE, &ts);
  return {ts.tv_sec, static_cast<uint32_t>(ts.tv_nsec)};
}

}  // namespace msentry::vfs
