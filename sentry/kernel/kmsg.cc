#include "sentry/kernel/kmsg.h"

#include <sys/stat.h>

#include <charconv>

#include "sentry/kernel/kernel.h"
#include "sentry/mm/io_sequence.h"
#include "vfs/vfs.h"

namespace msentry::kernel {
namespace {

constexpr uint32_t kMemMajor = 1, kKmsgMinor = 11;
constexpr sched::EventMask kReadable = sched::kIn | sched::kRdNorm;

// /dev/kmsg: each open has its place in the log and reads a record a call.
class KmsgDevice final : public vfs::FileDescription {
 public:
  KmsgDevice(vfs::Location location, int flags, Kernel& kernel)
      : FileDescription(std::move(location), flags),
        kernel_(kernel),
        sequence_(kernel.dmesg().first_sequence()) {}

  Result<size_t> Read(const vfs::OpContext&, mm::IoSequence& to) override {
    sched::FiberMutexLock lock(mutex_);
    uint64_t next = sequence_.load(std::memory_order_relaxed);
    Result<std::string> record = kernel_.dmesg().ReadRecord(&next, to.size());
    if (!record.ok()) {
      sequence_.store(next, std::memory_order_relaxed);
      return record.error();
    }
    TRY(to.CopyOut(std::as_bytes(std::span<const char>(*record))));
    sequence_.store(next, std::memory_order_relaxed);
    return record->size();
  }
  Result<size_t> PRead(const vfs::OpContext& ctx, mm::IoSequence& to, uint64_t) override {
    return Read(ctx, to);
  }

  // "<N>text": N is facility << 3 | level; without it, the level a kernel message has by default.
  Result<size_t> Write(const vfs::OpContext&, mm::IoSequence& from) override {
    char text[Dmesg::kMaxText];
    const size_t size = from.size();
    if (size > sizeof text) return Errno::kEINVAL;
    const size_t n = TRY(from.CopyIn(std::as_writable_bytes(std::span(text, size))));
    std::string_view line(text, n);
    int priority = kLogFacilityUser | kLogWarning;
    if (line.starts_with('<')) {
      unsigned number = 0;
      const auto [end, error] = std::from_chars(line.data() + 1, line.data() + n, number);
      if (error == std::errc() && end != line.data() + n && *end == '>') {
        priority = static_cast<int>(number & 7);
        const unsigned facility = number >> 3 & 0xff;
        priority |= facility != 0 ? static_cast<int>(facility << 3) : kLogFacilityUser;
        line.remove_prefix(static_cast<size_t>(end + 1 - line.data()));
      }
    }
    kernel_.dmesg().Append(kernel_.uptime_ns(), priority, line);
    return n;
  }
  Result<size_t> PWrite(const vfs::OpContext& ctx, mm::IoSequence& from, uint64_t) override {
    return Write(ctx, from);
  }

  Result<int64_t> Seek(const vfs::OpContext&, int64_t offset, int whence) override {
    if (!readable()) return Errno::kEBADF;
    if (offset != 0) return Errno::kESPIPE;
    const Dmesg& log = kernel_.dmesg();
    uint64_t to = 0;
    switch (whence) {
      case SEEK_SET:
        to = log.first_sequence();
        break;
      case SEEK_DATA:  // after the last "dmesg -c"
        to = log.cleared_sequence();
        break;
      case SEEK_END:
        to = log.next_sequence();
        break;
      default:
        return Errno::kEINVAL;
    }
    sched::FiberMutexLock lock(mutex_);
    sequence_.store(to, std::memory_order_relaxed);
    return 0;
  }

  sched::EventMask Readiness(sched::EventMask mask) override {
    mask |= sched::kErr;
    if (!readable()) return mask & sched::kErr;
    const uint64_t sequence = sequence_.load(std::memory_order_relaxed);
    if (sequence >= kernel_.dmesg().next_sequence()) return 0;
    if (sequence < kernel_.dmesg().first_sequence()) {
      return mask & (kReadable | sched::kErr | sched::kPri);
    }
    return mask & kReadable;
  }
  sched::WaitQueue& wait_queue() override { return kernel_.dmesg().arrivals(); }

 private:
  Kernel& kernel_;
  sched::FiberMutex mutex_;
  std::atomic<uint64_t> sequence_;  // changed under mutex_
};

class ProcKmsg final : public vfs::SeekableFile {
 public:
  ProcKmsg(vfs::Location location, int flags, Kernel& kernel)
      : SeekableFile(std::move(location), flags), kernel_(kernel) {}

  Result<size_t> Read(const vfs::OpContext&, mm::IoSequence& to) override {
    if (to.empty()) return size_t{0};
    const std::string text = kernel_.dmesg().Consume(to.size());
    if (text.empty()) return Errno::kEAGAIN;
    return to.CopyOut(std::as_bytes(std::span<const char>(text)));
  }
  Result<size_t> PRead(const vfs::OpContext& ctx, mm::IoSequence& to, uint64_t) override {
    return Read(ctx, to);
  }
  Result<size_t> Write(const vfs::OpContext&, mm::IoSequence&) override { return Errno::kEIO; }
  bool SupportsEpoll() const override { return true; }
  sched::EventMask Readiness(sched::EventMask mask) override {
    return kernel_.dmesg().unread_bytes() != 0 ? mask & kReadable : 0;
  }
  sched::WaitQueue& wait_queue() override { return kernel_.dmesg().arrivals(); }

 private:
  Kernel& kernel_;
};

}  // namespace

Result<> CheckLogAccess(const Dmesg& log, const auth::Credentials& creds, bool only_looks) {
  if (only_looks && !log.restricted.load(std::memory_order_relaxed)) return Ok();
  if (creds.HasCap(auth::Cap::kSyslog) || creds.HasCap(auth::Cap::kSysAdmin)) return Ok();
  return Errno::kEPERM;
}

void RegisterKmsg(vfs::Vfs& vfs, Kernel& kernel) {
  vfs.devices().Register(
      S_IFCHR, kMemMajor, kKmsgMinor, 1, "mem",
      [&kernel](const vfs::OpContext& ctx, const vfs::OpenArgs& args,
                uint64_t) -> Result<RefPtr<vfs::FileDescription>> {
        if ((args.flags & O_ACCMODE) != O_WRONLY) {
          TRY(CheckLogAccess(kernel.dmesg(), ctx.creds, true));
        }
        return RefPtr<vfs::FileDescription>(MakeRef<KmsgDevice>(args.location, args.flags, kernel));
      });
}

Result<RefPtr<vfs::FileDescription>> OpenProcKmsg(Kernel& kernel, const vfs::OpContext& ctx,
                                                  const vfs::OpenArgs& args) {
  TRY(CheckLogAccess(kernel.dmesg(), ctx.creds, false));
  return RefPtr<vfs::FileDescription>(MakeRef<ProcKmsg>(args.location, args.flags, kernel));
}

}  // namespace msentry::kernel
