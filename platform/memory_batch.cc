#include "platform/platform.h"
#include "sentry/base/check.h"

namespace msentry::platform {
namespace {

// The caller has checked: anything else is a bug of ours that would hit the stub's own memory.
void CheckRange(uint64_t address, uint64_t length) {
  CHECK(address % arch::kPageSize == 0 && length % arch::kPageSize == 0 && length > 0);
  CHECK(address >= arch::kMinGuestAddress && length <= arch::kTaskSize &&
        address <= arch::kTaskSize - length);
}

}  // namespace

void MemoryBatch::MapAnonymous(uint64_t address, uint64_t length, int protection, int flags) {
  CheckRange(address, length);
  ops_.push_back({.kind = MemoryOp::Kind::kMapAnonymous,
                  .address = address,
                  .length = length,
                  .protection = protection,
                  .flags = flags});
}

void MemoryBatch::MapFile(uint64_t address, uint64_t length, int protection, int flags, int host_fd,
                          uint64_t offset) {
  CheckRange(address, length);
  CHECK(host_fd >= 0 && offset % arch::kPageSize == 0);
  ops_.push_back({.kind = MemoryOp::Kind::kMapFile,
                  .address = address,
                  .length = length,
                  .protection = protection,
                  .flags = flags,
                  .host_fd = host_fd,
                  .offset = offset});
}

void MemoryBatch::Unmap(uint64_t address, uint64_t length) {
  CheckRange(address, length);
  ops_.push_back({.kind = MemoryOp::Kind::kUnmap, .address = address, .length = length});
}

void MemoryBatch::Protect(uint64_t address, uint64_t length, int protection) {
  CheckRange(address, length);
  ops_.push_back({.kind = MemoryOp::Kind::kProtect,
                  .address = address,
                  .length = length,
                  .protection = protection});
}

void MemoryBatch::Advise(uint64_t address, uint64_t length, int advice) {
  CheckRange(address, length);
  ops_.push_back(
      {.kind = MemoryOp::Kind::kAdvise, .address = address, .length = length, .flags = advice});
}

void MemoryBatch::Remap(uint64_t address, uint64_t length, uint64_t new_address,
                        uint64_t new_length) {
  // A length of 0 duplicates a shared mapping, as mremap(2) has it.
  CheckRange(address, length == 0 ? arch::kPageSize : length);
  CheckRange(new_address, new_length);
  ops_.push_back({.kind = MemoryOp::Kind::kRemap,
                  .address = address,
                  .length = length,
                  .new_address = new_address,
                  .new_length = new_length});
}

void MemoryBatch::Sync(uint64_t address, uint64_t length, int flags) {
  CheckRange(address, length);
  ops_.push_back(
      {.kind = MemoryOp::Kind::kSync, .address = address, .length = length, .flags = flags});
}

}  // namespace msentry::platform
