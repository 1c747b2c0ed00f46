// A platform for fuzzing the kernel: no host process, no guest code. Guest memory is a table of
// pages in this process, and what a guest thread "does" comes from a Script, which all threads of
// the sandbox share: whichever runs next takes the next call.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <map>

#include "platform/platform.h"
#include "sentry/base/mutex.h"

namespace msentry::syscalls {

class ScriptedSpace final : public platform::AddressSpace {
 public:
  Result<size_t> CopyIn(uint64_t address, std::span<std::byte> out) override;
  Result<size_t> CopyOut(uint64_t address, std::span<const std::byte> in) override;
  Result<size_t> ForceCopyOut(uint64_t address, std::span<const std::byte> in) override;
  int host_pid() const override { return -1; }
  void Kill() override { killed_.store(true); }

  bool killed() const { return killed_.load(); }
  Result<> Carry(const platform::MemoryOp& op);
  RefPtr<ScriptedSpace> Fork() const;

 private:
  using Page = std::array<std::byte, arch::kPageSize>;
  // A mapping; its pages are made when they are first touched.
  struct Area {
    uint64_t end = 0;
    int protection = 0;
    std::shared_ptr<ScopedFd> file;  // null: anonymous
    uint64_t offset = 0;             // of the area's start in the file
  };
  // More than this is memory the guest does not get.
  static constexpr size_t kMaxPages = 2048;

  template <typename Bytes>
  Result<size_t> Copy(uint64_t address, Bytes bytes, int needed);
  std::byte* Touch(uint64_t address, int needed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SplitAt(uint64_t address) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Remove(uint64_t begin, uint64_t end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DropPages(uint64_t begin, uint64_t end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Move(const platform::MemoryOp& op) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  std::atomic<bool> killed_{false};
  mutable Mutex mutex_;
  std::map<uint64_t, Area> areas_ ABSL_GUARDED_BY(mutex_);  // by start
  std::map<uint64_t, std::unique_ptr<Page>> pages_ ABSL_GUARDED_BY(mutex_);
};

// On one worker: never called by two threads at once.
class Script {
 public:
  virtual ~Script() = default;
  // Fills in the number (orig_rax) and the arguments of the next call; `registers.rax` is what the
  // thread's last call returned.
  virtual void Next(ScriptedSpace& memory, arch::Registers& registers) = 0;
};

class ScriptedThread final : public platform::GuestThread {
 public:
  ScriptedThread(RefPtr<ScriptedSpace> space, Script& script)
      : space_(std::move(space)), script_(script) {}

  platform::Event Switch(arch::Registers& registers) override;
  Result<> Apply(const platform::MemoryBatch& batch) override;
  Result<std::pair<RefPtr<platform::AddressSpace>, std::unique_ptr<GuestThread>>> Fork() override;
  Result<std::unique_ptr<GuestThread>> NewThread() override;
  Result<> SaveFpu(std::vector<std::byte>& out) override;
  Result<> LoadFpu(std::span<const std::byte>) override { return Ok(); }
  Result<> ResetFpu() override { return Ok(); }
  Result<size_t> CopyIn(uint64_t address, std::span<std::byte> out) override {
    return space_->CopyIn(address, out);
  }
  Result<size_t> CopyOut(uint64_t address, std::span<const std::byte> in) override {
    return space_->CopyOut(address, in);
  }
  std::span<std::byte> BeginBulk(uint64_t, size_t, Direction) override { return {}; }
  Result<> FinishBulk(size_t) override { return Ok(); }
  void Interrupt() override { interrupt_.store(true); }
  int64_t cpu_time_ns() override { return 0; }
  void PublishIdentity(const platform::Identity&) override {}
  uint64_t signal_mask() const override { return mask_.load(); }
  void set_signal_mask(uint64_t mask) override { mask_.store(mask); }
  void PublishPendingSignals(uint64_t) override {}
  void EnableShortcuts(bool) override {}

 private:
  const RefPtr<ScriptedSpace> space_;
  Script& script_;
  std::atomic<bool> interrupt_{false};
  std::atomic<uint64_t> mask_{0};
};

class ScriptedPlatform final : public platform::Platform {
 public:
  explicit ScriptedPlatform(Script& script) : script_(script) {}
  Result<std::pair<RefPtr<platform::AddressSpace>, std::unique_ptr<platform::GuestThread>>>
  NewProcess() override;
  platform::Kind kind() const override { return platform::Kind::kPtrace; }
  Vdso vdso() const override { return {}; }

 private:
  Script& script_;
};

}  // namespace msentry::syscalls
