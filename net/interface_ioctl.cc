#include "net/interface_ioctl.h"

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

#include <cstring>
#include <string_view>

namespace msentry::net {
namespace {

constexpr int kLoopbackIndex = 1;

// An IPv4 address in the union of a struct ifreq.
void PutAddress(ifreq* req, uint32_t host_order) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(host_order);
  std::memcpy(&req->ifr_addr, &address, sizeof req->ifr_addr);
}

Result<int64_t> ListInterfaces(uint64_t argument, vfs::UserMemory& memory) {
  auto conf = TRY(memory.Read<ifconf>(argument));
  if (conf.ifc_buf == nullptr) {
    conf.ifc_len = sizeof(ifreq);  // how much room it takes
  } else if (conf.ifc_len < static_cast<int>(sizeof(ifreq))) {
    conf.ifc_len = 0;
  } else {
    ifreq req{};
    std::strcpy(req.ifr_name, "lo");
    PutAddress(&req, INADDR_LOOPBACK);
    TRY(memory.Write(reinterpret_cast<uint64_t>(conf.ifc_buf), req));
    conf.ifc_len = sizeof(ifreq);
  }
  TRY(memory.Write(argument, conf));
  return 0;
}

}  // namespace

Result<int64_t> InterfaceIoctl(uint32_t command, uint64_t argument, vfs::UserMemory& memory) {
  switch (command) {
    case SIOCGIFCONF:
      return ListInterfaces(argument, memory);
    case SIOCGIFNAME: {
      auto req = TRY(memory.Read<ifreq>(argument));
      if (req.ifr_ifindex != kLoopbackIndex) return Errno::kENODEV;
      std::strcpy(req.ifr_name, "lo");
      TRY(memory.Write(argument, req));
      return 0;
    }
    case SIOCGIFFLAGS:
    case SIOCGIFADDR:
    case SIOCGIFNETMASK:
    case SIOCGIFMTU:
    case SIOCGIFINDEX:
    case SIOCGIFHWADDR:
    case SIOCGIFTXQLEN:
      break;
    case SIOCSIFFLAGS:
    case SIOCSIFADDR:
    case SIOCSIFNETMASK:
    case SIOCSIFMTU:
    case SIOCSIFHWADDR:
      return Errno::kEPERM;
    default:
      return Errno::kENOTTY;
  }
  auto req = TRY(memory.Read<ifreq>(argument));
  req.ifr_name[IFNAMSIZ - 1] = '\0';
  if (std::string_view(req.ifr_name) != "lo") return Errno::kENODEV;
  std::memset(&req.ifr_ifru, 0, sizeof req.ifr_ifru);
  if (command == SIOCGIFFLAGS) req.ifr_flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING;
  if (command == SIOCGIFADDR) PutAddress(&req, INADDR_LOOPBACK);
  if (command == SIOCGIFNETMASK) PutAddress(&req, 0xff000000);
  if (command == SIOCGIFMTU) req.ifr_mtu = 65536;
  if (command == SIOCGIFINDEX) req.ifr_ifindex = kLoopbackIndex;
  if (command == SIOCGIFHWADDR) req.ifr_hwaddr.sa_family = ARPHRD_LOOPBACK;
  if (command == SIOCGIFTXQLEN) req.ifr_qlen = 1000;
  TRY(memory.Write(argument, req));
  return 0;
}

}  // namespace msentry::net
