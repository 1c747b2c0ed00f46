// Host reads and writes that do not hold up a worker thread: what is in the host's page cache is
// moved on the spot, the rest on a helper thread while the fiber is parked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "sentry/base/result.h"

namespace msentry::mm::host_io {

// pread(2), or read(2) when offset is -1 (the fd must then be non-blocking). Fills `out` up to the
// end of the file. `in_memory`: the fd never waits for a device.
Result<size_t> Read(int fd, int64_t offset, std::span<std::byte> out, bool in_memory);

// pwritev2(2) with `flags`, or write(2) when offset is -1.
Result<size_t> Write(int fd, int64_t offset, std::span<const std::byte> in, int flags);

}  // namespace msentry::mm::host_io
