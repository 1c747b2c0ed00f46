#include "fsimpl/devtmpfs/devices.h"

#include <sys/ioctl.h>
#include <sys/random.h>

#include "sentry/mm/io_sequence.h"
#include "vfs/file_description.h"
#include "vfs/operations.h"
#include "vfs/user_memory.h"

namespace msentry::devtmpfs {
namespace {

constexpr uint32_t kMemMajor = 1;

// A device without a position: seeking goes nowhere, and pread is read.
class MemDevice : public vfs::FileDescription {
 public:
  using FileDescription::FileDescription;
  Result<size_t> PRead(const vfs::OpContext& ctx, mm::IoSequence& to, uint64_t) override {
    return Read(ctx, to);
  }
  Result<size_t> PWrite(const vfs::OpContext& ctx, mm::IoSequence& from, uint64_t) override {
    return Write(ctx, from);
  }
  Result<int64_t> Seek(const vfs::OpContext&, int64_t, int whence) override {
    if (whence < SEEK_SET || whence > SEEK_END) return Errno::kEINVAL;
    return 0;
  }
  Result<size_t> Write(const vfs::OpContext&, mm::IoSequence& from) override {
    const size_t n = from.size();
    from.Skip(n);
    return n;
  }
  bool SupportsEpoll() const override { return false; }  // they have no poll operation
};

class NullDevice : public MemDevice {
 public:
  using MemDevice::MemDevice;
  Result<size_t> Read(const vfs::OpContext&, mm::IoSequence&) override { return size_t{0}; }
};

class ZeroDevice : public MemDevice {
 public:
  using MemDevice::MemDevice;
  Result<size_t> Read(const vfs::OpContext&, mm::IoSequence& to) override {
    return to.ZeroOut(to.size());
  }
  Result<vfs::HostMappingInfo> HostBacking(bool) override {
    return vfs::HostMappingInfo{};  // anonymous memory
  }
};

class FullDevice : public ZeroDevice {
 public:
  using ZeroDevice::ZeroDevice;
  Result<size_t> Write(const vfs::OpContext&, mm::IoSequence&) override { return Errno::kENOSPC; }
};

class RandomDevice : public MemDevice {
 public:
  using MemDevice::MemDevice;
  Result<size_t> Read(const vfs::OpContext&, mm::IoSequence& to) override {
    constexpr size_t kMost = 33554431;  // of one read, as in Linux 4.4's drivers/char/random.c
    std::byte buffer[4096];
    size_t done = 0;
    while (!to.empty() && done < kMost) {
      const size_t want = std::min({to.size(), sizeof buffer, kMost - done});
      const ssize_t n = getrandom(buffer, want, GRND_NONBLOCK);
      if (n <= 0) break;  // only while the host itself has no entropy yet
      Result<size_t> copied = to.CopyOut({buffer, static_cast<size_t>(n)});
      if (!copied.ok()) {
        if (done > 0) break;
        return copied.error();
      }
      done += *copied;
      if (*copied < static_cast<size_t>(n)) break;
    }
    if (done == 0 && !to.empty()) return Errno::kEAGAIN;
    return done;
  }
  Result<int64_t> Ioctl(const vfs::OpContext&, uint32_t command, uint64_t argument,
                        vfs::UserMemory& memory) override {
    constexpr uint32_t kGetEntropyCount = 0x80045200;  // RNDGETENTCNT
    if (command != kGetEntropyCount) return Errno::kENOTTY;
    TRY(memory.Write<int32_t>(argument, 256));
    return 0;
  }
  bool SupportsEpoll() const override { return true; }
};

template <typename Device>
void Register(vfs::Vfs& vfs, uint32_t minor) {
  vfs.devices().Register(
      S_IFCHR, kMemMajor, minor, 1, "mem",
      [](const vfs::OpContext&, const vfs::OpenArgs& args,
         uint64_t) -> Result<RefPtr<vfs::FileDescription>> {
        return RefPtr<vfs::FileDescription>(MakeRef<Device>(args.location, args.flags));
      });
}

}  // namespace

void RegisterDevices(vfs::Vfs& vfs) {
  Register<NullDevice>(vfs, 3);
  Register<ZeroDevice>(vfs, 5);
  Register<FullDevice>(vfs, 7);
  Register<RandomDevice>(vfs, 8);
  Register<RandomDevice>(vfs, 9);
}

const std::vector<Node>& Nodes() {
  static const auto* nodes = new std::vector<Node>{
      {"null", S_IFCHR | 0666, vfs::MakeDev(1, 3), ""},
      {"zero", S_IFCHR | 0666, vfs::MakeDev(1, 5), ""},
      {"full", S_IFCHR | 0666, vfs::MakeDev(1, 7), ""},
      {"random", S_IFCHR | 0666, vfs::MakeDev(1, 8), ""},
      {"urandom", S_IFCHR | 0666, vfs::MakeDev(1, 9), ""},
      {"kmsg", S_IFCHR | 0644, vfs::MakeDev(1, 11), ""},
      {"tty", S_IFCHR | 0666, vfs::MakeDev(5, 0), ""},
      {"ptmx", S_IFCHR | 0666, vfs::MakeDev(5, 2), ""},
      {"fd", S_IFLNK | 0777, 0, "/proc/self/fd"},
      {"stdin", S_IFLNK | 0777, 0, "/proc/self/fd/0"},
      {"stdout", S_IFLNK | 0777, 0, "/proc/self/fd/1"},
      {"stderr", S_IFLNK | 0777, 0, "/proc/self/fd/2"},
      {"pts", S_IFDIR | 0755, 0, ""},
      {"shm", S_IFDIR | 01777, 0, ""},
  };
  return *nodes;
}

Result<> Populate(const vfs::OpContext& ctx, const vfs::Location& dev) {
  const vfs::WalkContext walk{ctx, dev, dev};
  for (const Node& node : Nodes()) {
    switch (node.mode & S_IFMT) {
      case S_IFLNK:
        TRY(vfs::Symlink(walk, node.target, node.name));
        break;
      case S_IFDIR:
        TRY(vfs::Mkdir(walk, node.name, node.mode & vfs::kModeBits));
        break;
      default:
        TRY(vfs::Mknod(walk, node.name, node.mode, node.rdev));
    }
  }
  return Ok();
}

}  // namespace msentry::devtmpfs
