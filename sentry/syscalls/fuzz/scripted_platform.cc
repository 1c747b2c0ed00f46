#include "sentry/syscalls/fuzz/scripted_platform.h"

#include <cstring>

namespace msentry::syscalls {
namespace {

using arch::kPageSize;
using platform::Event;
using platform::MemoryOp;

}  // namespace

std::byte* ScriptedSpace::Touch(uint64_t address, int needed) {
  const uint64_t start = address & ~(kPageSize - 1);
  auto area = areas_.upper_bound(address);
  if (area == areas_.begin()) return nullptr;
  --area;
  const Area& in = area->second;
  if (address >= in.end || (in.protection & needed) != needed) return nullptr;
  std::unique_ptr<Page>& page = pages_[start];
  if (!page) {
    if (pages_.size() > kMaxPages) {
      pages_.erase(start);
      return nullptr;
    }
    page = std::make_unique<Page>();
    page->fill(std::byte{0});
    if (in.file) {
      const auto offset = static_cast<off_t>(in.offset + (start - area->first));
      (void)!pread(in.file->get(), page->data(), kPageSize, offset);
    }
  }
  return page->data() + (address - start);
}

template <typename Bytes>
Result<size_t> ScriptedSpace::Copy(uint64_t address, Bytes bytes, int needed) {
  MutexLock lock(mutex_);
  size_t done = 0;
  while (done < bytes.size()) {
    std::byte* at = Touch(address + done, needed);
    if (at == nullptr) break;
    const size_t left = kPageSize - (address + done) % kPageSize;
    const size_t n = std::min<size_t>(left, bytes.size() - done);
    if constexpr (std::is_const_v<std::remove_pointer_t<decltype(bytes.data())>>) {
      std::memcpy(at, bytes.data() + done, n);
    } else {
      std::memcpy(bytes.data() + done, at, n);
    }
    done += n;
  }
  if (done == 0 && !bytes.empty()) return Errno::kEFAULT;
  return done;
}

Result<size_t> ScriptedSpace::CopyIn(uint64_t address, std::span<std::byte> out) {
  return Copy(address, out, PROT_READ);
}
Result<size_t> ScriptedSpace::CopyOut(uint64_t address, std::span<const std::byte> in) {
  return Copy(address, in, PROT_WRITE);
}
Result<size_t> ScriptedSpace::ForceCopyOut(uint64_t address, std::span<const std::byte> in) {
  return Copy(address, in, 0);
}

void ScriptedSpace::SplitAt(uint64_t address) {
  auto it = areas_.upper_bound(address);
  if (it == areas_.begin()) return;
  --it;
  if (it->first == address || address >= it->second.end) return;
  Area upper = it->second;
  upper.offset += address - it->first;
  it->second.end = address;
  areas_.emplace(address, std::move(upper));
}

void ScriptedSpace::DropPages(uint64_t begin, uint64_t end) {
  pages_.erase(pages_.lower_bound(begin), pages_.lower_bound(end));
}

void ScriptedSpace::Remove(uint64_t begin, uint64_t end) {
  SplitAt(begin);
  SplitAt(end);
  areas_.erase(areas_.lower_bound(begin), areas_.lower_bound(end));
  DropPages(begin, end);
}

void ScriptedSpace::Move(const MemoryOp& op) {
  auto it = areas_.upper_bound(op.address);
  if (it == areas_.begin()) return;
  Area area = std::prev(it)->second;
  area.offset += op.address - std::prev(it)->first;
  std::map<uint64_t, std::unique_ptr<Page>> kept;
  for (uint64_t at = 0; at < std::min(op.length, op.new_length); at += kPageSize) {
    auto page = pages_.lower_bound(op.address + at);
    if (page == pages_.end() || page->first >= op.address + op.length) break;
    at = page->first - op.address;
    if (at < op.new_length) kept[op.new_address + at] = std::move(page->second);
    pages_.erase(page);
  }
  Remove(op.address, op.address + op.length);
  Remove(op.new_address, op.new_address + op.new_length);
  area.end = op.new_address + op.new_length;
  areas_[op.new_address] = std::move(area);
  pages_.merge(kept);
}

Result<> ScriptedSpace::Carry(const MemoryOp& op) {
  using Kind = MemoryOp::Kind;
  MutexLock lock(mutex_);
  const uint64_t end = op.address + op.length;
  switch (op.kind) {
    case Kind::kMapAnonymous:
      Remove(op.address, end);
      areas_[op.address] = {.end = end, .protection = op.protection};
      break;
    case Kind::kMapFile: {
      Remove(op.address, end);
      auto file = std::make_shared<ScopedFd>(dup(op.host_fd));
      if (!file->valid()) return FromHost(errno);
      areas_[op.address] = {end, op.protection, std::move(file), op.offset};
      break;
    }
    case Kind::kUnmap:
      Remove(op.address, end);
      break;
    case Kind::kProtect:
      SplitAt(op.address);
      SplitAt(end);
      for (auto it = areas_.lower_bound(op.address); it != areas_.end() && it->first < end; ++it) {
        it->second.protection = op.protection;
      }
      break;
    case Kind::kAdvise:
      if (op.flags == MADV_DONTNEED) DropPages(op.address, end);
      break;
    case Kind::kRemap:
      Move(op);
      break;
    case Kind::kSync:
      break;
  }
  return Ok();
}

RefPtr<ScriptedSpace> ScriptedSpace::Fork() const {
  auto child = MakeRef<ScriptedSpace>();
  MutexLock lock(mutex_);
  MutexLock child_lock(child->mutex_);
  child->areas_ = areas_;
  for (const auto& [at, page] : pages_) {
    if (page) child->pages_[at] = std::make_unique<Page>(*page);
  }
  return child;
}

Event ScriptedThread::Switch(arch::Registers& registers) {
  // Everybody gets a turn: nothing else would ever take the only worker from this fiber.
  sched::Yield();
  if (space_->killed()) return {.kind = Event::Kind::kExited};
  if (interrupt_.exchange(false)) return {.kind = Event::Kind::kInterrupted};
  script_.Next(*space_, registers);
  return {.kind = Event::Kind::kSyscall};
}

Result<> ScriptedThread::Apply(const platform::MemoryBatch& batch) {
  for (const MemoryOp& op : batch.ops()) TRY(space_->Carry(op));
  return Ok();
}

Result<std::pair<RefPtr<platform::AddressSpace>, std::unique_ptr<platform::GuestThread>>>
ScriptedThread::Fork() {
  RefPtr<ScriptedSpace> space = space_->Fork();
  auto thread = std::make_unique<ScriptedThread>(space, script_);
  return std::pair<RefPtr<platform::AddressSpace>, std::unique_ptr<GuestThread>>(space,
                                                                                 std::move(thread));
}

Result<std::unique_ptr<platform::GuestThread>> ScriptedThread::NewThread() {
  return std::unique_ptr<GuestThread>(std::make_unique<ScriptedThread>(space_, script_));
}

// A plausible XSAVE area: x87 and SSE in their initial state.
Result<> ScriptedThread::SaveFpu(std::vector<std::byte>& out) {
  constexpr size_t kLegacyAndHeader = 576;
  out.assign(kLegacyAndHeader, std::byte{0});
  return Ok();
}

Result<std::pair<RefPtr<platform::AddressSpace>, std::unique_ptr<platform::GuestThread>>>
ScriptedPlatform::NewProcess() {
  RefPtr<ScriptedSpace> space = MakeRef<ScriptedSpace>();
  auto thread = std::make_unique<ScriptedThread>(space, script_);
  return std::pair<RefPtr<platform::AddressSpace>, std::unique_ptr<platform::GuestThread>>(
      space, std::move(thread));
}

}  // namespace msentry::syscalls
