// maps, cmdline, environ, auxv: what is in a process's memory, and where.
#include <algorithm>

#include "absl/strings/str_format.h"
#include "procfs/process_files.h"
#include "procfs/units.h"
#include "sentry/arch/registers.h"
#include "sentry/mm/copy.h"
#include "vfs/types.h"

namespace msentry::procfs {

namespace {

constexpr size_t kNameColumn = 73;
constexpr size_t kMaxArgs = 8 << 20;  // more than execve(2) lets in
constexpr uint64_t kVsyscall = 0xffffffffff600000;

void AppendLine(std::string* out, uint64_t start, uint64_t end, std::string_view permissions,
                uint64_t offset, uint64_t device, uint64_t inode, std::string_view name) {
  size_t line = out->size();
  absl::StrAppendFormat(out, "%08x-%08x %s %08x %02x:%02x %u ", start, end, permissions, offset,
                        vfs::DevMajor(device), vfs::DevMinor(device), inode);
  if (!name.empty()) {
    size_t width = out->size() - line;
    if (width < kNameColumn) out->append(kNameColumn - width, ' ');
    out->append(name);
  }
  *out += '\n';
}

void AppendPlatformMappings(std::string* out, const View& v) {
  platform::Platform::Vdso vdso = v.kernel().platform().vdso();
  if (vdso.length != 0) {
    AppendLine(out, vdso.vvar_address, vdso.vvar_address + vdso.vvar_length, "r--p", 0, 0, 0,
               "[vvar]");
    AppendLine(out, vdso.address, vdso.address + vdso.length, "r-xp", 0, 0, 0, "[vdso]");
  }
  AppendLine(out, kVsyscall, kVsyscall + arch::kPageSize, "--xp", 0, 0, 0, "[vsyscall]");
}

// [start, end) of the process's memory, as much of it as can be read.
Text ReadRange(const mm::MemoryManager& mm, uint64_t start, uint64_t end) {
  if (end <= start) return std::string();
  std::string s(std::min<uint64_t>(end - start, kMaxArgs), '\0');
  mm::GuestMemory memory(const_cast<mm::MemoryManager*>(&mm), nullptr);
  Result<size_t> n = memory.CopyInSome(start, std::as_writable_bytes(std::span<char>(s)));
  if (!n) return std::string();
  s.resize(*n);
  return s;
}

}  // namespace

std::string NameInMaps(const mm::Vma& v, const mm::ImageInfo& image) {
  if (v.file) return EscapePath(v.file->MapsPath(), "\n");
  if (v.shared_id != 0) return "/dev/zero (deleted)";
  if (v.label == mm::VmaLabel::kHeap) return "[heap]";
  if (v.start <= image.start_stack && image.start_stack < v.end) return "[stack]";
  return "";
}

void AppendMapsLine(std::string* out, const mm::Vma& v, const mm::ImageInfo& image) {
  const char permissions[5] = {v.readable() ? 'r' : '-', v.writable() ? 'w' : '-',
                               v.executable() ? 'x' : '-', v.shared ? 's' : 'p', 0};
  uint64_t device = 0, inode = 0, offset = 0;
  if (v.file) {
    device = v.file->device();
    inode = v.file->inode();
    offset = v.offset;
  } else if (v.shared_id != 0) {
    device = vfs::MakeDev(0, 1);
    inode = v.shared_id;
    offset = v.offset;
  }
  AppendLine(out, v.start, v.end, permissions, offset, device, inode, NameInMaps(v, image));
}

Text ReadMaps(const View& v) {
  std::string s;
  RefPtr<mm::MemoryManager> mm = v.task.mm_ref();
  if (!mm) return s;
  mm::ImageInfo image = mm->image();
  mm->ForEach([&](const mm::Vma& vma) { AppendMapsLine(&s, vma, image); });
  AppendPlatformMappings(&s, v);
  return s;
}

Text ReadCmdline(const View& v) {
  RefPtr<mm::MemoryManager> mm = v.task.mm_ref();
  if (!mm) return std::string();
  mm::ImageInfo image = mm->image();
  std::string args = TRY(ReadRange(*mm, image.arg_start, image.arg_end));
  if (args.empty() || args.back() == '\0') return args;
  // The program wrote a title over its arguments, perhaps on into its environment: it ends at the
  // first NUL (setproctitle).
  size_t nul = args.find('\0');
  if (nul != std::string::npos) {
    args.resize(nul + 1);
    return args;
  }
  std::string more = TRY(ReadRange(*mm, image.env_start, image.env_end));
  for (size_t i = 0; i < more.size() && more[i] != '\0'; i++) args += more[i];
  return args;
}

Text ReadEnviron(const View& v) {
  RefPtr<mm::MemoryManager> mm = v.task.mm_ref();
  if (!mm) return std::string();
  mm::ImageInfo image = mm->image();
  return ReadRange(*mm, image.env_start, image.env_end);
}

Text ReadAuxv(const View& v) {
  RefPtr<mm::MemoryManager> mm = v.task.mm_ref();
  if (!mm) return std::string();
  std::string s;
  for (auto [key, value] : mm->image().auxv) {
    uint64_t words[2] = {key, value};
    s.append(reinterpret_cast<const char*>(words), sizeof(words));
  }
  return s;
}

}  // namespace msentry::procfs
