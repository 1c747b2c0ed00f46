// smaps, numa_maps, pagemap, clear_refs: what of a process's memory is there, page by page. Guest
// memory is the stub process's own, at the same addresses: the host's figures are the guest's.
#include <algorithm>

#include "absl/strings/str_format.h"
#include "procfs/access.h"
#include "procfs/process_files.h"
#include "procfs/units.h"
#include "sentry/arch/registers.h"
#include "sentry/mm/io_sequence.h"

namespace msentry::procfs {

namespace {

using Area = mm::HostArea;
constexpr uint64_t kPage = arch::kPageSize;

// The host's areas between `start` and `end`, added up. The host may have split what is one mapping
// to us, never the other way round.
class HostAreas {
 public:
  explicit HostAreas(const mm::MemoryManager& mm)
      : areas_(mm::host_proc::ReadSmaps(mm.address_space().host_pid())) {}

  Area Sum(uint64_t start, uint64_t end) const {
    Area sum{start, end, {}};
    auto it = std::lower_bound(areas_.begin(), areas_.end(), start,
                               [](const Area& a, uint64_t at) { return a.start < at; });
    for (; it != areas_.end() && it->end <= end; ++it) {
      for (size_t i = 0; i < sum.kb.size(); ++i) sum.kb[i] += it->kb[i];
    }
    return sum;
  }

 private:
  const std::vector<Area> areas_;
};

void AppendFields(std::string* out, const Area& area, bool rollup) {
  const auto line = [&](const char* name, uint64_t kb) {
    absl::StrAppendFormat(out, "%-16s%8u kB\n", name, kb);
  };
  if (!rollup) line("Size:", (area.end - area.start) / 1024);
  static constexpr struct {
    const char* name;
    Area::Field field;
  } kLines[] = {
      {"Rss:", Area::kRss},
      {"Pss:", Area::kPss},
      {"Shared_Clean:", Area::kSharedClean},
      {"Shared_Dirty:", Area::kSharedDirty},
      {"Private_Clean:", Area::kPrivateClean},
      {"Private_Dirty:", Area::kPrivateDirty},
      {"Referenced:", Area::kReferenced},
      {"Anonymous:", Area::kAnonymous},
      {"AnonHugePages:", Area::kHugePages},
  };
  for (const auto& l : kLines) line(l.name, area.kb[l.field]);
  line("Shared_Hugetlb:", 0);
  absl::StrAppendFormat(out, "%-16s%8u kB\n", "Private_Hugetlb:", 0);
  line("Swap:", area.kb[Area::kSwap]);
  line("SwapPss:", area.kb[Area::kSwapPss]);
  if (!rollup) {
    line("KernelPageSize:", kPage / 1024);
    line("MMUPageSize:", kPage / 1024);
  }
  line("Locked:", area.kb[Area::kLocked]);
}

std::string VmFlags(const mm::Vma& v) {
  std::string s = "VmFlags: ";
  const auto flag = [&](bool on, const char* name) {
    if (on) absl::StrAppend(&s, name, " ");
  };
  flag(v.readable(), "rd");
  flag(v.writable(), "wr");
  flag(v.executable(), "ex");
  flag(v.shared, "sh");
  flag(v.max_protection & 1, "mr");
  flag(v.max_protection & 2, "mw");
  flag(v.max_protection & 4, "me");
  flag(v.shared, "ms");
  flag(v.grows_down, "gd");
  flag(v.locked, "lo");
  flag(v.dont_fork, "dc");
  flag(v.no_reserve, "nr");
  flag(v.wipe_on_fork, "wf");
  flag(v.dont_dump, "dd");
  return s + "\n";
}

// Eight bytes a page of the address space (Documentation/vm/pagemap.txt).
class PagemapFile final : public vfs::SeekableFile {
 public:
  PagemapFile(vfs::Location location, int flags, RefPtr<mm::MemoryManager> mm)
      : SeekableFile(std::move(location), flags), mm_(std::move(mm)) {}

  Result<size_t> PRead(const vfs::OpContext&, mm::IoSequence& to, uint64_t offset) override {
    if (offset % sizeof(uint64_t) != 0 || to.size() % sizeof(uint64_t) != 0) return Errno::kEINVAL;
    constexpr uint64_t kPages = arch::kTaskSize / kPage;
    const uint64_t first = offset / sizeof(uint64_t);
    if (first >= kPages) return size_t{0};
    const uint64_t last =
        first + std::min<uint64_t>({to.size() / sizeof(uint64_t), kMostEntries, kPages - first});
    std::vector<mm::Vma> mappings;
    mm_->ForEach([&](const mm::Vma& v) {
      if (v.end > first * kPage && v.start < last * kPage) mappings.push_back(v);
    });
    std::vector<uint64_t> entries(last - first);
    for (const mm::Vma& v : mappings) {
      const uint64_t begin = std::max(first, v.start / kPage);
      const uint64_t end = std::min(last, v.end / kPage);
      const std::span<uint64_t> part = std::span(entries).subspan(begin - first, end - begin);
      // Only the guest's mappings: the stub's own pages are not shown.
      if (!mm::host_proc::ReadPagemap(mm_->address_space().host_pid(), begin * kPage, part)) {
        std::fill(part.begin(), part.end(), 0);
      }
    }
    return to.CopyOut(std::as_bytes(std::span<const uint64_t>(entries)));
  }
  Result<size_t> PWrite(const vfs::OpContext&, mm::IoSequence&, uint64_t) override {
    return Errno::kEINVAL;
  }
  Result<int64_t> Seek(const vfs::OpContext&, int64_t offset, int whence) override {
    if (whence != SEEK_SET && whence != SEEK_CUR) return Errno::kEINVAL;
    sched::FiberMutexLock lock(position_mutex_);
    const int64_t base = whence == SEEK_CUR ? position_.load(std::memory_order_relaxed) : 0;
    int64_t to = 0;
    if (__builtin_add_overflow(base, offset, &to)) return Errno::kEINVAL;
    position_.store(to, std::memory_order_relaxed);
    return to;
  }

