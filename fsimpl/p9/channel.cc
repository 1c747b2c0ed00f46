#include "fsimpl/p9/channel.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "sentry/base/log.h"
#include "sentry/sched/idle.h"

namespace msentry::p9 {
namespace {

constexpr size_t kReceiveBuffer = 64 * 1024;
constexpr size_t kMaxTags = 4096;        // requests at once; more callers than that get EIO
constexpr size_t kMaxUnclaimedFds = 64;  // a peer that sends more is not ours
constexpr int64_t kLaterNs = 5'000'000;
constexpr size_t kLaterBytes = 32 * 1024;
constexpr uint32_t kMaxErrno = 133;

// A request that takes longer than this is not worth a worker's while.
constexpr int64_t kWaitHereNs = 100'000;

// Where guest, sentry and gofer have a CPU each.
int64_t SpinNs() {
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof cpus, &cpus) < 0 || CPU_COUNT(&cpus) < 4) return 0;
  return 15'000;
}

}  // namespace

Channel::Channel(ScopedFd socket, sched::Scheduler* scheduler)
    : socket_(std::move(socket)), scheduler_(scheduler), spin_ns_(SpinNs()) {}

Result<std::unique_ptr<Channel>> Channel::Create(ScopedFd socket, sched::Scheduler* scheduler) {
  int flags = fcntl(socket.get(), F_GETFL);
  if (flags < 0 || fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK) < 0) return FromHost(errno);
  std::unique_ptr<Channel> channel(new Channel(std::move(socket), scheduler));
  if (scheduler != nullptr) {
    Channel* c = channel.get();
    channel->timer_ = std::make_unique<sched::Timer>(*scheduler, [c] {
      {
        MutexLock lock(c->send_mutex_);
        c->timer_armed_ = false;
      }
      c->Send({});
    });
    channel->epoll_.Reset(epoll_create1(EPOLL_CLOEXEC));
    if (!channel->epoll_) return FromHost(errno);
    channel->watch_ = TRY(sched::HostFdWatch::Create(*scheduler, c->epoll_.get(), EPOLLIN,
                                                     [c](uint32_t) { c->OnSocketEvent(); }));
  }
  return channel;
}

Channel::~Channel() {
  watch_.reset();
  timer_.reset();
}

void Channel::Complete(Waiting& waiting) {
  waiting.done.store(true, std::memory_order_release);
  if (waiting.parked) sched::Unpark(waiting.fiber);
}

void Channel::Die(const char* why) {
  MutexLock lock(mutex_);
  if (dead_.exchange(true, std::memory_order_acq_rel)) return;
  LogWarning("p9: connection to the gofer lost: %s", why);
  shutdown(socket_.get(), SHUT_RDWR);
  for (Waiting*& waiting : by_tag_) {
    if (waiting == nullptr || waiting == &discard_ || waiting->done.load(std::memory_order_relaxed))
      continue;
    waiting->failed = true;
    waiting->error = Errno::kEIO;
    Complete(*waiting);
  }
}

Result<uint16_t> Channel::TakeTag(Waiting* waiting) {
  MutexLock lock(mutex_);
  if (dead_.load(std::memory_order_relaxed)) return Errno::kEIO;
  uint16_t tag;
  if (!free_tags_.empty()) {
    tag = free_tags_.back();
    free_tags_.pop_back();
  } else {
    if (by_tag_.size() >= kMaxTags) return Errno::kEIO;
    tag = static_cast<uint16_t>(by_tag_.size());
    by_tag_.push_back(nullptr);
  }
  by_tag_[tag] = waiting;
  return tag;
}

void Channel::SendUnawaited(std::vector<uint8_t>& request) {
  Result<uint16_t> tag = TakeTag(&discard_);
  if (!tag.ok()) return;
  std::memcpy(request.data() + 5, &*tag, sizeof(uint16_t));
  Send(request);
}

Result<> Channel::Exchange(std::vector<uint8_t>& request, uint8_t type, Response& response) {
  exchanges_.fetch_add(1, std::memory_order_relaxed);
  Waiting waiting;
  waiting.response = &response;
  waiting.type = type;
  waiting.fiber = sched::CurrentFiber();
  uint16_t tag = TRY(TakeTag(&waiting));
  // Only Tversion keeps the tag that says "none".
  uint8_t request_type = request[4];
  if (request_type != Tversion::kType) std::memcpy(request.data() + 5, &tag, sizeof tag);
  Send(request);
  Wait(waiting);
  {
    // Whoever completed us did so under this lock: after it nobody refers to `waiting`.
    MutexLock lock(mutex_);
    by_tag_[tag] = nullptr;
    // On a dead channel nothing is ever sent again: the tag is as good as any.
    free_tags_.push_back(tag);
  }
  if (waiting.failed) return waiting.error;
  return Ok();
}

