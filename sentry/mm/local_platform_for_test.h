// A platform for unit tests of mm and loader: the "guest" is the test process itself. Host
// operations are carried out on it directly, at guest addresses that a process with our memory
// layout has free (LocalLayout()). What a test maps is unmapped when the LocalProcess goes.
#pragma once

#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

#include "platform/platform.h"
#include "sentry/mm/memory_manager.h"

namespace msentry::mm {

class LocalSpace : public platform::AddressSpace {
 public:
  Result<size_t> CopyIn(uint64_t address, std::span<std::byte> out) override {
    iovec local{out.data(), out.size()}, remote{reinterpret_cast<void*>(address), out.size()};
    ssize_t n = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
    if (n <= 0) return Errno::kEFAULT;
    return static_cast<size_t>(n);
  }
  Result<size_t> CopyOut(uint64_t address, std::span<const std::byte> in) override {
    iovec local{const_cast<std::byte*>(in.data()), in.size()};
    iovec remote{reinterpret_cast<void*>(address), in.size()};
    ssize_t n = process_vm_writev(getpid(), &local, 1, &remote, 1, 0);
    if (n <= 0) return Errno::kEFAULT;
    return static_cast<size_t>(n);
  }
  Result<size_t> ForceCopyOut(uint64_t address, std::span<const std::byte> in) override {
    return CopyOut(address, in);
  }
  int host_pid() const override { return getpid(); }
  void Kill() override {}
};

class LocalThread : public platform::GuestThread {
 public:
  explicit LocalThread(RefPtr<LocalSpace> space) : space_(std::move(space)) {}

  // Number of Apply calls and of operations: what a test says about round trips.
  int applies = 0;
  int operations = 0;
  bool offer_bulk = false;  // BeginBulk gives the guest's own memory

  Result<> Apply(const platform::MemoryBatch& batch) override {
    ++applies;
    for (const platform::MemoryOp& op : batch.ops()) {
      ++operations;
      if (!Carry(op)) return FromHost(errno);
    }
    return Ok();
  }
  Result<size_t> CopyIn(uint64_t address, std::span<std::byte> out) override {
    return space_->CopyIn(address, out);
  }
  Result<size_t> CopyOut(uint64_t address, std::span<const std::byte> in) override {
    return space_->CopyOut(address, in);
  }
  std::span<std::byte> BeginBulk(uint64_t address, size_t length, Direction) override {
    if (!offer_bulk) return {};
    return {reinterpret_cast<std::byte*>(address), length};
  }
  Result<> FinishBulk(size_t) override { return Ok(); }

  platform::Event Switch(arch::Registers&) override { return {}; }
  Result<std::pair<RefPtr<platform::AddressSpace>, std::unique_ptr<GuestThread>>> Fork() override {
    RefPtr<LocalSpace> space = MakeRef<LocalSpace>();
    return std::pair<RefPtr<platform::AddressSpace>, std::unique_ptr<GuestThread>>(
        space, std::make_unique<LocalThread>(space));
  }
  Result<std::unique_ptr<GuestThread>> NewThread() override { return Errno::kENOSYS; }
  Result<> SaveFpu(std::vector<std::byte>&) override { return Ok(); }
  Result<> LoadFpu(std::span<const std::byte>) override { return Ok(); }
  Result<> ResetFpu() override { return Ok(); }
  void Interrupt() override {}
  int64_t cpu_time_ns() override { return 0; }
  void PublishIdentity(const platform::Identity&) override {}
  uint64_t signal_mask() const override { return 0; }
  void set_signal_mask(uint64_t) override {}
  void PublishPendingSignals(uint64_t) override {}
  void EnableShortcuts(bool) override {}

 private:
  static bool Carry(const platform::MemoryOp& op) {
    using Kind = platform::MemoryOp::Kind;
    void* at = reinterpret_cast<void*>(op.address);
    switch (op.kind) {
      case Kind::kMapAnonymous:
        return mmap(at, op.length, op.protection, op.flags | MAP_FIXED | MAP_ANONYMOUS, -1, 0) ==
               at;
      case Kind::kMapFile:
        return mmap(at, op.length, op.protection, op.flags | MAP_FIXED, op.host_fd,
                    static_cast<off_t>(op.offset)) == at;
      case Kind::kUnmap:
        return munmap(at, op.length) == 0;
      case Kind::kProtect:
        return mprotect(at, op.length, op.protection) == 0;
      case Kind::kAdvise:
        return madvise(at, op.length, op.flags) == 0;
      case Kind::kRemap: {
        void* to = reinterpret_cast<void*>(op.new_address);
        int flags = op.new_address != op.address ? MREMAP_MAYMOVE | MREMAP_FIXED : 0;
        return mremap(at, op.length, op.new_length, flags, to) == to;
      }
      case Kind::kSync:
        return msync(at, op.length, op.flags) == 0;
    }
    return false;
  }

  RefPtr<LocalSpace> space_;
};

inline Layout LocalLayout() {
  return {.mmap_top = 0x300000000000, .stack_top = 0x310000000000, .randomize = false};
}

struct LocalProcess {
  LocalProcess() : space(MakeRef<LocalSpace>()), thread(space) {
    mm = MemoryManager::Create(space, LocalLayout());
  }
  ~LocalProcess() {
    mm->ForEach([](const Vma& v) { munmap(reinterpret_cast<void*>(v.start), v.length()); });
  }
  GuestMemory memory() { return GuestMemory(mm.get(), &thread); }

  RefPtr<LocalSpace> space;
  LocalThread thread;
  RefPtr<MemoryManager> mm;
};

}  // namespace msentry::mm