 private:
  static constexpr uint64_t kMostEntries = 1 << 17;  // of one read

  const RefPtr<mm::MemoryManager> mm_;
};

}  // namespace

Text ReadSmaps(const View& v) {
  std::string s;
  RefPtr<mm::MemoryManager> mm = v.task.mm_ref();
  if (!mm) return s;
  const mm::ImageInfo image = mm->image();
  const HostAreas host(*mm);
  mm->ForEach([&](const mm::Vma& vma) {
    AppendMapsLine(&s, vma, image);
    AppendFields(&s, host.Sum(vma.start, vma.end), /*rollup=*/false);
    s += VmFlags(vma);
  });
  return s;
}

Text ReadSmapsRollup(const View& v) {
  RefPtr<mm::MemoryManager> mm = v.task.mm_ref();
  if (!mm) return Errno::kESRCH;
  const HostAreas host(*mm);
  Area total;
  mm->ForEach([&](const mm::Vma& vma) {
    const Area sum = host.Sum(vma.start, vma.end);
    if (total.start == 0) total.start = vma.start;
    total.end = vma.end;
    for (size_t i = 0; i < total.kb.size(); ++i) total.kb[i] += sum.kb[i];
  });
  std::string s = absl::StrFormat("%08x-%08x ---p 00000000 00:00 0 ", total.start, total.end);
  constexpr size_t kNameColumn = 73;
  s.append(s.size() < kNameColumn ? kNameColumn - s.size() : 0, ' ');
  s += "[rollup]\n";
  AppendFields(&s, total, /*rollup=*/true);
  return s;
}

// One node: all pages are on N0.
Text ReadNumaMaps(const View& v) {
  std::string s;
  RefPtr<mm::MemoryManager> mm = v.task.mm_ref();
  if (!mm) return s;
  const mm::ImageInfo image = mm->image();
  const HostAreas host(*mm);
  mm->ForEach([&](const mm::Vma& vma) {
    const Area sum = host.Sum(vma.start, vma.end);
    const auto pages = [&](Area::Field field) { return sum.kb[field] * 1024 / kPage; };
    absl::StrAppendFormat(&s, "%08x default", vma.start);
    const std::string name = NameInMaps(vma, image);
    if (vma.file || vma.shared_id != 0) {
      absl::StrAppendFormat(&s, " file=%s", EscapePath(name, "\n\t= "));
    } else if (name == "[heap]" || name == "[stack]") {
      absl::StrAppend(&s, " ", name.substr(1, name.size() - 2));
    }
    const uint64_t rss = pages(Area::kRss), anonymous = pages(Area::kAnonymous);
    if (rss != 0) {
      const uint64_t dirty = pages(Area::kPrivateDirty) + pages(Area::kSharedDirty);
      if (anonymous != 0) absl::StrAppend(&s, " anon=", anonymous);
      if (dirty != 0) absl::StrAppend(&s, " dirty=", dirty);
      if (rss != anonymous && rss != dirty) absl::StrAppend(&s, " mapped=", rss);
      const uint64_t active = pages(Area::kReferenced);
      if (active < rss) absl::StrAppend(&s, " active=", active);
      absl::StrAppend(&s, " N0=", rss, " kernelpagesize_kB=4");
    }
    s += '\n';
  });
  return s;
}

Result<> WriteClearRefs(const View& v, std::string_view text) {
  const int64_t what = TRY(ParseSigned(text, 10));
  constexpr int kPeak = 5;
  if (what < 1 || what > kPeak) return Errno::kEINVAL;
  RefPtr<mm::MemoryManager> mm = v.task.mm_ref();
  if (!mm) return Ok();
  if (what == kPeak) v.group.max_rss_kb.store(0, std::memory_order_relaxed);
  return mm::host_proc::ClearRefs(mm->address_space().host_pid(), static_cast<int>(what));
}

Result<RefPtr<vfs::FileDescription>> OpenPagemap(const View& v, const vfs::OpenArgs& args) {
  RefPtr<mm::MemoryManager> mm = v.task.mm_ref();
  if (!mm) return Errno::kESRCH;
  return RefPtr<vfs::FileDescription>(
      MakeRef<PagemapFile>(args.location, args.flags, std::move(mm)));
}

}  // namespace msentry::procfs
