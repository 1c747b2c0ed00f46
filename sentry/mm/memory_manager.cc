#include "sentry/mm/memory_manager.h"

#include <sys/mman.h>

#include <algorithm>

#include "sentry/arch/registers.h"
#include "sentry/mm/host_proc.h"

namespace msentry::mm {

MemoryManager::MemoryManager(RefPtr<platform::AddressSpace> space, const Layout& layout)
    : space_(std::move(space)), layout_(layout), vmas_(layout.mmap_top) {}

MemoryManager::~MemoryManager() = default;

RefPtr<MemoryManager> MemoryManager::Create(RefPtr<platform::AddressSpace> space,
                                            const Layout& layout) {
  return RefPtr<MemoryManager>::Adopt(new MemoryManager(std::move(space), layout));
}

void MemoryManager::BeginLoad() {
  sched::FiberMutexLock lock(change_mutex_);
  loading_ = true;
}

Result<> MemoryManager::FinishLoad(platform::GuestThread& thread) {
  sched::FiberMutexLock lock(change_mutex_);
  loading_ = false;
  platform::MemoryBatch batch = std::exchange(load_batch_, {});
  if (batch.empty()) return Ok();
  return thread.Apply(batch);
}

Result<> MemoryManager::Run(platform::GuestThread& thread, const platform::MemoryBatch& batch) {
  if (!loading_) return thread.Apply(batch);
  load_batch_.Append(batch);
  return Ok();
}

void MemoryManager::Changed() {
  access_cache_.Clear();
  peak_ = std::max(peak_, vmas_.total_bytes());
}

Result<MemoryManager::Forked> MemoryManager::Fork(platform::GuestThread& thread) {
  sched::FiberMutexLock lock(change_mutex_);
  auto [space, child_thread] = TRY(thread.Fork());
  RefPtr<MemoryManager> child = Create(std::move(space), layout_);
  child->set_dumpable(dumpable());
  child->stack_limit_.store(stack_limit_.load(std::memory_order_relaxed),
                            std::memory_order_relaxed);
  MutexLock list(list_mutex_);
  MutexLock child_list(child->list_mutex_);  // nobody else knows it yet
  child->vmas_.CopyForFork(vmas_);
  child->brk_start_ = brk_start_;
  child->brk_end_ = brk_end_;
  child->image_ = image_;
  child->peak_ = child->vmas_.total_bytes();
  return Forked{std::move(child), std::move(child_thread)};
}

void MemoryManager::SetBrkStart(uint64_t address) {
  MutexLock lock(list_mutex_);
  brk_start_ = brk_end_ = address;
}

void MemoryManager::SetImage(ImageInfo image) {
  MutexLock lock(list_mutex_);
  image_ = std::move(image);
}

ImageInfo MemoryManager::image() const {
  MutexLock lock(list_mutex_);
  return image_;
}

std::optional<MemoryManager::SharedKey> MemoryManager::SharedKeyAt(uint64_t address) const {
  MutexLock lock(list_mutex_);
  const Vma* v = vmas_.Find(address);
  if (!v || !v->shared) return std::nullopt;
  uint64_t offset = v->offset + (address - v->start);
  if (v->file) return SharedKey{v->file->device(), v->file->identity(), offset};
  return SharedKey{0, v->shared_id, offset};
}

size_t MemoryManager::Accessible(platform::GuestThread* thread, uint64_t address, size_t length,
                                 int protection) {
  if (address >= arch::kTaskSize) return 0;
  length = std::min<uint64_t>(length, arch::kTaskSize - address);
  uint32_t wanted = static_cast<uint32_t>(protection);
  if (access_cache_.Allows(address, length, wanted)) return length;
  for (bool grown = false;; grown = true) {
    {
      MutexLock lock(list_mutex_);
      uint64_t at = address, end = address + length;
      const Vma* v = vmas_.Find(at);
      if (v) access_cache_.Remember(address, v->start, v->end, v->protection);
      while (v && (v->protection & wanted) == wanted && at < end) {
        at = std::min(v->end, end);
        if (at < end) v = vmas_.Find(at);
      }
      if (at > address || grown || v) return at - address;
    }
    if (!thread) return 0;
    // When it fails, another thread may have grown it just now: look once more either way.
    GrowStack(*thread, address, stack_limit_.load(std::memory_order_relaxed));
  }
}

void MemoryManager::ForEach(absl::FunctionRef<void(const Vma&)> visit) const {
  std::vector<Vma> all;
  {
    MutexLock lock(list_mutex_);
    all.reserve(vmas_.size());
    for (const auto& [start, vma] : vmas_.map()) all.push_back(vma);
  }
  for (const Vma& v : all) visit(v);
}

std::optional<Vma> MemoryManager::Find(uint64_t address) const {
  MutexLock lock(list_mutex_);
  const Vma* v = vmas_.Find(address);
  if (!v) return std::nullopt;
  return *v;
}

uint64_t MemoryManager::total_bytes() const {
  MutexLock lock(list_mutex_);
  return vmas_.total_bytes();
}

uint64_t MemoryManager::data_bytes() const {
  MutexLock lock(list_mutex_);
  return vmas_.data_bytes();
}

uint64_t MemoryManager::stack_bytes() const {
  MutexLock lock(list_mutex_);
  return vmas_.stack_bytes();
}

uint64_t MemoryManager::exec_bytes() const {
  MutexLock lock(list_mutex_);
  return vmas_.exec_bytes();
}

uint64_t MemoryManager::locked_bytes() const {
  MutexLock lock(list_mutex_);
  return vmas_.locked_bytes();
}

uint64_t MemoryManager::peak_bytes() const {
  MutexLock lock(list_mutex_);
  return peak_;
}

uint64_t MemoryManager::brk_start() const {
  MutexLock lock(list_mutex_);
  return brk_start_;
}

uint64_t MemoryManager::brk_end() const {
  MutexLock lock(list_mutex_);
  return brk_end_;
}

ResidentUsage MemoryManager::Resident() const {
  MutexLock lock(figures_mutex_);
  ScopedFd scratch;
  const int fd = statm_.Get(host_proc::OpenStatm, space_->host_pid(), scratch);
  return fd >= 0 ? host_proc::ReadStatm(fd) : ResidentUsage{};
}

HostFigures MemoryManager::Figures() const {
  MutexLock lock(figures_mutex_);
  ScopedFd scratch;
  const int fd = stat_.Get(host_proc::OpenStat, space_->host_pid(), scratch);
  return fd >= 0 ? host_proc::ReadStat(fd) : HostFigures{};
}

HostMemory MemoryManager::HostStatus() const {
  MutexLock lock(figures_mutex_);
  ScopedFd scratch;
  const int fd = status_.Get(host_proc::OpenStatus, space_->host_pid(), scratch);
  return fd >= 0 ? host_proc::ReadStatus(fd) : HostMemory{};
}

}  // namespace msentry::mm
