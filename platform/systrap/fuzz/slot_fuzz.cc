#include "platform/systrap/fuzz/slot_fuzz.h"

#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "platform/systrap/platform_impl.h"
#include "platform/systrap/stub/abi.h"
#include "sentry/base/log.h"

namespace msentry::systrap {
namespace {

constexpr uint64_t kCode = 0x400000, kCodeBytes = 0x4000;

class Input {
 public:
  Input(const uint8_t* data, size_t size) : left_(data, size) {}
  bool empty() const { return left_.empty(); }
  uint8_t Byte() { return static_cast<uint8_t>(Raw(1)); }
  uint64_t Raw(size_t bytes) {
    uint64_t value = 0;
    const size_t n = std::min(bytes, left_.size());
    std::memcpy(&value, left_.data(), n);
    left_ = left_.subspan(n);
    return value;
  }
  uint64_t Value() {
    constexpr uint64_t kEdges[] = {~uint64_t{0},      kBulkOffset, kArgsOffset, kArgsMax,
                                   kBulkMax,          kOutOffset,  kCode,       arch::kTaskSize,
                                   arch::kStubBase,   kText,       kSlots,      kSlotStride - 1,
                                   uint64_t{1} << 63, 0x80000000,  0xffffffff,  kControl};
    const uint8_t tag = Byte();
    if (tag < 128) return tag;
    if (tag < 144) return kEdges[tag - 128];
    if (tag < 160) return kEdges[tag - 144] + Raw(2);
    if (tag < 192) return kCode + Raw(2);
    if (tag < 224) return Raw(4);
    return Raw(8);
  }

 private:
  std::span<const uint8_t> left_;
};

// The words of a slot that the sentry reads, and some it should not.
struct Word {
  uint16_t offset, bytes;
};
#define SLOT_WORD(field) \
  Word { offsetof(Slot, field), sizeof(Slot::field) }
constexpr Word kWords[] = {
    SLOT_WORD(kind),        SLOT_WORD(value),      SLOT_WORD(by_signal),
    SLOT_WORD(done),        SLOT_WORD(copy_fault), SLOT_WORD(patch_failed),
    SLOT_WORD(fault_signo), SLOT_WORD(fault_code), SLOT_WORD(fault_address),
    SLOT_WORD(fault_error), SLOT_WORD(fault_trap), SLOT_WORD(marshalled),
    SLOT_WORD(signal_mask), SLOT_WORD(host_tid),   SLOT_WORD(guest_gs),
    SLOT_WORD(interrupt),   SLOT_WORD(sleeping),   SLOT_WORD(op_count),
    SLOT_WORD(after),       SLOT_WORD(index),      SLOT_WORD(self),
    SLOT_WORD(stack),       SLOT_WORD(tid),        SLOT_WORD(single_step),
};
#undef SLOT_WORD

// Writes one word that the input chooses: a field, a register, a marshalled argument, an
// operation.
void WriteWord(Slot* slot, Input& input) {
  std::byte* base = reinterpret_cast<std::byte*>(slot);
  const uint8_t which = input.Byte();
  const uint64_t value = input.Value();
  if (which < 96) {
    const Word& word = kWords[which % std::size(kWords)];
    std::memcpy(base + word.offset, &value, word.bytes);
  } else if (which < 160) {
    constexpr size_t kRegisters = sizeof(SlotRegs) / 8;
    std::memcpy(base + offsetof(Slot, regs) + which % kRegisters * 8, &value, 8);
  } else if (which < 200) {
    slot->marshalled = 1;
    slot->arg_length[which % 6] = static_cast<uint32_t>(value);
  } else if (which < 240) {
    slot->arg_offset[which % 6] = static_cast<uint32_t>(value);
  } else {
    std::memcpy(base + kOpsOffset + which % 16 * 8, &value, 8);
  }
}

// Who answers in the stub's place: a thread for the whole run, given one slot at a time.
class FalseStub {
 public:
  explicit FalseStub(int doorbell) : doorbell_(doorbell), thread_([this] { Loop(); }) {
    thread_.detach();
  }
  // From here on it is the stub of `slot`; null: of none (returns when it is done with the last).
  void Take(Slot* slot, Input* input) {
    input_ = input;
    slot_.store(slot, std::memory_order_seq_cst);
    while (busy_.load(std::memory_order_seq_cst)) std::this_thread::yield();
  }

 private:
  void Loop() {
    for (;;) {
      busy_.store(true, std::memory_order_seq_cst);
      Slot* slot = slot_.load(std::memory_order_seq_cst);
      if (slot != nullptr && __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE) == kReply) {
        Answer(slot);
      }
      busy_.store(false, std::memory_order_seq_cst);
      std::this_thread::yield();
    }
  }

  void Answer(Slot* slot) {
    // What a good stub would say, then the input's word on it.
    slot->kind = slot->after == kReport ? kDone : kSyscall;
    slot->value = 0;
    slot->regs.orig_rax = SYS_getppid;
    for (int words = input_->Byte() % 12; words > 0; --words) WriteWord(slot, *input_);
    __atomic_store_n(&slot->state, kRequest, __ATOMIC_SEQ_CST);
    const uint64_t one = 1;
    (void)!write(doorbell_, &one, sizeof one);
  }

