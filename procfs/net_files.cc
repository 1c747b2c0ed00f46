// /proc/PID/net: the tables of a network without interfaces. Headers as Linux writes them.
#include "procfs/system_files.h"

namespace msentry::procfs {

namespace {

struct Table {
  const char* name;
  const char* text;
};

constexpr Table kTables[] = {
    {"dev",
     "Inter-|   Receive                                                |  Transmit\n"
     " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop "
     "fifo colls carrier compressed\n"},
    {"arp", "IP address       HW type     Flags       HW address            Mask     Device\n"},
    {"route",
     "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"
     "                                                       \n"},
    {"if_inet6", ""},
    {"ipv6_route", ""},
    {"tcp",
     "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "
     "inode                                                     \n"},
    {"tcp6",
     "  sl  local_address                         remote_address                        st "
     "tx_queue "
     "rx_queue tr tm->when retrnsmt   uid  timeout inode\n"},
    {"udp",
     "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "
     "inode ref pointer drops             \n"},
    {"udp6",
     "  sl  local_address                         remote_address                        st "
     "tx_queue "
     "rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"},
};

}  // namespace

RefPtr<vfs::Inode> MakeNetDir(ProcFs& fs) {
  RefPtr<pseudofs::StaticDir> dir = MakeRef<pseudofs::StaticDir>(fs);
  for (const Table& t : kTables) dir->Add(t.name, pseudofs::MakeConstant(fs, t.text));
  return dir;
}

}  // namespace msentry::procfs
