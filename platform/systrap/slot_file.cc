#include "platform/systrap/slot_file.h"

#include <sys/mman.h>
#include <unistd.h>

namespace msentry::systrap {

Result<std::unique_ptr<SlotFile>> SlotFile::Create() {
  ScopedFd fd(memfd_create("msentry-slots", MFD_CLOEXEC));
  if (!fd || ftruncate(fd.get(), kSlotsSize) != 0) return FromHost(errno);
  void* base = mmap(nullptr, kSlotsSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (base == MAP_FAILED) return FromHost(errno);
  return std::unique_ptr<SlotFile>(new SlotFile(std::move(fd), static_cast<std::byte*>(base)));
}

SlotFile::~SlotFile() { munmap(base_, kSlotsSize); }

void SlotFile::Prepare(uint32_t index) {
  Slot* slot = At(index);
  // A used slot: what its last owner left must not confuse the next. The host thread is gone.
  memset(static_cast<void*>(slot), 0, sizeof(*slot));
  slot->self = kSlots + index * kSlotStride;
  slot->stack = kPrivate + (uint64_t{index} + 1) * kPrivateStride;
  slot->index = index;
  __atomic_store_n(&slot->state, kRequest, __ATOMIC_RELEASE);  // it waits when it comes
}

Result<uint32_t> SlotFile::Allocate() {
  uint32_t index;
  if (!free_.empty()) {
    index = free_.back();
    free_.pop_back();
  } else {
    if (next_ == kMaxThreads) return Errno::kEAGAIN;
    index = next_++;
  }
  Prepare(index);
  return index;
}

void SlotFile::AllocateFixed(uint32_t index) {
  CHECK(next_ == 0);
  // The lower ones are free as well, but their private stacks hold copies of the parent's: no harm.
  for (uint32_t i = index; i-- > 0;) free_.push_back(i);
  next_ = index + 1;
  Prepare(index);
}

void SlotFile::Free(uint32_t index) { free_.push_back(index); }

void SlotFile::Renew(uint32_t index) {
  Slot* slot = At(index);
  const auto clear = [slot](size_t begin, size_t end) {
    memset(Bytes(slot, begin), 0, end - begin);
  };
  clear(offsetof(Slot, interrupt), offsetof(Slot, self));
  clear(offsetof(Slot, shortcuts), offsetof(Slot, host_tid));
  clear(offsetof(Slot, guest_gs), sizeof(Slot));
}

void SlotFile::Touch() {
  for (uint64_t offset : {uint64_t{0}, kOpsOffset, kOutOffset}) {
    *reinterpret_cast<volatile char*>(Bytes(At(0), offset)) = 0;
  }
}

Result<std::unique_ptr<SlotFile>> SlotStore::Take() {
  {
    MutexLock lock(mutex_);
    if (!fresh_.empty()) {
      std::unique_ptr<SlotFile> file = std::move(fresh_.back());
      fresh_.pop_back();
      return file;
    }
  }
  return SlotFile::Create();
}

void SlotStore::Discard(std::unique_ptr<SlotFile> file) {
  MutexLock lock(mutex_);
  done_.push_back(std::move(file));
}

void SlotStore::Tend() {
  constexpr size_t kFresh = 2;
  std::vector<std::unique_ptr<SlotFile>> done;
  size_t missing;
  {
    MutexLock lock(mutex_);
    done.swap(done_);
    missing = kFresh - std::min(kFresh, fresh_.size());
  }
  done.clear();
  for (; missing; --missing) {
    Result<std::unique_ptr<SlotFile>> file = SlotFile::Create();
    if (!file.ok()) return;
    (*file)->Touch();
    MutexLock lock(mutex_);
    fresh_.push_back(std::move(*file));
  }
}

}  // namespace msentry::systrap
