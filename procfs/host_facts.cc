#include <sys/sysinfo.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "procfs/proc_fs.h"
#include "procfs/units.h"
#include "sentry/mm/host_proc.h"

namespace msentry::procfs {

namespace {

void Take(HostFacts& facts, std::string_view key, std::string value) {
  if (key == "vendor_id") {
    facts.vendor = std::move(value);
  } else if (key == "cpu family") {
    (void)absl::SimpleAtoi(value, &facts.family);
  } else if (key == "model") {
    (void)absl::SimpleAtoi(value, &facts.model);
  } else if (key == "cpu MHz") {
    facts.mhz = std::move(value);
  } else if (key == "cache size") {
    facts.cache_size = std::move(value);
  } else if (key == "cpuid level") {
    (void)absl::SimpleAtoi(value, &facts.cpuid_level);
  } else if (key == "flags") {
    facts.flags = std::move(value);
  } else if (key == "bogomips") {
    facts.bogomips = std::move(value);
  } else if (key == "clflush size") {
    (void)absl::SimpleAtoi(value, &facts.clflush);
  } else if (key == "address sizes") {
    facts.address_sizes = std::move(value);
  }
}

}  // namespace

HostFacts ReadHostFacts() {
  HostFacts facts;
  facts.cpus = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  struct sysinfo info;
  if (sysinfo(&info) == 0) facts.memory_bytes = uint64_t{info.totalram} * info.mem_unit;
  return facts;
}

const HostFacts& WithProcessor(const HostFacts& facts) {
  static const HostFacts& all = *[&] {
    auto* filled = new HostFacts(facts);
    const std::string text = mm::host_proc::ReadText("cpuinfo");
    for (const std::string& line : std::vector<std::string>(absl::StrSplit(text, '\n'))) {
      if (line.empty()) break;  // the others are like the first
      size_t colon = line.find(':');
      if (colon == std::string::npos) continue;
      std::string_view key = Trim(std::string_view(line).substr(0, colon));
      Take(*filled, key, std::string(Trim(std::string_view(line).substr(colon + 1))));
    }
    if (!facts.shown_vendor.empty()) filled->vendor = facts.shown_vendor;
    std::vector<std::string> flags = absl::StrSplit(filled->flags, ' ', absl::SkipEmpty());
    std::erase_if(flags, [&](const std::string& flag) {
      return std::find(facts.hidden_flags.begin(), facts.hidden_flags.end(), flag) !=
             facts.hidden_flags.end();
    });
    filled->flags = absl::StrJoin(flags, " ");
    return filled;
  }();
  return all;
}

}  // namespace msentry::procfs
