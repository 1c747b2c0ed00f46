// The slots of one guest process: a memfd that its stub and the sentry map, nobody else.
//
// Slots are handed out to threads by index; all of a process's slots lie in one mapping whose pages
// appear when they are touched. Not synchronized: the owner (AddressSpace) locks.
#pragma once

#include <memory>
#include <vector>

#include "platform/systrap/stub/abi.h"
#include "sentry/base/mutex.h"
#include "sentry/base/scoped_fd.h"

namespace msentry::systrap {

class SlotFile {
 public:
  static Result<std::unique_ptr<SlotFile>> Create();
  ~SlotFile();
  SlotFile(const SlotFile&) = delete;
  SlotFile& operator=(const SlotFile&) = delete;

  int fd() const { return fd_.get(); }
  // The stub has it; drop ours (the mapping stays).
  void CloseFd() { fd_.Reset(); }

  Slot* At(uint32_t index) const {
    return reinterpret_cast<Slot*>(base_ + uint64_t{index} * kSlotStride);
  }
  static std::byte* Bytes(Slot* slot, uint64_t offset) {
    return reinterpret_cast<std::byte*>(slot) + offset;
  }

  // A free index, its slot made ready for a thread that will post its first request by itself.
  Result<uint32_t> Allocate();
  // The slot a forked child begins with: the one whose private stack it runs on.
  void AllocateFixed(uint32_t index);
  void Free(uint32_t index);
  // As new, but for what the host thread that waits there is in the middle of.
  void Renew(uint32_t index);
  // Makes the pages that every first thread uses.
  void Touch();

 private:
  SlotFile(ScopedFd fd, std::byte* base) : fd_(std::move(fd)), base_(base) {}
  void Prepare(uint32_t index);

  ScopedFd fd_;
  std::byte* const base_;
  std::vector<uint32_t> free_;  // below next_, not in use
  uint32_t next_ = 0;
};

// Slot files for new processes, made before they are needed, and got rid of after, by a thread that
// nobody waits for (the keeper's). Each serves one process: what a process may have kept of it must
// never show another one's.
class SlotStore {
 public:
  Result<std::unique_ptr<SlotFile>> Take();
  void Discard(std::unique_ptr<SlotFile> file);
  void Tend();

 private:
  Mutex mutex_;
  std::vector<std::unique_ptr<SlotFile>> fresh_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<SlotFile>> done_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace msentry::systrap
