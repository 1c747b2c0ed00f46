#include "net/unix/unix_socket.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "fsimpl/tests/fs_fixture.h"
#include "fsimpl/tmpfs/tmpfs.h"

namespace msentry::net {
namespace {

using vfs::FileDescription;

class UnixSocketTest : public testing::Test {
 protected:
  UnixSocketTest()
      : sh_(vfs_, vfs::MountNamespace::Create(MUST(tmpfs::Create({})), 0), RootCreds()),
        op_(sh_.ctx()),
        walk_{op_, sh_.root(), sh_.cwd()} {}

  RefPtr<Socket> Make(int type) { return MUST(MakeUnixSocket(op_, 0, type, 0)); }
  static Address Named(std::string_view name) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name.data(), name.size());
    return Address(&address, offsetof(sockaddr_un, sun_path) + name.size());
  }
  Result<size_t> Send(Socket& socket, std::string_view text, SendArgs args = {}) {
    auto from = mm::IoSequence::ForWriting(std::as_bytes(std::span(text)));
    return socket.Send(walk_, from, args);
  }
  std::string Receive(Socket& socket, size_t n, ReceiveArgs* args = nullptr) {
    ReceiveArgs none;
    std::string out(n, '\0');
    auto to = mm::IoSequence::ForReading(std::as_writable_bytes(std::span(out)));
    Result<size_t> got = socket.Receive(op_, to, args ? *args : none);
    if (!got.ok()) return ErrnoName(got.error());
    return out.substr(0, *got);
  }
  SendArgs Carrying(RefPtr<FileDescription> file) {
    SendArgs args;
    args.control.rights.push_back(std::move(file));
    return args;
  }

  vfs::Vfs vfs_;
  Shell sh_;
  vfs::OpContext op_;
  vfs::WalkContext walk_;
};

TEST_F(UnixSocketTest, StreamsJoinAndSplit) {
  auto [a, b] = UnixSocket::MakePair(op_, 0, SOCK_STREAM);
  EXPECT_EQ(Receive(*b, 10), "EAGAIN");
  EXPECT_EQ(*Send(*a, "abc"), 3u);
  EXPECT_EQ(*Send(*a, "def"), 3u);
  EXPECT_EQ(b->Unread(), 6u);
  EXPECT_EQ(Receive(*b, 4), "abcd");
  EXPECT_EQ(Receive(*b, 4), "ef");
  a.Reset();
  EXPECT_EQ(Receive(*b, 4), "");
  EXPECT_EQ(Outcome(Send(*b, "x")), "EPIPE");
}

TEST_F(UnixSocketTest, PacketsKeepTheirBoundaries) {
  auto [a, b] = UnixSocket::MakePair(op_, 0, SOCK_SEQPACKET);
  EXPECT_EQ(*Send(*a, "abc"), 3u);
  EXPECT_EQ(*Send(*a, "def"), 3u);
  ReceiveArgs args;
  EXPECT_EQ(Receive(*b, 2, &args), "ab");
  EXPECT_TRUE(args.message_flags & MSG_TRUNC);
  EXPECT_EQ(Receive(*b, 10), "def");
}

TEST_F(UnixSocketTest, PeekLeavesTheBytes) {
  auto [a, b] = UnixSocket::MakePair(op_, 0, SOCK_STREAM);
  EXPECT_EQ(*Send(*a, "abc"), 3u);
  ReceiveArgs peek;
  peek.flags = MSG_PEEK;
  EXPECT_EQ(Receive(*b, 2, &peek), "ab");
  EXPECT_EQ(Receive(*b, 10), "abc");
}

