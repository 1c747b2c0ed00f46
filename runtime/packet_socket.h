// Protobuf messages over a SOCK_SEQPACKET socket, one a packet.
#pragma once

#include <sys/socket.h>

#include <cerrno>
#include <string>

#include "google/protobuf/message_lite.h"

namespace msentry::runtime {

inline constexpr size_t kMaxPacket = 64 * 1024;

// false when the peer is gone or does not read.
inline bool SendMessage(int fd, const google::protobuf::MessageLite& message) {
  std::string bytes = message.SerializeAsString();
  ssize_t n;
  do {
    n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  return n == static_cast<ssize_t>(bytes.size());
}

enum class Receive { kMessage, kNothing, kEnd };

// Takes one message without waiting. A packet that does not parse ends the conversation.
inline Receive ReceiveMessage(int fd, google::protobuf::MessageLite* message) {
  std::string bytes(kMaxPacket, '\0');
  ssize_t n;
  do {
    n = recv(fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return errno == EAGAIN ? Receive::kNothing : Receive::kEnd;
  if (n == 0 || !message->ParseFromArray(bytes.data(), static_cast<int>(n))) return Receive::kEnd;
  return Receive::kMessage;
}

}  // namespace msentry::runtime
