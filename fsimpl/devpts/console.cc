#include "fsimpl/devpts/console.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

namespace msentry::devpts {
namespace {

constexpr size_t kPiece = 4096;
constexpr int kDrainMs = 1000;

}  // namespace

Console::Console(DevptsFs& devpts, RefPtr<Pty> pty, ScopedFd stream)
    : devpts_(devpts), pty_(std::move(pty)), stream_(std::move(stream)) {}

Console::~Console() = default;

Result<std::shared_ptr<Console>> Console::Create(const vfs::OpContext& ctx, DevptsFs& devpts,
                                                 sched::Scheduler& scheduler, ScopedFd stream) {
  const int flags = fcntl(stream.get(), F_GETFL);
  if (flags < 0 || fcntl(stream.get(), F_SETFL, flags | O_NONBLOCK) != 0) return FromHost(errno);
  RefPtr<Pty> pty = TRY(devpts.NewPty(ctx));
  pty->Unlock();
  auto console = std::make_shared<Console>(devpts, std::move(pty), std::move(stream));
  Console* raw = console.get();
  console->watch_ = TRY(sched::HostFdWatch::Create(
      scheduler, raw->stream_.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP, [raw](uint32_t) {
        if (sched::Fiber* fiber = raw->fiber_.load()) sched::Unpark(fiber);
      }));
  scheduler.Spawn("console", [console] { console->Pump(); });
  return console;
}

Result<RefPtr<vfs::FileDescription>> Console::OpenSlave(const vfs::OpContext& ctx, int flags) {
  return devpts_.OpenSlave(ctx, pty_, flags | O_NOCTTY);
}

bool Console::PumpIn() {
  if (typed_.empty() && !stream_ended_) {
    char buffer[kPiece];
    const ssize_t n = read(stream_.get(), buffer, sizeof buffer);
    if (n > 0) {
      typed_.assign(buffer, n);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
      stream_ended_ = true;
    }
  }
  if (typed_.empty()) return false;
  const Result<size_t> taken = pty_->MasterWrite(typed_);
  if (!taken.ok()) {
    // Nobody has the slave open: what is typed is lost, as on a terminal nobody reads.
    if (taken.error() == Errno::kEIO) typed_.clear();
    return false;
  }
  typed_.erase(0, *taken);
  return true;
}

bool Console::PumpOut() {
  if (written_.empty()) {
    written_.resize(kPiece);
    const Result<size_t> n = pty_->MasterRead(written_);
    written_.resize(n.ok() ? *n : 0);
  }
  if (written_.empty()) return false;
  const ssize_t n = write(stream_.get(), written_.data(), written_.size());
  if (n > 0) {
    written_.erase(0, n);
    return true;
  }
  // The reader is gone: the guest must not block for ever on a terminal nobody looks at.
  if (n < 0 && errno != EAGAIN && errno != EINTR) {
    written_.clear();
    stream_ended_ = true;
  }
  return false;
}

void Console::Pump() {
  fiber_.store(sched::CurrentFiber());
  sched::Waiter waiter(sched::kAllEvents,
                       [this](sched::EventMask) { sched::Unpark(fiber_.load()); });
  pty_->master_queue().Add(&waiter);
  while (!stream_ended_) {
    bool moved = PumpIn();
    moved |= PumpOut();
    if (!moved && !stream_ended_) sched::Park();
  }
  pty_->master_queue().Remove(&waiter);
  watch_.reset();
  fiber_.store(nullptr);
  pty_->MasterClosed();
}

void Console::Drain() {
  while (!stream_ended_) {
    if (PumpOut()) continue;
    if (written_.empty()) return;
    pollfd p{stream_.get(), POLLOUT, 0};
    if (poll(&p, 1, kDrainMs) <= 0) return;
  }
}

}  // namespace msentry::devpts