TEST_F(UnixSocketTest, ConnectsByPathAndAbstractName) {
  for (std::string_view name : {std::string_view("/s"), std::string_view("\0name", 5)}) {
    auto listener = Make(SOCK_STREAM), client = Make(SOCK_STREAM);
    EXPECT_EQ(Outcome(client->Connect(walk_, Named(name))), name[0] ? "ENOENT" : "ECONNREFUSED");
    MUST(listener->Bind(walk_, Named(name)));
    EXPECT_EQ(Outcome(client->Connect(walk_, Named(name))), "ECONNREFUSED");
    MUST(listener->Listen(op_, 1));
    EXPECT_EQ(Outcome(Make(SOCK_DGRAM)->Connect(walk_, Named(name))), "EPROTOTYPE");
    MUST(client->Connect(walk_, Named(name)));
    RefPtr<Socket> server = MUST(listener->Accept(op_, 0));
    EXPECT_EQ(*Send(*client, "hi"), 2u);
    EXPECT_EQ(Receive(*server, 10), "hi");
    EXPECT_EQ(Outcome(Make(SOCK_STREAM)->Bind(walk_, Named(name))), "EADDRINUSE");
  }
}

TEST_F(UnixSocketTest, DatagramsSayWhereTheyComeFrom) {
  auto a = Make(SOCK_DGRAM), b = Make(SOCK_DGRAM);
  MUST(a->Bind(walk_, Named("/a")));
  MUST(b->Bind(walk_, Named("/b")));
  const Address to = Named("/b");
  SendArgs args;
  args.to = &to;
  EXPECT_EQ(*Send(*a, "hi", std::move(args)), 2u);
  ReceiveArgs received;
  EXPECT_EQ(Receive(*b, 10, &received), "hi");
  EXPECT_STREQ(received.from.As<sockaddr_un>().sun_path, "/a");
  EXPECT_EQ(Outcome(Send(*a, "x")), "ENOTCONN");
}

TEST_F(UnixSocketTest, ShutdownEndsOneDirection) {
  auto [a, b] = UnixSocket::MakePair(op_, 0, SOCK_STREAM);
  EXPECT_EQ(*Send(*a, "last"), 4u);
  MUST(a->Shutdown(SHUT_WR));
  EXPECT_EQ(Outcome(Send(*a, "x")), "EPIPE");
  EXPECT_EQ(Receive(*b, 10), "last");
  EXPECT_EQ(Receive(*b, 10), "");
  EXPECT_EQ(*Send(*b, "other way"), 9u);
  EXPECT_EQ(Receive(*a, 20), "other way");
}

TEST_F(UnixSocketTest, DescriptorsTravel) {
  auto [a, b] = UnixSocket::MakePair(op_, 0, SOCK_STREAM);
  RefPtr<FileDescription> file = MUST(sh_.Open("/f", O_CREAT | O_RDWR));
  EXPECT_EQ(*Send(*a, "x", Carrying(file)), 1u);
  EXPECT_EQ(file->ref_count(), 2);
  ReceiveArgs args;
  EXPECT_EQ(Receive(*b, 1, &args), "x");
  ASSERT_EQ(args.control.rights.size(), 1u);
  EXPECT_EQ(args.control.rights[0].get(), file.get());
}

TEST_F(UnixSocketTest, ClosingDropsDescriptorsInFlight) {
  RefPtr<FileDescription> file = MUST(sh_.Open("/f", O_CREAT | O_RDWR));
  {
    auto [a, b] = UnixSocket::MakePair(op_, 0, SOCK_STREAM);
    EXPECT_EQ(*Send(*a, "x", Carrying(file)), 1u);
    b.Reset();
    EXPECT_EQ(file->ref_count(), 1);
  }
  // As deep as one likes: no recursion.
  auto [a, b] = UnixSocket::MakePair(op_, 0, SOCK_STREAM);
  EXPECT_EQ(*Send(*a, "x", Carrying(file)), 1u);
  for (int depth = 0; depth < 20000; ++depth) {
    auto [outer, inner] = UnixSocket::MakePair(op_, 0, SOCK_STREAM);
    ASSERT_EQ(*Send(*outer, "x", Carrying(std::move(b))), 1u);
    a = std::move(outer);
    b = std::move(inner);
  }
  a.Reset();
  b.Reset();
  EXPECT_EQ(file->ref_count(), 1);
}

