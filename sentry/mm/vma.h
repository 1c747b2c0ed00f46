// Vma: one mapping of a guest address space: a page-aligned range with one set of attributes.
#pragma once

#include <cstdint>
#include <string>

#include "sentry/base/ref_ptr.h"
#include "sentry/mm/mapped_file.h"

namespace msentry::mm {

// What a mapping is for, where no file says it: its name in /proc/PID/maps.
// kSysvShared: its MappedFile counts its mappings, so that it is never merged with a neighbour.
enum class VmaLabel : uint8_t { kNone, kHeap, kStack, kSysvShared };

struct Vma {
  uint64_t start = 0;
  uint64_t end = 0;
  uint32_t protection = 0;      // PROT_READ | PROT_WRITE | PROT_EXEC
  uint32_t max_protection = 7;  // what mprotect(2) may set (VM_MAYREAD...)
  bool shared = false;
  bool grows_down = false;
  bool locked = false;  // mlock(2)
  bool no_reserve = false;
  bool dont_fork = false;     // MADV_DONTFORK
  bool wipe_on_fork = false;  // MADV_WIPEONFORK
  bool dont_dump = false;     // MADV_DONTDUMP
  VmaLabel label = VmaLabel::kNone;
  RefPtr<MappedFile> file;  // null: anonymous
  uint64_t offset = 0;      // of `start` in the file; for shared anonymous memory, in the object
  uint64_t shared_id = 0;   // shared anonymous memory: identity of the object, else 0

  uint64_t length() const { return end - start; }
  bool readable() const { return protection & 1; }
  bool writable() const { return protection & 2; }
  bool executable() const { return protection & 4; }
};

}  // namespace msentry::mm
