// /proc/PID/mem: a process's memory as a file; the offset is the address.
#include <algorithm>

#include "procfs/access.h"
#include "procfs/process_files.h"
#include "sentry/arch/registers.h"
#include "sentry/mm/io_sequence.h"

namespace msentry::procfs {

namespace {

class MemFile : public vfs::SeekableFile {
 public:
  // It is about the memory the process had when it was opened, as on Linux.
  MemFile(vfs::Location location, int flags, RefPtr<mm::MemoryManager> mm)
      : SeekableFile(std::move(location), flags), mm_(std::move(mm)) {}

  Result<size_t> PRead(const vfs::OpContext&, mm::IoSequence& to, uint64_t offset) override {
    std::byte buffer[arch::kPageSize];
    mm::GuestMemory memory(mm_.get(), nullptr);
    size_t done = 0;
    while (!to.empty()) {
      std::span<std::byte> part(buffer, std::min(to.size(), sizeof(buffer)));
      Result<size_t> have = memory.CopyInSome(offset + done, part);
      if (!have) {
        if (done > 0) break;
        return Errno::kEIO;
      }
      size_t put = TRY(to.CopyOut(part.first(*have)));
      done += put;
      if (put < part.size()) break;
    }
    return done;
  }

  Result<size_t> PWrite(const vfs::OpContext&, mm::IoSequence& from, uint64_t offset) override {
    std::byte buffer[arch::kPageSize];
    size_t done = 0;
    while (!from.empty()) {
      std::span<std::byte> part(buffer, std::min(from.size(), sizeof(buffer)));
      size_t have = TRY(from.CopyIn(part));
      uint64_t at = offset + done;
      if (at >= arch::kTaskSize || have > arch::kTaskSize - at) return Errno::kEIO;
      Result<size_t> put = mm_->address_space().ForceCopyOut(at, part.first(have));
      if (!put) {
        if (done > 0) break;
        return Errno::kEIO;
      }
      done += *put;
      if (*put < have) break;
    }
    return done;
  }

  Result<int64_t> Seek(const vfs::OpContext&, int64_t offset, int whence) override {
    sched::FiberMutexLock lock(position_mutex_);
    int64_t base = whence == SEEK_CUR ? position_.load(std::memory_order_relaxed) : 0;
    if (whence != SEEK_SET && whence != SEEK_CUR) return Errno::kEINVAL;
    position_.store(base + offset, std::memory_order_relaxed);
    return base + offset;
  }

 private:
  const RefPtr<mm::MemoryManager> mm_;
};

}  // namespace

Result<RefPtr<vfs::FileDescription>> OpenMem(const View& v, const vfs::OpenArgs& args) {
  RefPtr<mm::MemoryManager> mm = v.task.mm_ref();
  if (!mm) return Errno::kESRCH;
  return RefPtr<vfs::FileDescription>(MakeRef<MemFile>(args.location, args.flags, std::move(mm)));
}

}  // namespace msentry::procfs
