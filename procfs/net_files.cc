// /proc/PID/net: one loopback interface, and the sockets that processes have open. Formats as Linux
// 4.4 writes them (Documentation/networking/proc_net_tcp.txt, proc(5)).
#include <sys/socket.h>

#include <algorithm>

#include "absl/strings/str_format.h"
#include "net/inet/inet_address.h"
#include "net/socket.h"
#include "procfs/system_files.h"
#include "vfs/inode.h"

namespace msentry::procfs {

namespace {

using Text = Result<std::string>;

// Every open socket, once.
std::vector<RefPtr<vfs::FileDescription>> Sockets(const ProcFs& fs, int domain, int type) {
  std::vector<RefPtr<vfs::FileDescription>> found;
  ForEachOpenFile(fs.kernel(), [&](const RefPtr<vfs::FileDescription>& file) {
    const net::Socket* socket = vfs::FileCast<net::Socket>(*file);
    if (socket == nullptr || socket->domain() != domain) return;
    if (type != 0 && socket->type() != type) return;
    found.push_back(file);
  });
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return a->inode().ino() != b->inode().ino() ? a->inode().ino() < b->inode().ino()
                                                : std::less<>()(a.get(), b.get());
  });
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

// An address as its words are in memory, and the port.
std::string AddressText(const net::InetAddress& a, int domain) {
  std::string s;
  for (size_t word = domain == AF_INET ? 3 : 0; word < 4; ++word) {
    uint32_t bits = 0;
    std::memcpy(&bits, a.ip.data() + word * 4, sizeof bits);
    absl::StrAppendFormat(&s, "%08X", bits);
  }
  absl::StrAppendFormat(&s, ":%04X", a.port);
  return s;
}

net::InetAddress AddressOf(const Result<net::Address>& address, int domain) {
  if (!address.ok()) return {};
  Result<net::InetAddress> parsed = net::InetAddress::Parse(domain, *address);
  return parsed.ok() ? *parsed : net::InetAddress{};
}

// tcp, tcp6, udp, udp6.
std::string InetTable(const ProcFs& fs, int domain, int type, std::string_view header,
                      size_t width) {
  constexpr int kEstablished = 1, kClose = 7, kListen = 10;
  const bool tcp = type == SOCK_STREAM;
  std::string s;
  const auto line = [&](std::string text) {
    if (text.size() < width) text.append(width - text.size(), ' ');
    s += text + "\n";
  };
  line(std::string(header));
  int number = 0;
  for (const auto& file : Sockets(fs, domain, type)) {
    auto& socket = static_cast<net::Socket&>(*file);
    const net::InetAddress local = AddressOf(socket.LocalAddress(), domain);
    Result<net::Address> peer = socket.PeerAddress();
    if (local.port == 0) continue;  // not bound: in no table
    const int state = peer.ok() ? kEstablished : socket.listening() ? kListen : kClose;
    std::string text = absl::StrFormat(
        "%*d: %s %s %02X %08X:%08X 00:00000000 00000000 %5u %8d %u %d %016x", tcp ? 4 : 5, number++,
        AddressText(local, domain), AddressText(AddressOf(peer, domain), domain), state,
        socket.Unsent(), socket.Unread(), file->inode().uid(), 0, file->inode().ino(), tcp ? 1 : 2,
        0);
    text += !tcp ? " 0" : state == kEstablished ? " 20 4 30 10 -1" : " 100 0 0 10 0";
    line(std::move(text));
  }
  return s;
}

constexpr std::string_view kV4Columns =
    "local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
constexpr std::string_view kV6Columns =
    "local_address                         remote_address                        st tx_queue "
    "rx_queue tr tm->when retrnsmt   uid  timeout inode";
constexpr std::string_view kDatagramColumns = " ref pointer drops";
constexpr size_t kTcpWidth = 149, kUdpWidth = 127;

std::string Header(std::string_view indent, std::string_view columns, std::string_view more = "") {
  std::string s(indent);
  return s.append("sl  ").append(columns).append(more);
}

Text Tcp(const ProcFs& fs) {
  return InetTable(fs, AF_INET, SOCK_STREAM, Header("  ", kV4Columns), kTcpWidth);
}
Text Tcp6(const ProcFs& fs) {
  return InetTable(fs, AF_INET6, SOCK_STREAM, Header("  ", kV6Columns), 0);
}
Text Udp(const ProcFs& fs) {
  return InetTable(fs, AF_INET, SOCK_DGRAM, Header("   ", kV4Columns, kDatagramColumns), kUdpWidth);
}
Text Udp6(const ProcFs& fs) {
  return InetTable(fs, AF_INET6, SOCK_DGRAM, Header("  ", kV6Columns, kDatagramColumns), 0);
}

// The name of a UNIX socket: a path, or an abstract name with its NULs as '@'.
std::string UnixName(const Result<net::Address>& address) {
  constexpr size_t kFamily = sizeof(uint16_t);
  if (!address.ok() || address->size() <= kFamily) return "";
  std::string name(reinterpret_cast<const char*>(address->data()) + kFamily,
                   address->size() - kFamily);
  if (name[0] != '\0') return " " + name.substr(0, name.find('\0'));
  for (char& c : name) {
    if (c == '\0') c = '@';
  }
  return " " + name;
}

Text Unix(const ProcFs& fs) {
  constexpr int kListens = 1 << 16;  // __SO_ACCEPTCON
  constexpr int kUnconnected = 1, kConnected = 3;
  std::string s = "Num       RefCount Protocol Flags    Type St Inode Path\n";
  for (const auto& file : Sockets(fs, AF_UNIX, 0)) {
    auto& socket = static_cast<net::Socket&>(*file);
    const bool connected = socket.PeerAddress().ok();
    absl::StrAppendFormat(&s, "%016x: %08X %08X %08X %04X %02X %5u%s\n", 0, connected ? 3 : 2, 0,
                          socket.listening() ? kListens : 0, socket.type(),
                          connected ? kConnected : kUnconnected, file->inode().ino(),
                          UnixName(socket.LocalAddress()));
  }
  return s;
}

Text Netlink(const ProcFs& fs) {
  std::string s =
      "sk       Eth Pid    Groups   Rmem     Wmem     Dump     Locks     Drops     Inode\n";
  for (const auto& file : Sockets(fs, AF_NETLINK, 0)) {
    auto& socket = static_cast<net::Socket&>(*file);
    absl::StrAppendFormat(&s, "%016x %-3d %-6u %08x %-8d %-8d %-8d %-8d %-8d %-8u\n", 0,
                          socket.protocol(), 0, 0, socket.Unread(), 0, 0, 2, 0,
                          file->inode().ino());
  }
  return s;
}

Text Sockstat(const ProcFs& fs) {
  const size_t tcp = Sockets(fs, AF_INET, SOCK_STREAM).size();
  const size_t udp = Sockets(fs, AF_INET, SOCK_DGRAM).size();
  const size_t used = tcp + udp + Sockets(fs, AF_INET6, 0).size() + Sockets(fs, AF_UNIX, 0).size() +
                      Sockets(fs, AF_NETLINK, 0).size();
  return absl::StrFormat(
      "sockets: used %u\nTCP: inuse %u orphan 0 tw 0 alloc %u mem 0\nUDP: inuse %u mem 0\n"
      "UDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n",
      used, tcp, tcp, udp);
}

Text Sockstat6(const ProcFs& fs) {
  return absl::StrFormat(
      "TCP6: inuse %u\nUDP6: inuse %u\nUDPLITE6: inuse 0\nRAW6: inuse 0\nFRAG6: inuse 0 memory "
      "0\n",
      Sockets(fs, AF_INET6, SOCK_STREAM).size(), Sockets(fs, AF_INET6, SOCK_DGRAM).size());
}

Text Protocols(const ProcFs& fs) {
  struct Row {
    const char* name;
    int size, domain, type;
    const char *press, *slab, *calls;
  };
  static constexpr Row kRows[] = {
      {"UDPv6", 1152, AF_INET6, SOCK_DGRAM, "NI", "yes", "y  y  y  n  y  n  y  y  y  y  n"},
      {"TCPv6", 2112, AF_INET6, SOCK_STREAM, "no", "yes", "y  y  y  y  y  y  y  y  y  y  n"},
      {"UNIX", 1024, AF_UNIX, 0, "NI", "yes", "n  n  n  n  n  n  n  n  n  n  n"},
      {"UDP", 960, AF_INET, SOCK_DGRAM, "NI", "yes", "y  y  y  n  y  n  y  y  y  y  n"},
      {"TCP", 1928, AF_INET, SOCK_STREAM, "no", "yes", "y  y  y  y  y  y  y  y  y  y  n"},
      {"NETLINK", 1056, AF_NETLINK, 0, "NI", "no", "n  n  n  n  n  n  n  n  n  n  n"},
  };
  std::string s =
      "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs "
      "se re sp bi br ha uh gp em\n";
  for (const Row& r : kRows) {
    absl::StrAppendFormat(&s, "%-9s %4d %6d  %6d   %-3s %6d   %-4s%-10s %s  n  n  y  y  y  y  %s\n",
                          r.name, r.size, Sockets(fs, r.domain, r.type).size(), -1, r.press, 0,
                          r.slab, "kernel", r.calls, r.domain == AF_INET ? "y  n" : "n  n");
  }
  return s;
}

Text SoftnetStat(const ProcFs& fs) {
  std::string s;
  for (int cpu = 0; cpu < std::max(1, fs.kernel().cpus()); ++cpu) {
    for (int i = 0; i < 11; ++i) absl::StrAppend(&s, i == 0 ? "" : " ", "00000000");
    s += '\n';
  }
  return s;
}

struct Constant {
  const char* name;
  const char* text;
};

constexpr Constant kConstants[] = {
    {"anycast6", ""},
    {"arp", "IP address       HW type     Flags       HW address            Mask     Device\n"},
    {"dev",
     "Inter-|   Receive                                                |  Transmit\n"
     " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop "
     "fifo colls carrier compressed\n"
     "    lo:       0       0    0    0    0     0          0         0        0       0    0    0"
     "    0     0       0          0\n"},
    {"dev_mcast", ""},
    {"fib_trie",
     "Main:\n  +-- 127.0.0.0/8 2 0 2\n     +-- 127.0.0.0/31 1 0 0\n        |-- 127.0.0.0\n"
     "           /32 link BROADCAST\n           /8 host LOCAL\n        |-- 127.0.0.1\n"
     "           /32 host LOCAL\n     |-- 127.255.255.255\n        /32 link BROADCAST\n"},
    {"icmp",
     "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "
     "inode ref pointer drops             \n"},
    {"if_inet6", "00000000000000000000000000000001 01 80 10 80       lo\n"},
    {"igmp",
     "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n"
     "1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n"},
    {"igmp6",
     "1    lo              ff020000000000000000000000000001     1 0000000C 0\n"
     "1    lo              ff010000000000000000000000000001     1 00000008 0\n"},
    {"ipv6_route",
     "00000000000000000000000000000001 80 00000000000000000000000000000000 00 "
     "00000000000000000000000000000000 00000000 00000001 00000000 80200001       lo\n"},
    {"mcfilter", "Idx Device        MCA        SRC    INC    EXC\n"},
    {"mcfilter6",
     "Idx Device                Multicast Address                   Source Address    INC    "
     "EXC\n"},
    {"netstat",
     "TcpExt: SyncookiesSent SyncookiesRecv SyncookiesFailed EmbryonicRsts PruneCalled RcvPruned "
     "OfoPruned OutOfWindowIcmps LockDroppedIcmps ArpFilter TW TWRecycled TWKilled ListenOverflows "
     "ListenDrops\n"
     "TcpExt: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
     "IpExt: InNoRoutes InTruncatedPkts InMcastPkts OutMcastPkts InBcastPkts OutBcastPkts InOctets "
     "OutOctets InMcastOctets OutMcastOctets InBcastOctets OutBcastOctets\n"
     "IpExt: 0 0 0 0 0 0 0 0 0 0 0 0\n"},
    {"packet", "sk       RefCnt Type Proto  Iface R Rmem   User   Inode\n"},
    {"psched", "000003e8 00000040 000f4240 3b9aca00\n"},
    {"ptype",
     "Type Device      Function\n0800          ip_rcv\n0806          arp_rcv\n"
     "86dd          ipv6_rcv\n"},
    {"raw",
     "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "
     "inode ref pointer drops\n"},
    {"raw6",
     "  sl  local_address                         remote_address                        st "
     "tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"},
    {"route",
     "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"
     "                                                       \n"},
    {"rt6_stats", "0001 0001 0002 0001 0000 0000 0000\n"},
    {"rt_cache",
     "Iface\tDestination\tGateway \tFlags\t\tRefCnt\tUse\tMetric\tSource\t\tMTU\tWindow\tIRTT\tTOS"
     "\tHHRef\tHHUptod\tSpecDst                          \n"},
    {"snmp",
     "Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos "
     "InDiscards InDelivers OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs "
     "ReasmFails FragOKs FragFails FragCreates\n"
     "Ip: 2 64 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
     "Icmp: InMsgs InErrors InCsumErrors InDestUnreachs InTimeExcds InParmProbs InSrcQuenchs "
     "InRedirects InEchos InEchoReps InTimestamps InTimestampReps InAddrMasks InAddrMaskReps "
     "OutMsgs "
     "OutErrors OutDestUnreachs OutTimeExcds OutParmProbs OutSrcQuenchs OutRedirects OutEchos "
     "OutEchoReps OutTimestamps OutTimestampReps OutAddrMasks OutAddrMaskReps\n"
     "Icmp: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
     "Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets "
     "CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors\n"
     "Tcp: 1 200 120000 -1 0 0 0 0 0 0 0 0 0 0 0\n"
     "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors "
     "IgnoredMulti\n"
     "Udp: 0 0 0 0 0 0 0 0\n"
     "UdpLite: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors "
     "IgnoredMulti\n"
     "UdpLite: 0 0 0 0 0 0 0 0\n"},
    {"snmp6",
     "Ip6InReceives                   \t0\nIp6InHdrErrors                  \t0\n"
     "Ip6InDelivers                   \t0\nIp6OutRequests                  \t0\n"
     "Icmp6InMsgs                     \t0\nIcmp6OutMsgs                    \t0\n"
     "Udp6InDatagrams                 \t0\nUdp6NoPorts                     \t0\n"
     "Udp6InErrors                    \t0\nUdp6OutDatagrams                \t0\n"},
    {"udplite",
     "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "
     "inode ref pointer drops            \n"},
    {"udplite6",
     "  sl  local_address                         remote_address                        st "
     "tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"},
};

}  // namespace

RefPtr<vfs::Inode> MakeNetDir(ProcFs& fs) {
  RefPtr<pseudofs::StaticDir> dir = MakeRef<pseudofs::StaticDir>(fs);
  for (const Constant& c : kConstants) dir->Add(c.name, pseudofs::MakeConstant(fs, c.text));
  AddFile(fs, *dir, "netlink", Netlink);
  AddFile(fs, *dir, "protocols", Protocols);
  AddFile(fs, *dir, "sockstat", Sockstat);
  AddFile(fs, *dir, "sockstat6", Sockstat6);
  AddFile(fs, *dir, "softnet_stat", SoftnetStat);
  AddFile(fs, *dir, "tcp", Tcp);
  AddFile(fs, *dir, "tcp6", Tcp6);
  AddFile(fs, *dir, "udp", Udp);
  AddFile(fs, *dir, "udp6", Udp6);
  AddFile(fs, *dir, "unix", Unix);
  dir->Dir("dev_snmp6");
  dir->Dir("stat");
  return dir;
}

}  // namespace msentry::procfs
