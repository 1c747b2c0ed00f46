// Sockets and their addresses from arguments.
#pragma once

#include "net/socket.h"
#include "sentry/kernel/task.h"

namespace msentry::syscalls {

// EBADF, ENOTSOCK.
Result<RefPtr<net::Socket>> GetSocket(kernel::Task& t, int fd);
// A sockaddr of `size` bytes. EINVAL when it is too long.
Result<net::Address> CopyInAddress(kernel::Task& t, uint64_t address, uint32_t size);
// `name` to `address`, cut at the room that the socklen_t at `size` says, which gets the full
// length.
Result<> CopyOutAddress(kernel::Task& t, const net::Address& name, uint64_t address, uint64_t size);

}  // namespace msentry::syscalls
