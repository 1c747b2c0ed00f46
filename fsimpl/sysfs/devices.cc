// devices/virtual, and the links to it from class and dev (Documentation/sysfs-rules.txt). The
// interface is Documentation/ABI/testing/sysfs-class-net.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "fsimpl/sysfs/tree.h"

namespace msentry::sysfs {

namespace {

using pseudofs::StaticDir;

const char* ClassOf(uint32_t major) {
  constexpr uint32_t kMem = 1, kTty = 5, kMisc = 10;
  switch (major) {
    case kMem:
      return "mem";
    case kTty:
      return "tty";
    case kMisc:
      return "misc";
    default:
      return nullptr;
  }
}

void AddCharacterDevice(SysFs& fs, StaticDir& root, const Device& device) {
  const char* kind = ClassOf(device.major);
  if (kind == nullptr) return;
  const std::string number = absl::StrCat(device.major, ":", device.minor);
  const std::string place = absl::StrCat("devices/virtual/", kind, "/", device.name);
  StaticDir& dir = root.Dir("devices").Dir("virtual").Dir(kind).Dir(device.name);
  AddText(fs, dir, "dev", number);
  AddText(fs, dir, "uevent",
          absl::StrFormat("MAJOR=%u\nMINOR=%u\nDEVNAME=%s\nDEVMODE=0666", device.major,
                          device.minor, device.name),
          0644);
  AddLink(fs, dir, "subsystem", absl::StrCat("../../../../class/", kind));
  AddLink(fs, root.Dir("class").Dir(kind), device.name, "../../" + place);
  AddLink(fs, root.Dir("dev").Dir("char"), number, "../../" + place);
}

// What has no answer on a loopback: EINVAL, as the driver says.
RefPtr<vfs::Inode> Unanswered(SysFs& fs) {
  return pseudofs::MakeText(
      fs, 0444, [](const vfs::OpContext&) -> Result<std::string> { return Errno::kEINVAL; });
}

void AddLoopback(SysFs& fs, StaticDir& root) {
  static constexpr struct {
    const char *name, *text;
    uint32_t mode = 0444;
  } kFiles[] = {
      {"addr_assign_type", "0"},
      {"addr_len", "6"},
      {"address", "00:00:00:00:00:00"},
      {"broadcast", "00:00:00:00:00:00"},
      {"carrier", "1", 0644},
      {"carrier_changes", "0"},
      {"dev_id", "0x0"},
      {"dev_port", "0"},
      {"dormant", "0"},
      {"flags", "0x9", 0644},
      {"gro_flush_timeout", "0", 0644},
      {"ifalias", "", 0644},
      {"ifindex", "1"},
      {"iflink", "1"},
      {"link_mode", "0"},
      {"mtu", "65536", 0644},
      {"netdev_group", "0", 0644},
      {"operstate", "unknown"},
      {"proto_down", "0", 0644},
      {"tx_queue_len", "1", 0644},
      {"type", "772"},
      {"uevent", "INTERFACE=lo\nIFINDEX=1", 0644},
  };
  static constexpr const char* kStatistics[] = {
      "collisions",          "multicast",         "rx_bytes",         "rx_compressed",
      "rx_crc_errors",       "rx_dropped",        "rx_errors",        "rx_fifo_errors",
      "rx_frame_errors",     "rx_length_errors",  "rx_missed_errors", "rx_over_errors",
      "rx_packets",          "tx_aborted_errors", "tx_bytes",         "tx_carrier_errors",
      "tx_compressed",       "tx_dropped",        "tx_errors",        "tx_fifo_errors",
      "tx_heartbeat_errors", "tx_packets",        "tx_window_errors"};
  StaticDir& lo = root.Dir("devices").Dir("virtual").Dir("net").Dir("lo");
  for (const auto& f : kFiles) AddText(fs, lo, f.name, f.text, f.mode);
  for (const char* name : {"duplex", "speed", "name_assign_type"}) lo.Add(name, Unanswered(fs));
  for (const char* name : kStatistics) AddText(fs, lo.Dir("statistics"), name, "0");
  AddText(fs, lo.Dir("queues").Dir("rx-0"), "rps_cpus", CpuMask(1), 0644);
  AddText(fs, lo.Dir("queues").Dir("tx-0"), "tx_timeout", "0");
  AddLink(fs, lo, "subsystem", "../../../../class/net");
  AddLink(fs, root.Dir("class").Dir("net"), "lo", "../../devices/virtual/net/lo");
}

}  // namespace

void AddDevices(SysFs& fs, StaticDir& root) {
  StaticDir& classes = root.Dir("class");
  for (const char* name : {"block", "mem", "misc", "net", "power_supply", "tty"}) {
    classes.Dir(name);
  }
  root.Dir("dev").Dir("block");
  root.Dir("dev").Dir("char");
  for (const Device& device : fs.options().devices) AddCharacterDevice(fs, root, device);
  AddLoopback(fs, root);
  StaticDir& clock = root.Dir("devices").Dir("system").Dir("clocksource").Dir("clocksource0");
  AddText(fs, clock, "available_clocksource", "tsc ");
  AddText(fs, clock, "current_clocksource", "tsc", 0644);
}

}  // namespace msentry::sysfs