  const int doorbell_;
  std::atomic<Slot*> slot_{nullptr};
  std::atomic<bool> busy_{false};
  Input* input_ = nullptr;
  std::thread thread_;
};

// A file full of call sites in the forms that the patcher looks for.
ScopedFd CodeFile() {
  constexpr uint8_t kSites[] = {
      0xb8, 0x27, 0,    0,    0,    0x0f, 0x05,                          // mov $39,%eax; syscall
      0x0f, 0x05, 0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, 0x73, 0x01, 0xc3,  // syscall; cmp; jae
      0x49, 0x89, 0xca, 0x0f, 0x05, 0xc3, 0x90, 0x90,                    // mov %rcx,%r10; syscall
  };
  ScopedFd file(memfd_create("fuzz", MFD_CLOEXEC));
  CHECK(ftruncate(file.get(), kCodeBytes) == 0);
  for (uint64_t at = 0; at + sizeof kSites < kCodeBytes; at += sizeof kSites) {
    CHECK(pwrite(file.get(), kSites, sizeof kSites, static_cast<off_t>(at)) == sizeof kSites);
  }
  return file;
}

// One for the whole run, on a host thread of its own that never ends.
struct World {
  World() {
    SetLog(2, LogLevel::kError);  // every input may lose a process
    std::string why;
    scheduler = MUST(sched::Scheduler::Create({.workers = 1, .spin_ns = 0}));
    platform = MUST(SystrapPlatform::Create(*scheduler, {.pool = 2}, &why));
    stub = std::make_unique<FalseStub>(scheduler->doorbell_fd());
    file = CodeFile();
    std::thread([this] { scheduler->Run(); }).detach();
  }
  std::unique_ptr<sched::Scheduler> scheduler;
  std::unique_ptr<platform::Platform> platform;
  std::unique_ptr<FalseStub> stub;
  ScopedFd file;
};

// What the sentry does with a guest thread; on a fiber.
class Driver {
 public:
  Driver(World& world, Input& input) : world_(world), input_(input) {}

  void Run() {
    auto [space, thread] = MUST(world_.platform->NewProcess());
    space_ = std::move(space);
    thread_ = std::move(thread);
    MapCode();
    auto* own = static_cast<Thread*>(thread_.get());
    kill(space_->host_pid(), SIGSTOP);
    world_.stub->Take(own->slot(), &input_);
    for (int steps = 0; steps < 40 && !input_.empty(); ++steps) Step();
    world_.stub->Take(nullptr, nullptr);
    thread_.reset();
  }

 private:
  // While the stub is still a good one.
  void MapCode() {
    platform::MemoryBatch batch;
    batch.MapFile(kCode, kCodeBytes, PROT_READ | PROT_EXEC, MAP_PRIVATE, world_.file.get(), 0);
    CHECK(thread_->Apply(batch).ok());
  }

  void Step() {
    switch (input_.Byte() % 12) {
      case 0:
      case 1:
      case 2:
        (void)thread_->Switch(registers_);
        registers_.rax = input_.Value();
        break;
      case 3:
        Apply();
        break;
      case 4:
        (void)thread_->Fork().ok();
        break;
      case 5:
        (void)thread_->NewThread().ok();
        break;
      case 6:
        Copy();
        break;
      case 7:
        Bulk();
        break;
      case 8: {
        std::vector<std::byte> fpu;
        if (thread_->SaveFpu(fpu).ok()) (void)thread_->LoadFpu(fpu);
        break;
      }
      case 9:
        thread_->Interrupt();
        break;
      case 10: {
        const std::byte bytes[16] = {};
        (void)space_->ForceCopyOut(input_.Value(), bytes).ok();
        break;
      }
      default:
        registers_.fs_base = input_.Value() % arch::kTaskSize;
        registers_.rip = kCode + input_.Byte();
        (void)thread_->signal_mask();
        (void)thread_->cpu_time_ns();
    }
  }

  void Apply() {
    platform::MemoryBatch batch;
    const uint64_t at = kCode + input_.Byte() % 4 * arch::kPageSize;
    const uint64_t length = (1 + input_.Byte() % 4) * arch::kPageSize;
    batch.MapAnonymous(at, length, PROT_READ, MAP_PRIVATE);
    batch.MapFile(at, length, PROT_READ | PROT_EXEC, MAP_PRIVATE, world_.file.get(), 0);
    batch.Protect(at, length, PROT_READ | PROT_WRITE);
    batch.Remap(at, length, at + 2 * kCodeBytes, length);
    batch.Unmap(at + 2 * kCodeBytes, length);
    (void)thread_->Apply(batch).ok();
  }

  void Copy() {
    std::vector<std::byte> bytes(input_.Value() % 70000);
    const uint64_t at = input_.Value();
    (void)thread_->CopyIn(at, bytes).ok();
    (void)thread_->CopyOut(at, bytes).ok();
  }

  void Bulk() {
    using Direction = platform::GuestThread::Direction;
    const bool out = input_.Byte() & 1;
    const uint64_t at = input_.Value();
    const size_t length = input_.Value() % 200000;
    std::span<std::byte> window =
        thread_->BeginBulk(at, length, out ? Direction::kToGuest : Direction::kFromGuest);
    CHECK(window.size() <= length);
    // What a handler would do: read or fill all of it.
    std::vector<std::byte> copy(window.begin(), window.end());
    if (out) std::fill(window.begin(), window.end(), std::byte{1});
    (void)thread_->FinishBulk(window.size());
  }

  World& world_;
  Input& input_;
  RefPtr<platform::AddressSpace> space_;
  std::unique_ptr<platform::GuestThread> thread_;
  arch::Registers registers_{.rip = kCode};
};

}  // namespace

void FuzzSlot(const uint8_t* data, size_t size) {
  static World& world = *new World;
  Input input(data, size);
  sched::Completion done;
  world.scheduler->Spawn("driver", [&] {
    Driver(world, input).Run();
    done.Signal();
  });
  done.Wait();
}

}  // namespace msentry::systrap

#ifdef MSENTRY_LIBFUZZER
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  msentry::systrap::FuzzSlot(data, size);
  return 0;
}
#endif
