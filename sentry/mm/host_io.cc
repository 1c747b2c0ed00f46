#include "sentry/mm/host_io.h"

#include <sys/uio.h>
#include <unistd.h>

#include "sentry/sched/scheduler.h"

namespace msentry::mm::host_io {

namespace {

// Writes this large can be throttled by the host's write-back.
constexpr size_t kLargeWrite = 256 << 10;

template <typename F>
Result<size_t> Retry(F call) {
  for (;;) {
    ssize_t n = call();
    if (n >= 0) return static_cast<size_t>(n);
    if (errno != EINTR) return FromHost(errno);
  }
}

Result<size_t> ReadCached(int fd, int64_t offset, std::span<std::byte> out) {
  iovec v{out.data(), out.size()};
  return Retry([&] { return preadv2(fd, &v, 1, offset, RWF_NOWAIT); });
}

}  // namespace

Result<size_t> Read(int fd, int64_t offset, std::span<std::byte> out, bool in_memory) {
  if (offset < 0) return Retry([&] { return read(fd, out.data(), out.size()); });
  size_t done = 0;
  while (!in_memory && done < out.size()) {
    Result<size_t> n = ReadCached(fd, offset + done, out.subspan(done));
    if (n && *n == 0) return done;
    if (n) {
      done += *n;
    } else if (n.error() == Errno::kEOPNOTSUPP) {
      break;  // such a file system is one in memory, or cannot tell
    } else if (n.error() == Errno::kEAGAIN) {
      Result<size_t> rest = size_t{0};
      sched::Offload([&] {
        rest =
            Retry([&] { return pread(fd, out.data() + done, out.size() - done, offset + done); });
      });
      if (!rest && done == 0) return rest;
      if (!rest || *rest == 0) return done;
      done += *rest;
    } else if (done == 0) {
      return n;
    } else {
      return done;
    }
  }
  while (done < out.size()) {
    Result<size_t> n =
        Retry([&] { return pread(fd, out.data() + done, out.size() - done, offset + done); });
    if (!n && done == 0) return n;
    if (!n || *n == 0) break;
    done += *n;
  }
  return done;
}

Result<size_t> Write(int fd, int64_t offset, std::span<const std::byte> in, int flags) {
  if (offset < 0 && flags == 0) return Retry([&] { return write(fd, in.data(), in.size()); });
  iovec v{const_cast<std::byte*>(in.data()), in.size()};
  auto call = [&] { return Retry([&] { return pwritev2(fd, &v, 1, offset, flags); }); };
  if (in.size() < kLargeWrite && (flags & (RWF_DSYNC | RWF_SYNC)) == 0) return call();
  Result<size_t> n = size_t{0};
  sched::Offload([&] { n = call(); });
  return n;
}

}  // namespace msentry::mm::host_io
