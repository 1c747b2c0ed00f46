// The client side of the gofer: file systems whose files live on the host.
//
//   auto client = TRY(p9::Connect(std::move(socket), &scheduler));
//   RefPtr<vfs::FileSystem> lower = TRY(p9::NewFileSystem(client, {.aname = "0", .read_only =
//   true}));
//
// Any number of file systems share one client (one connection). Everything may be called from
// fibers (they park until the reply comes) and, for boot and tests, from plain threads (they
// block). The server is not trusted: replies are validated, a broken or dead connection makes every
// call EIO.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "sentry/base/ref_ptr.h"
#include "sentry/base/result.h"
#include "sentry/base/scoped_fd.h"
#include "sentry/sched/scheduler.h"

namespace msentry::vfs {
class FileSystem;
}

namespace msentry::p9 {

class Client;

// How much the client may remember (mount option `cache=`).
enum class CachePolicy : uint8_t {
  kFscache,             // the sandbox owns the tree: names, absent names, attributes, open fds
  kRemoteRevalidating,  // the host may change it: names and attributes are checked again
};

struct MountOptions {
  std::string aname;
  bool read_only = false;
  CachePolicy cache = CachePolicy::kFscache;
};

// Starts 9P on a connected stream socket. `extended` false refuses the msentry extension (tests).
// `scheduler` may be null when no fiber will ever use the client.
struct ConnectOptions {
  uint32_t msize = 256 * 1024;
  bool extended = true;
};
Result<std::shared_ptr<Client>> Connect(ScopedFd socket, sched::Scheduler* scheduler,
                                        const ConnectOptions& options = {});

// Attaches to options.aname. The file system's root may be a directory or a single file.
Result<RefPtr<vfs::FileSystem>> NewFileSystem(std::shared_ptr<Client> client,
                                              const MountOptions& options);

// Whether the connection still works; false for good once it failed.
bool IsAlive(const Client& client);

// Before the process ends: returns when the servers have done everything that they were sent
// without waiting. On a thread that is no fiber.
void Settle();

// At most this many donated host fds are kept open by all file systems of this process together for
// files that no guest has open (default 1024; raise with RLIMIT_NOFILE).
void SetFdCacheLimit(size_t fds);

}  // namespace msentry::p9