void Channel::Wait(Waiting& waiting) {
  if (waiting.fiber == nullptr) {
    while (!waiting.done.load(std::memory_order_acquire)) {
      struct pollfd wait = {.fd = socket_.get(), .events = POLLIN};
      // Another thread may take our reply off the socket: look up now and then.
      poll(&wait, 1, 10);
      TryReceive();
      MutexLock lock(send_mutex_);
      FlushBacklog();
    }
    return;
  }
  if (sched::NothingElseToRun() && !waiting_here_.exchange(true, std::memory_order_acquire)) {
    WaitHere(waiting);
    waiting_here_.store(false, std::memory_order_release);
  }
  if (!waiting.done.load(std::memory_order_acquire)) ParkUntilDone(waiting);
}

// One caller at a time, so that a reply wakes only one. Ends when the reply is there, or other
// work.
void Channel::WaitHere(Waiting& waiting) {
  const int64_t start = sched::NowNs();
  for (int64_t now = start; now - start < spin_ns_; now = sched::NowNs()) {
    TryReceiveFor(waiting);
    if (waiting.done.load(std::memory_order_acquire) || !sched::NothingElseToRun()) return;
    __builtin_ia32_pause();
  }
  const int64_t end = start + kWaitHereNs;
  for (int64_t now = start; now < end; now = sched::NowNs()) {
    struct pollfd wait = {.fd = socket_.get(), .events = POLLIN};
    timespec left{0, end - now};
    ppoll(&wait, 1, &left, nullptr);
    TryReceiveFor(waiting);
    if (waiting.done.load(std::memory_order_acquire) || !sched::NothingElseToRun()) return;
  }
}

void Channel::ParkUntilDone(Waiting& waiting) {
  parked_.fetch_add(1, std::memory_order_seq_cst);
  UpdateInterest();
  while (!waiting.done.load(std::memory_order_acquire)) {
    {
      MutexLock lock(mutex_);
      if (waiting.done.load(std::memory_order_relaxed)) break;
      waiting.parked = true;
    }
    sched::Park();
    MutexLock lock(mutex_);
    waiting.parked = false;
  }
  parked_.fetch_sub(1, std::memory_order_seq_cst);
}

void Channel::UpdateInterest() {
  if (!watch_) return;
  MutexLock lock(interest_mutex_);
  uint32_t wanted = 0;
  if (parked_.load(std::memory_order_seq_cst) > 0) wanted |= EPOLLIN | EPOLLRDHUP;
  if (have_backlog_.load(std::memory_order_seq_cst)) wanted |= EPOLLOUT;
  if (wanted == interest_) return;
  // Not EPOLL_CTL_MOD: nobody collects events here, and only a new member says that it is ready.
  if (interest_ != 0) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, socket_.get(), nullptr);
  interest_ = wanted;
  struct epoll_event event = {.events = wanted, .data = {}};
  if (wanted != 0 && epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, socket_.get(), &event) < 0) {
    Die("the host cannot watch it");
  }
}

void Channel::SendLater(std::span<const uint8_t> messages) {
  bool enough;
  {
    MutexLock lock(send_mutex_);
    if (dead_.load(std::memory_order_relaxed)) return;
    later_.insert(later_.end(), messages.begin(), messages.end());
    enough = later_.size() >= kLaterBytes;
    if (timer_ && !timer_armed_ && !enough) {
      timer_armed_ = true;
      timer_->Arm(sched::NowNs() + kLaterNs);
    }
  }
  if (enough) Send({});
}

