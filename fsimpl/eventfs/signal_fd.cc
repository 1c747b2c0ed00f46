#include "fsimpl/eventfs/signal_fd.h"

#include "absl/strings/str_format.h"
#include "sentry/abi/poll.h"
#include "sentry/mm/io_sequence.h"
#include "vfs/vfs.h"

namespace msentry::eventfs {
namespace {

// SIGKILL and SIGSTOP are silently left out, as signalfd(2) does.
constexpr uint64_t kNever = uint64_t{1} << (SIGKILL - 1) | uint64_t{1} << (SIGSTOP - 1);

abi::SignalfdSiginfo ToRecord(const abi::SigInfo& info) {
  abi::SignalfdSiginfo record{};
  record.signo = info.signo;
  record.error = info.error;
  record.code = info.code;
  if (info.code > 0 && info.code != SI_KERNEL) {
    switch (info.signo) {
      case SIGCHLD:
        record.pid = info.child.pid;
        record.uid = info.child.uid;
        record.status = info.child.status;
        record.utime = info.child.utime;
        record.stime = info.child.stime;
        return record;
      case SIGSEGV:
      case SIGBUS:
      case SIGILL:
      case SIGFPE:
      case SIGTRAP:
        record.addr = info.fault.address;
        record.addr_lsb = info.fault.address_lsb;
        return record;
      case SIGIO:
        record.band = info.poll.band;
        record.fd = info.poll.fd;
        return record;
      default:
        return record;
    }
  }
  if (info.code == SI_TIMER) {
    record.tid = info.timer.timer_id;
    record.overrun = info.timer.overrun;
    record.ptr = info.timer.value;
    record.int_value = static_cast<int32_t>(info.timer.value);
    return record;
  }
  record.pid = info.user.pid;
  record.uid = info.user.uid;
  record.ptr = info.user.value;
  record.int_value = static_cast<int32_t>(info.user.value);
  return record;
}

}  // namespace

const char SignalFd::kClassTag = 0;

SignalFd::SignalFd(vfs::Location location, int flags, uint64_t mask,
                   std::unique_ptr<SignalSource> source)
    : FileDescription(std::move(location), O_RDWR | flags),
      mask_(mask & ~kNever),
      source_(std::move(source)) {}

void SignalFd::SetMask(uint64_t mask) {
  mask_.store(mask & ~kNever);
  source_->events().Notify(sched::kIn | sched::kRdNorm);
}

Result<size_t> SignalFd::Read(const vfs::OpContext&, mm::IoSequence& to) {
  if (to.size() < sizeof(abi::SignalfdSiginfo)) return Errno::kEINVAL;
  size_t done = 0;
  while (to.size() >= sizeof(abi::SignalfdSiginfo)) {
    Result<abi::SigInfo> info = source_->Take(mask_.load());
    if (!info.ok()) {
      if (done > 0) break;
      return info.error();
    }
    const abi::SignalfdSiginfo record = ToRecord(*info);
    Result<size_t> n = to.CopyOut(std::as_bytes(std::span(&record, 1)));
    if (!n.ok()) {
      if (done > 0) break;
      return n.error();
    }
    done += *n;
  }
  return done;
}

sched::EventMask SignalFd::Readiness(sched::EventMask mask) {
  return source_->Pending() & mask_.load() ? mask & (sched::kIn | sched::kRdNorm) : 0;
}

std::string SignalFd::FdInfo() { return absl::StrFormat("sigmask:\t%016x\n", mask_.load()); }

RefPtr<SignalFd> MakeSignalFd(const vfs::OpContext& ctx, int flags, uint64_t mask,
                              std::unique_ptr<SignalSource> source) {
  return MakeRef<SignalFd>(
      vfs::MakeAnonymousLocation(vfs::MakeAnonymousInode(ctx.vfs, ctx.creds, 0600),
                                 "anon_inode:[signalfd]"),
      flags, mask, std::move(source));
}

}  // namespace msentry::eventfs
