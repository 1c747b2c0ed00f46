#include "fsimpl/tmpfs/tmp_fs.h"

#include <unistd.h>

#include <charconv>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "fsimpl/tmpfs/tmp_inode.h"

namespace msentry::tmpfs {

namespace {

constexpr uint64_t kMagic = 0x01021994;

uint64_t HostPages() { return static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)); }

Result<uint64_t> ParseNumber(std::string_view text, int base) {
  uint64_t n = 0;
  auto [end, error] = std::from_chars(text.begin(), text.end(), n, base);
  if (error != std::errc() || end != text.end()) return Errno::kEINVAL;
  return n;
}

// "64", "64k", "1m", "2g" as memparse() of Linux takes it, or "50%" of memory.
Result<uint64_t> ParseSize(std::string_view text) {
  if (text.empty()) return Errno::kEINVAL;
  const char last = text.back();
  if (last == '%') {
    text.remove_suffix(1);
    const uint64_t percent = TRY(ParseNumber(text, 10));
    if (percent > 100000) return Errno::kEINVAL;
    return HostPages() * percent / 100 * kPage;
  }
  uint64_t factor = 1;
  switch (last | 0x20) {
    case 'k':
      factor = uint64_t{1} << 10;
      break;
    case 'm':
      factor = uint64_t{1} << 20;
      break;
    case 'g':
      factor = uint64_t{1} << 30;
      break;
    default:
      break;
  }
  if (factor != 1) text.remove_suffix(1);
  const uint64_t n = TRY(ParseNumber(text, 10));
  if (n > (uint64_t{1} << 60) / factor) return Errno::kEINVAL;
  return n * factor;
}

}  // namespace

Result<Options> ParseOptions(std::string_view data) {
  Options o;
  while (!data.empty()) {
    const std::string_view option = data.substr(0, data.find(','));
    data.remove_prefix(std::min(data.size(), option.size() + 1));
    if (option.empty()) continue;
    const size_t equals = option.find('=');
    if (equals == std::string_view::npos) return Errno::kEINVAL;
    const std::string_view key = option.substr(0, equals), value = option.substr(equals + 1);
    if (key == "size") {
      o.max_bytes = TRY(ParseSize(value));
    } else if (key == "nr_blocks") {
      o.max_bytes = TRY(ParseSize(value)) * kPage;
    } else if (key == "nr_inodes") {
      o.max_inodes = TRY(ParseSize(value));
    } else if (key == "mode") {
      o.mode = TRY(ParseNumber(value, 8)) & 07777;
    } else if (key == "uid") {
      o.uid = TRY(ParseNumber(value, 10));
    } else if (key == "gid") {
      o.gid = TRY(ParseNumber(value, 10));
    } else {
      return Errno::kEINVAL;
    }
  }
  return o;
}

TmpFs::TmpFs(const Options& o)
    : FileSystem(o.type, kPseudo),
      max_pages_(o.max_bytes ? PagesOf(o.max_bytes) : HostPages() / 2),
      max_inodes_(o.max_inodes ? o.max_inodes : HostPages() / 2),
      mode_(o.mode) {
  set_source(o.type);
}

void TmpFs::MakeRoot(const Options& o) {
  used_inodes_.fetch_add(1, std::memory_order_relaxed);
  tree_ = MakeRef<TmpDir>(RefPtr<TmpFs>(this), S_IFDIR | (o.mode & 07777),
                          vfs::Inode::NewOwner{o.uid, o.gid});
  SetRoot(tree_);
}

Result<RefPtr<vfs::FileSystem>> Create(const Options& options) {
  RefPtr<TmpFs> fs = MakeRef<TmpFs>(options);
  fs->MakeRoot(options);
  return RefPtr<vfs::FileSystem>(std::move(fs));
}

std::atomic<uint64_t> TmpFs::all_pages{0};
uint64_t TotalPages() { return TmpFs::all_pages.load(std::memory_order_relaxed); }

uint64_t TmpFs::ChargeSome(uint64_t pages) {
  uint64_t used = used_pages_.load(std::memory_order_relaxed);
  for (;;) {
    const uint64_t max = max_pages_.load(std::memory_order_relaxed);
    const uint64_t got = std::min(pages, used < max ? max - used : 0);
    if (got == 0) return 0;
    if (used_pages_.compare_exchange_weak(used, used + got, std::memory_order_relaxed)) {
      all_pages.fetch_add(got, std::memory_order_relaxed);
      return got;
    }
  }
}

bool TmpFs::Charge(uint64_t pages) {
  uint64_t got = ChargeSome(pages);
  if (got == pages) return true;
  Uncharge(got);
  return false;
}

bool TmpFs::ChargeInode() {
  if (used_inodes_.fetch_add(1, std::memory_order_relaxed) <
      max_inodes_.load(std::memory_order_relaxed)) {
    return true;
  }
  UnchargeInode();
  return false;
}

Result<vfs::StatFs> TmpFs::GetStatFs(const vfs::OpContext&) {
  vfs::StatFs st;
  const uint64_t used = used_pages_.load(std::memory_order_relaxed);
  const uint64_t inodes = used_inodes_.load(std::memory_order_relaxed);
  st.type = kMagic;
  st.block_size = kPage;
  st.blocks = max_pages_.load(std::memory_order_relaxed);
  st.blocks_free = st.blocks_available = st.blocks > used ? st.blocks - used : 0;
  st.files = max_inodes_.load(std::memory_order_relaxed);
  st.files_free = st.files > inodes ? st.files - inodes : 0;
  return st;
}

std::string TmpFs::ShowOptions() const {
  std::string s;
  const uint64_t pages = max_pages_.load(std::memory_order_relaxed);
  if (pages != HostPages() / 2) s = absl::StrCat("size=", pages * kPage / 1024, "k");
  if (mode_ != 01777) absl::StrAppend(&s, s.empty() ? "" : ",", absl::StrFormat("mode=%o", mode_));
  return s;
}

Result<> TmpFs::Remount(const vfs::OpContext&, std::string_view data) {
  Options o = TRY(ParseOptions(data));
  if (o.max_bytes) {
    if (PagesOf(o.max_bytes) < used_pages_.load()) return Errno::kEINVAL;
    max_pages_.store(PagesOf(o.max_bytes));
  }
  if (o.max_inodes) {
    if (o.max_inodes < used_inodes_.load()) return Errno::kEINVAL;
    max_inodes_.store(o.max_inodes);
  }
  return Ok();
}

void TmpFs::Shutdown() {
  // Directories own what is in them: taken apart in a loop, since a tree can be deeper than our
  // stack.
  std::vector<RefPtr<TmpInode>> left;
  if (tree_) left.push_back(std::move(tree_));
  while (!left.empty()) {
    RefPtr<TmpInode> inode = std::move(left.back());
    left.pop_back();
    if (!inode->IsDir()) continue;
    for (RefPtr<TmpInode>& child : static_cast<TmpDir&>(*inode).TakeAll()) {
      left.push_back(std::move(child));
    }
  }
}

}  // namespace msentry::tmpfs