void Channel::Send(std::span<const uint8_t> bytes) {
  MutexLock lock(send_mutex_);
  if (dead_.load(std::memory_order_relaxed)) return;
  if (!backlog_.empty()) {
    backlog_.insert(backlog_.end(), later_.begin(), later_.end());
    later_.clear();
    backlog_.insert(backlog_.end(), bytes.begin(), bytes.end());
    return FlushBacklog();
  }
  struct iovec iov[2] = {{.iov_base = later_.data(), .iov_len = later_.size()},
                         {.iov_base = const_cast<uint8_t*>(bytes.data()), .iov_len = bytes.size()}};
  struct msghdr msg = {};
  msg.msg_iov = iov;
  msg.msg_iovlen = 2;
  size_t total = later_.size() + bytes.size();
  if (total == 0) return;
  ssize_t n;
  do {
    n = sendmsg(socket_.get(), &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  if (n == static_cast<ssize_t>(total)) {
    later_.clear();
    return;
  }
  // The rest goes when the socket takes more (OnSocketEvent). An error shows up there as well: the
  // receiving side sees the end of the stream.
  have_backlog_.store(true, std::memory_order_seq_cst);
  size_t sent = n > 0 ? static_cast<size_t>(n) : 0;
  size_t from_later = std::min(sent, later_.size());
  backlog_.assign(later_.begin() + static_cast<ptrdiff_t>(from_later), later_.end());
  std::span<const uint8_t> rest = bytes.subspan(sent - from_later);
  backlog_.insert(backlog_.end(), rest.begin(), rest.end());
  later_.clear();
  UpdateInterest();
}

void Channel::FlushBacklog() {
  if (backlog_.empty()) return;
  size_t sent = 0;
  while (sent < backlog_.size()) {
    ssize_t n = send(socket_.get(), backlog_.data() + sent, backlog_.size() - sent,
                     MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    sent += static_cast<size_t>(n);
  }
  backlog_.erase(backlog_.begin(), backlog_.begin() + static_cast<ptrdiff_t>(sent));
  if (backlog_.empty()) have_backlog_.store(false, std::memory_order_seq_cst);
}

void Channel::OnSocketEvent() {
  {
    MutexLock lock(send_mutex_);
    FlushBacklog();
  }
  {
    MutexLock lock(receive_mutex_);
    ReceiveLocked(nullptr);
  }
  UpdateInterest();
}

void Channel::TryReceive() {
  if (!receive_mutex_.TryLock()) return;
  ReceiveLocked(nullptr);
  receive_mutex_.Unlock();
}

void Channel::TryReceiveFor(Waiting& waiting) {
  if (!receive_mutex_.TryLock()) return;
  ReceiveLocked(&waiting);
  receive_mutex_.Unlock();
}

void Channel::ReceiveLocked(const Waiting* until) {
  if (dead_.load(std::memory_order_acquire)) return;
  if (buffer_.empty()) buffer_.resize(kReceiveBuffer);
  for (;;) {
    if (begin_ > 0) {
      std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    }
    struct iovec iov = {.iov_base = buffer_.data() + end_, .iov_len = buffer_.size() - end_};
    alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * 4)];
    struct msghdr msg = {};
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = control;
    msg.msg_controllen = sizeof control;
    ssize_t n = recvmsg(socket_.get(), &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return;
      return Die("receive error");
    }
    for (struct cmsghdr* c = CMSG_FIRSTHDR(&msg); c != nullptr; c = CMSG_NXTHDR(&msg, c)) {
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
      size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; ++i) {
        int fd;
        std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
        fds_.emplace_back(fd);
      }
    }
    if (n == 0) return Die("the gofer closed it");
    if (fds_.size() > kMaxUnclaimedFds) return Die("fds that belong to no reply");
    end_ += static_cast<size_t>(n);
    bool filled = end_ == buffer_.size();
    if (!Deliver()) return;
    if (until != nullptr && until->done.load(std::memory_order_acquire)) return;
    // A short read without an fd emptied the socket; the next edge brings what comes later.
    if (!filled && msg.msg_controllen == 0) return;
  }
}

bool Channel::Deliver() {
  for (;;) {
    Header header;
    std::span<const uint8_t> have(buffer_.data() + begin_, end_ - begin_);
    if (have.size() < kHeaderBytes) return true;
    uint32_t limit = max_message_.load(std::memory_order_relaxed);
    if (!DecodeHeader(have, header) || header.size > limit) {
      Die("bad message length");
      return false;
    }
    if (have.size() < header.size) {
      if (buffer_.size() < header.size) buffer_.resize(header.size + kReceiveBuffer);
      return true;
    }
    std::span<const uint8_t> body = have.subspan(kHeaderBytes, header.size - kHeaderBytes);
    begin_ += header.size;
    ScopedFd fd;
    if (CarriesFd(header.type)) {
      if (fds_.empty()) {
        Die("a reply without its fd");
        return false;
      }
      fd = std::move(fds_.front());
      fds_.pop_front();
    }
    const char* violation = nullptr;
    {
      MutexLock lock(mutex_);
      uint16_t tag = header.tag;
      const bool to_nobody = tag == kNoTag && negotiated_.load(std::memory_order_relaxed);
      if (to_nobody) {
        // The only answer to what wants none.
        Rlerror error;
        if (header.type != Rlerror::kType || !Decode(body, error)) {
          violation = "an answer to nothing";
        } else if (refusals_.fetch_add(1, std::memory_order_acq_rel) < 10) {
          LogWarning("p9: the host did not remove a file that is gone for the sandbox: error %u",
                     error.ecode);
        }
      } else if (tag == kNoTag &&
                 (header.type == Rversion::kType || header.type == Rlerror::kType)) {
        // Tversion's answer, or the refusal of it: it travels alone, as the first tag.
        tag = 0;
      }
      Waiting* waiting = tag < by_tag_.size() ? by_tag_[tag] : nullptr;
      if (to_nobody) {
        // said above
      } else if (waiting == nullptr || waiting->done.load(std::memory_order_relaxed)) {
        violation = "a reply nobody waits for";
      } else if (waiting == &discard_) {
        by_tag_[tag] = nullptr;
        free_tags_.push_back(tag);
      } else if (header.type == Rlerror::kType) {
        Rlerror error;
        if (!Decode(body, error)) {
          violation = "malformed error";
        } else {
          bool known = error.ecode > 0 && error.ecode <= kMaxErrno;
          waiting->failed = true;
          waiting->error = known ? FromHost(static_cast<int>(error.ecode)) : Errno::kEIO;
          Complete(*waiting);
        }
      } else if (header.type != waiting->type) {
        violation = "a reply of the wrong type";
      } else {
        waiting->response->message.assign(body.begin(), body.end());
        waiting->response->fd = std::move(fd);
        Complete(*waiting);
      }
    }
    if (violation != nullptr) {
      Die(violation);
      return false;
    }
  }
}

}  // namespace msentry::p9
