#include "gofer/server/connection.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace msentry::gofer {
namespace {

constexpr size_t kInitialBuffer = 64 * 1024;

}  // namespace

uint32_t Connection::FrontSize() const {
  p9::Header header;
  if (end_ - begin_ < p9::kHeaderBytes) return 0;
  (void)p9::DecodeHeader({buffer_.data() + begin_, end_ - begin_}, header);
  return header.size;
}

bool Connection::IsUnanswered() const {
  p9::Header header;
  (void)p9::DecodeHeader({buffer_.data() + begin_, end_ - begin_}, header);
  if (header.tag != p9::kNoTag || !session_.extended()) return false;
  return header.type == p9::Tclunks::kType || header.type == p9::Tunlinkat::kType;
}

Connection::Next Connection::TakeRequest(std::vector<uint8_t>& request, bool& more, bool& drained) {
  MutexLock lock(read_mutex_);
  more = drained = false;
  if (buffer_.empty()) buffer_.resize(kInitialBuffer);
  for (;;) {
    size_t have = end_ - begin_;
    uint32_t size = FrontSize();
    if (have >= p9::kHeaderBytes) {
      // A wrong length means that nothing after it can be understood.
      if (size < p9::kHeaderBytes || size > session_.msize()) ended_ = true;
      if (ended_) return Next::kClosed;
      if (have >= size) {
        if (!IsUnanswered()) break;
        // Done before anything that comes after it is taken: the numbers, and the fds behind them,
        // are free for the next request.
        TakeFront(request);
        p9::Header header;
        (void)p9::DecodeHeader(request, header);
        session_.Handle(header, std::span<const uint8_t>(request).subspan(p9::kHeaderBytes),
                        unanswered_reply_);
        if (header.type == p9::Tunlinkat::kType && unanswered_reply_.IsError()) {
          Send(unanswered_reply_.message, {}, -1);
        }
        continue;
      }
    }
    if (ended_) return Next::kClosed;
    if (begin_ > 0) {
      std::memmove(buffer_.data(), buffer_.data() + begin_, have);
      begin_ = 0, end_ = have;
    }
    if (buffer_.size() < size) buffer_.resize(size);
    ssize_t n = recv(socket_.get(), buffer_.data() + end_, buffer_.size() - end_, MSG_DONTWAIT);
    if (n > 0) {
      end_ += static_cast<size_t>(n);
      drained = end_ < buffer_.size();
    } else if (n < 0 && errno == EINTR) {
      continue;
    } else if (n < 0 && errno == EAGAIN) {
      return Next::kNothing;
    } else {
      ended_ = true;
    }
  }
  TakeFront(request);
  uint32_t next = FrontSize();
  more = next != 0 && end_ - begin_ >= next;
  p9::Header header;
  (void)p9::DecodeHeader(request, header);
  MutexLock progress_lock(progress_mutex_);
  in_progress_.push_back({header.tag, {}});
  return Next::kRequest;
}

void Connection::TakeFront(std::vector<uint8_t>& request) {
  uint32_t size = FrontSize();
  request.assign(buffer_.begin() + static_cast<ptrdiff_t>(begin_),
                 buffer_.begin() + static_cast<ptrdiff_t>(begin_ + size));
  begin_ += size;
  if (begin_ < end_) return;
  begin_ = end_ = 0;
  if (buffer_.size() > kInitialBuffer) {
    buffer_.resize(kInitialBuffer);
    buffer_.shrink_to_fit();
  }
}

void Connection::Serve(const std::vector<uint8_t>& request, Reply& reply) {
  p9::Header header;
  (void)p9::DecodeHeader(request, header);
  std::span<const uint8_t> body(request);
  body = body.subspan(p9::kHeaderBytes);
  p9::Tflush flush;
  if (header.type == p9::Tflush::kType && p9::Decode(body, flush) && flush.oldtag != header.tag) {
    MutexLock lock(progress_mutex_);
    for (InProgress& other : in_progress_) {
      if (other.tag == flush.oldtag) {
        other.flushes.push_back(header.tag);
        return;  // answered by whoever finishes the flushed request
      }
    }
  }
  session_.Handle(header, body, reply);
  Send(reply.message, reply.tail, reply.donated());
  reply.fd.Reset();
  reply.donor.Reset();
  Finish(header.tag);
}

void Connection::Finish(uint16_t tag) {
  std::vector<uint16_t> flushes;
  {
    MutexLock lock(progress_mutex_);
    for (size_t i = 0; i < in_progress_.size(); ++i) {
      if (in_progress_[i].tag != tag) continue;
      flushes = std::move(in_progress_[i].flushes);
      in_progress_[i] = std::move(in_progress_.back());
      in_progress_.pop_back();
      break;
    }
  }
  for (uint16_t flush : flushes) {
    std::vector<uint8_t> message;
    p9::Encode(message, flush, p9::Rflush{});
    Send(message, {}, -1);
    Finish(flush);
  }
}

void Connection::Send(std::span<const uint8_t> message, std::span<const uint8_t> tail,
                      int donated) {
  MutexLock lock(write_mutex_);
  struct iovec iov[2] = {
      {.iov_base = const_cast<uint8_t*>(message.data()), .iov_len = message.size()},
      {.iov_base = const_cast<uint8_t*>(tail.data()), .iov_len = tail.size()}};
  struct msghdr msg = {};
  msg.msg_iov = iov;
  msg.msg_iovlen = tail.empty() ? 1 : 2;
  alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  if (donated >= 0) {
    msg.msg_control = control;
    msg.msg_controllen = sizeof control;
    struct cmsghdr* cmsg = CMSG_FIRSTHDR(&msg);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(cmsg), &donated, sizeof(int));
  }
  while (!write_failed_ && msg.msg_iovlen > 0) {
    ssize_t n = sendmsg(socket_.get(), &msg, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) {
        struct pollfd wait = {.fd = socket_.get(), .events = POLLOUT};
        poll(&wait, 1, -1);
        continue;
      }
      write_failed_ = true;  // the reading side sees the end too
      break;
    }
    msg.msg_control = nullptr;  // the fd travelled with the first byte
    msg.msg_controllen = 0;
    size_t sent = static_cast<size_t>(n);
    while (msg.msg_iovlen > 0 && sent >= msg.msg_iov->iov_len) {
      sent -= msg.msg_iov->iov_len;
      ++msg.msg_iov;
      --msg.msg_iovlen;
    }
    if (msg.msg_iovlen > 0) {
      msg.msg_iov->iov_base = static_cast<uint8_t*>(msg.msg_iov->iov_base) + sent;
      msg.msg_iov->iov_len -= sent;
    }
  }
}

}  // namespace msentry::gofer
