// Connection: one stream socket with its Session: cuts the stream into requests, sends replies
// (with a donated fd), and keeps Tflush's promise that its answer comes after that of the flushed
// request.
//
// Any thread. Two locks, never held together: one for reading and parsing, one for writing.
#pragma once

#include <cstdint>
#include <vector>

#include "gofer/server/session.h"
#include "sentry/base/mutex.h"
#include "sentry/base/scoped_fd.h"

namespace msentry::gofer {

class Connection {
 public:
  Connection(ScopedFd socket, std::vector<Attach*> attaches)
      : socket_(std::move(socket)), session_(std::move(attaches)) {}

  enum class Next { kRequest, kNothing, kClosed };
  // Takes one whole request off the stream into `request` without waiting. Sets `more` when another
  // one is already buffered; `drained` when the stream had nothing more to read. kClosed once the
  // peer is gone or broke the framing; repeated calls give it again.
  Next TakeRequest(std::vector<uint8_t>& request, bool& more, bool& drained);
  // Handles it and sends the reply.
  void Serve(const std::vector<uint8_t>& request, Reply& reply);

  int fd() const { return socket_.get(); }
  // True for the first caller only.
  bool MarkClosed() { return !closed_.exchange(true); }

 private:
  struct InProgress {
    uint16_t tag;
    std::vector<uint16_t> flushes;  // tags of Tflush messages that wait for it
  };

  // The length of the request at the front of the buffer; 0 if its header is not there yet.
  uint32_t FrontSize() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(read_mutex_);
  // The extension's clunks, and unlinks, may say that they want no answer (but to a failure).
  bool IsUnanswered() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(read_mutex_);
  // Moves the whole request at the front of the buffer to `request`.
  void TakeFront(std::vector<uint8_t>& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(read_mutex_);
  void Finish(uint16_t tag);
  void Send(std::span<const uint8_t> message, std::span<const uint8_t> tail, int donated);

  const ScopedFd socket_;
  Session session_;
  std::atomic<bool> closed_{false};

  Mutex read_mutex_;
  std::vector<uint8_t> buffer_ ABSL_GUARDED_BY(read_mutex_);
  size_t begin_ ABSL_GUARDED_BY(read_mutex_) = 0, end_ ABSL_GUARDED_BY(read_mutex_) = 0;
  bool ended_ ABSL_GUARDED_BY(read_mutex_) = false;
  Reply unanswered_reply_ ABSL_GUARDED_BY(read_mutex_){0};

  Mutex progress_mutex_;  // inside read_mutex_
  std::vector<InProgress> in_progress_ ABSL_GUARDED_BY(progress_mutex_);

  Mutex write_mutex_;
  bool write_failed_ ABSL_GUARDED_BY(write_mutex_) = false;
};

}  // namespace msentry::gofer
