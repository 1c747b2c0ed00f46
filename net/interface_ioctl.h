// The ioctls by which programs ask about network interfaces on any socket (netdevice(7)): there is
// one interface, lo, and nothing can be changed.
#pragma once

#include <cstdint>

#include "sentry/base/result.h"
#include "vfs/user_memory.h"

namespace msentry::net {

// ENOTTY for other commands, ENODEV for other interfaces, EPERM for changes.
Result<int64_t> InterfaceIoctl(uint32_t command, uint64_t argument, vfs::UserMemory& memory);

}  // namespace msentry::net
