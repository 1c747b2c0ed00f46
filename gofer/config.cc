#include "gofer/config.h"

#include "gofer/wire/codec.h"

namespace msentry::gofer {
namespace {

constexpr uint32_t kMagic = 0x4d534731;  // "MSG1": starter and gofer are the same ELF file
constexpr size_t kMaxItems = 100'000;

// The wire codec's strings are limited to 64 KiB; replacement files are not.
void PutLong(p9::Encoder& e, const std::string& s) {
  e(p9::Bytes{{reinterpret_cast<const uint8_t*>(s.data()), s.size()}});
}

void GetLong(p9::Decoder& d, std::string& s) {
  p9::Bytes bytes;
  d(bytes);
  s.assign(reinterpret_cast<const char*>(bytes.data.data()), bytes.data.size());
}

void PutRanges(p9::Encoder& e, const std::vector<IdRange>& ranges) {
  e(static_cast<uint32_t>(ranges.size()));
  for (const IdRange& r : ranges) e(r.inside, r.outside, r.count);
}

bool GetCount(p9::Decoder& d, uint32_t& count) {
  d(count);
  return d.ok() && count <= kMaxItems;
}

bool GetRanges(p9::Decoder& d, std::vector<IdRange>& ranges) {
  uint32_t count = 0;
  if (!GetCount(d, count)) return false;
  for (uint32_t i = 0; i < count && d.ok(); ++i) {
    IdRange r;
    d(r.inside, r.outside, r.count);
    ranges.push_back(r);
  }
  return d.ok();
}

}  // namespace

std::string SerializeConfig(const Config& config) {
  std::vector<uint8_t> out;
  p9::Encoder e(out, 0, 0);
  e(kMagic, static_cast<uint32_t>(config.threads), uint8_t{config.require_confinement},
    uint8_t{config.unconfined}, static_cast<uint32_t>(config.connection_fds.size()));
  for (int fd : config.connection_fds) e(static_cast<uint32_t>(fd));
  e(static_cast<uint32_t>(config.attaches.size()));
  for (const AttachConfig& a : config.attaches) {
    PutLong(e, a.aname);
    PutLong(e, a.host_path);
    e(uint8_t{a.read_only}, static_cast<uint8_t>(a.attributes), uint8_t{a.stay_on_device});
    PutRanges(e, a.uid_map);
    PutRanges(e, a.gid_map);
  }
  e(static_cast<uint32_t>(config.hidden.size()));
  for (const HiddenPath& h : config.hidden) {
    PutLong(e, h.host_path);
    e(static_cast<uint8_t>(h.show));
    PutLong(e, h.content);
  }
  e.Finish();
  return std::string(out.begin() + 7, out.end());
}

Result<Config> ParseConfig(std::string_view text) {
  p9::Decoder d({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  Config config;
  uint32_t magic = 0, threads = 0, count = 0;
  uint8_t require = 0, unconfined = 0;
  d(magic, threads, require, unconfined);
  if (!d.ok() || magic != kMagic || threads > 16) return Errno::kEINVAL;
  config.threads = static_cast<int>(threads);
  config.require_confinement = require, config.unconfined = unconfined;
  if (!GetCount(d, count)) return Errno::kEINVAL;
  for (uint32_t i = 0; i < count && d.ok(); ++i) {
    uint32_t fd = 0;
    d(fd);
    config.connection_fds.push_back(static_cast<int>(fd));
  }
  if (!GetCount(d, count)) return Errno::kEINVAL;
  for (uint32_t i = 0; i < count && d.ok(); ++i) {
    AttachConfig& a = config.attaches.emplace_back();
    uint8_t read_only = 0, attributes = 0, stay = 0;
    GetLong(d, a.aname);
    GetLong(d, a.host_path);
    d(read_only, attributes, stay);
    a.read_only = read_only, a.stay_on_device = stay;
    a.attributes = static_cast<AttributePolicy>(attributes);
    if (attributes > 1 || !GetRanges(d, a.uid_map) || !GetRanges(d, a.gid_map)) {
      return Errno::kEINVAL;
    }
  }
  if (!GetCount(d, count)) return Errno::kEINVAL;
  for (uint32_t i = 0; i < count && d.ok(); ++i) {
    HiddenPath& h = config.hidden.emplace_back();
    uint8_t show = 0;
    GetLong(d, h.host_path);
    d(show);
    GetLong(d, h.content);
    if (show > 3) return Errno::kEINVAL;
    h.show = static_cast<HiddenPath::Show>(show);
  }
  if (!d.Finish()) return Errno::kEINVAL;
  return config;
}

}  // namespace msentry::gofer
