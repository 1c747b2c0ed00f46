#include "net/inet/inet_socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "fsimpl/tests/fs_fixture.h"
#include "fsimpl/tmpfs/tmpfs.h"

namespace msentry::net {
namespace {

class InetSocketTest : public testing::Test {
 protected:
  InetSocketTest()
      : sh_(vfs_, vfs::MountNamespace::Create(MUST(tmpfs::Create({})), 0), RootCreds()),
        op_(sh_.ctx()),
        walk_{op_, sh_.root(), sh_.cwd()} {}

  RefPtr<Socket> Make(int type, int domain = AF_INET) {
    return MUST(MakeInetSocket(op_, 0, domain, type, 0));
  }
  static Address At(uint16_t port, const char* host = "127.0.0.1") {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    CHECK(inet_pton(AF_INET, host, &address.sin_addr) == 1);
    return Address::Of(address);
  }
  static Address At6(uint16_t port) {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(port);
    address.sin6_addr = in6addr_loopback;
    return Address::Of(address);
  }
  static uint16_t PortOf(Socket& socket) {
    return ntohs(MUST(socket.LocalAddress()).As<sockaddr_in>().sin_port);
  }
  Result<size_t> Send(Socket& socket, std::string_view text, const Address* to = nullptr) {
    SendArgs args;
    args.to = to;
    auto from = mm::IoSequence::ForWriting(std::as_bytes(std::span(text)));
    return socket.Send(walk_, from, args);
  }
  std::string Receive(Socket& socket, size_t n) {
    ReceiveArgs args;
    std::string out(n, '\0');
    auto to = mm::IoSequence::ForReading(std::as_writable_bytes(std::span(out)));
    Result<size_t> got = socket.Receive(op_, to, args);
    if (!got.ok()) return ErrnoName(got.error());
    return out.substr(0, *got);
  }

  vfs::Vfs vfs_;
  Shell sh_;
  vfs::OpContext op_;
  vfs::WalkContext walk_;
};

TEST_F(InetSocketTest, TcpConnectsOverTheLoopback) {
  auto listener = Make(SOCK_STREAM), client = Make(SOCK_STREAM);
  MUST(listener->Bind(walk_, At(0)));
  const uint16_t port = PortOf(*listener);
  EXPECT_NE(port, 0);
  EXPECT_EQ(Outcome(client->Connect(walk_, At(port))), "ECONNREFUSED");
  MUST(listener->Listen(op_, 4));
  EXPECT_EQ(Outcome(listener->Accept(op_, 0)), "EAGAIN");
  MUST(client->Connect(walk_, At(port)));
  EXPECT_EQ(listener->Readiness(sched::kIn), sched::kIn);
  RefPtr<Socket> server = MUST(listener->Accept(op_, 0));
  EXPECT_EQ(PortOf(*server), port);
  EXPECT_EQ(ntohs(MUST(server->PeerAddress()).As<sockaddr_in>().sin_port), PortOf(*client));
  EXPECT_EQ(*Send(*client, "ping"), 4u);
  EXPECT_EQ(Receive(*server, 10), "ping");
  client.Reset();
  EXPECT_EQ(Receive(*server, 10), "");
}

TEST_F(InetSocketTest, PortsBelongToOneSocket) {
  auto a = Make(SOCK_STREAM), b = Make(SOCK_STREAM), c = Make(SOCK_DGRAM);
  MUST(a->Bind(walk_, At(4000)));
  MUST(a->Listen(op_, 1));
  EXPECT_EQ(Outcome(b->Bind(walk_, At(4000))), "EADDRINUSE");
  EXPECT_EQ(Outcome(c->Bind(walk_, At(4000))), "ok");  // UDP has ports of its own
  EXPECT_EQ(Outcome(b->Bind(walk_, At(4001, "10.0.0.1"))), "EADDRNOTAVAIL");
  a.Reset();
  EXPECT_EQ(Outcome(b->Bind(walk_, At(4000))), "ok");
}

TEST_F(InetSocketTest, OnlyTheLoopbackIsReachable) {
  EXPECT_EQ(Outcome(Make(SOCK_STREAM)->Connect(walk_, At(80, "192.0.2.1"))), "ENETUNREACH");
  const Address outside = At(80, "192.0.2.1");
  EXPECT_EQ(Outcome(Send(*Make(SOCK_DGRAM), "x", &outside)), "ENETUNREACH");
}

TEST_F(InetSocketTest, UdpKeepsMessagesApart) {
  auto a = Make(SOCK_DGRAM), b = Make(SOCK_DGRAM);
  MUST(b->Bind(walk_, At(0)));
  const Address to = At(PortOf(*b));
  EXPECT_EQ(*Send(*a, "one", &to), 3u);
  EXPECT_EQ(*Send(*a, "two", &to), 3u);
  EXPECT_EQ(Receive(*b, 2), "on");
  EXPECT_EQ(Receive(*b, 10), "two");
  EXPECT_EQ(Receive(*b, 10), "EAGAIN");
}

TEST_F(InetSocketTest, Ipv6ReachesIpv6) {
  auto listener = Make(SOCK_STREAM, AF_INET6), client = Make(SOCK_STREAM, AF_INET6);
  MUST(listener->Bind(walk_, At6(0)));
  MUST(listener->Listen(op_, 1));
  const uint16_t port = ntohs(MUST(listener->LocalAddress()).As<sockaddr_in6>().sin6_port);
  MUST(client->Connect(walk_, At6(port)));
  RefPtr<Socket> server = MUST(listener->Accept(op_, 0));
  EXPECT_EQ(*Send(*server, "six"), 3u);
  EXPECT_EQ(Receive(*client, 10), "six");
}

TEST_F(InetSocketTest, BacklogIsBounded) {
  auto listener = Make(SOCK_STREAM);
  MUST(listener->Bind(walk_, At(0)));
  MUST(listener->Listen(op_, 1));
  std::vector<RefPtr<Socket>> clients;
  int connected = 0;
  for (int i = 0; i < 10; ++i) {
    clients.push_back(Make(SOCK_STREAM));
    if (clients.back()->Connect(walk_, At(PortOf(*listener))).ok()) ++connected;
  }
  EXPECT_LT(connected, 10);
  EXPECT_GE(connected, 1);
}

}  // namespace
}  // namespace msentry::net
