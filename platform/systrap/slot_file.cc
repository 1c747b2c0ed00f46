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

}  // namespace msentry::systrap