// ---- circles ----

TEST_F(UnixSocketTest, ASocketInItsOwnQueueIsCollected) {
  RefPtr<FileDescription> file = MUST(sh_.Open("/f", O_CREAT | O_RDWR));
  auto [a, b] = UnixSocket::MakePair(op_, 0, SOCK_STREAM);
  EXPECT_EQ(*Send(*a, "x", Carrying(file)), 1u);
  EXPECT_EQ(*Send(*a, "x", Carrying(b)), 1u);
  b.Reset();
  CollectCircles();
  EXPECT_EQ(file->ref_count(), 1);
  EXPECT_EQ(Outcome(Send(*a, "x")), "EPIPE");  // its peer is gone
}

TEST_F(UnixSocketTest, PairsInEachOthersQueuesAreCollected) {
  for (int type : {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM}) {
    RefPtr<FileDescription> file = MUST(sh_.Open("/f", O_CREAT | O_RDWR));
    auto [a, b] = UnixSocket::MakePair(op_, 0, type);
    auto [c, d] = UnixSocket::MakePair(op_, 0, type);
    EXPECT_EQ(*Send(*a, "x", Carrying(d)), 1u);  // d waits in b, b in d
    EXPECT_EQ(*Send(*c, "x", Carrying(b)), 1u);
    EXPECT_EQ(*Send(*c, "x", Carrying(file)), 1u);
    b.Reset();
    CollectCircles();
    EXPECT_EQ(file->ref_count(), 2) << "d is still open: b and the file can be received";
    d.Reset();
    a.Reset();
    c.Reset();  // the last one to be closed collects
    EXPECT_EQ(file->ref_count(), 1) << type;
  }
}

TEST_F(UnixSocketTest, WhatCanBeReceivedIsNotCollected) {
  auto [a, b] = UnixSocket::MakePair(op_, 0, SOCK_STREAM);
  auto [c, d] = UnixSocket::MakePair(op_, 0, SOCK_STREAM);
  EXPECT_EQ(*Send(*c, "kept", {}), 4u);
  EXPECT_EQ(*Send(*a, "x", Carrying(d)), 1u);
  d.Reset();
  CollectCircles();
  ReceiveArgs args;
  EXPECT_EQ(Receive(*b, 1, &args), "x");
  ASSERT_EQ(args.control.rights.size(), 1u);
  CollectCircles();
  EXPECT_EQ(Receive(static_cast<Socket&>(*args.control.rights[0]), 10), "kept");
}

TEST_F(UnixSocketTest, AListenerInItsOwnClientsQueueIsCollected) {
  RefPtr<FileDescription> file = MUST(sh_.Open("/f", O_CREAT | O_RDWR));
  auto listener = Make(SOCK_STREAM), client = Make(SOCK_STREAM);
  MUST(listener->Bind(walk_, Named("/s")));
  MUST(listener->Listen(op_, 1));
  MUST(client->Connect(walk_, Named("/s")));
  EXPECT_EQ(*Send(*client, "x", Carrying(file)), 1u);
  EXPECT_EQ(*Send(*client, "x", Carrying(listener)), 1u);
  listener.Reset();
  client.Reset();
  EXPECT_EQ(file->ref_count(), 1);
}

TEST_F(UnixSocketTest, APathMayFillItsAddress) {
  const std::string name = "/" + std::string(107, 'x');
  auto socket = Make(SOCK_STREAM);
  MUST(socket->Bind(walk_, Named(name)));
  const Address address = MUST(socket->LocalAddress());
  EXPECT_EQ(address.size(), 2 + name.size() + 1);
  EXPECT_STREQ(reinterpret_cast<const char*>(address.data()) + 2, name.c_str());
}

}  // namespace
}  // namespace msentry::net
