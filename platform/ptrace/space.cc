// Guest memory from outside: process_vm_readv(2) and process_vm_writev(2).
#include <sched.h>
#include <signal.h>
#include <sys/uio.h>
#include <time.h>

#include "platform/ptrace/tracee.h"
#include "platform/ptrace/tracer.h"

namespace msentry::platform::pt {
namespace {

// Cuts a range at the end of guest memory; 0 when nothing of it is guest memory.
size_t GuestPart(uint64_t address, size_t size) {
  if (address >= arch::kTaskSize) return 0;
  return std::min<uint64_t>(size, arch::kTaskSize - address);
}

}  // namespace

class Space::Pin {
 public:
  explicit Pin(Space& space) : space_(space) {
    space.pins_.fetch_add(1, std::memory_order_seq_cst);
  }
  ~Pin() { space_.pins_.fetch_sub(1, std::memory_order_seq_cst); }
  bool gone() const { return space_.gone_.load(std::memory_order_seq_cst); }

 private:
  Space& space_;
};

void Space::MarkGone() {
  gone_.store(true, std::memory_order_seq_cst);
  // The process is dead: whoever holds a pin is about to get ESRCH.
  while (pins_.load(std::memory_order_seq_cst) > 0) sched_yield();
}

Result<size_t> Space::CopyIn(uint64_t address, std::span<std::byte> out) {
  if (out.empty()) return 0;
  size_t size = GuestPart(address, out.size());
  Pin pin(*this);
  if (size == 0 || pin.gone()) return Errno::kEFAULT;
  iovec local = {out.data(), size}, remote = {reinterpret_cast<void*>(address), size};
  ssize_t n = process_vm_readv(pid_, &local, 1, &remote, 1, 0);
  if (n <= 0) return Errno::kEFAULT;
  return static_cast<size_t>(n);
}

Result<size_t> Space::CopyOut(uint64_t address, std::span<const std::byte> in) {
  if (in.empty()) return 0;
  size_t size = GuestPart(address, in.size());
  Pin pin(*this);
  if (size == 0 || pin.gone()) return Errno::kEFAULT;
  iovec local = {const_cast<std::byte*>(in.data()), size};
  iovec remote = {reinterpret_cast<void*>(address), size};
  ssize_t n = process_vm_writev(pid_, &local, 1, &remote, 1, 0);
  if (n <= 0) return Errno::kEFAULT;
  return static_cast<size_t>(n);
}

Result<size_t> Space::ForceCopyOut(uint64_t address, std::span<const std::byte> in) {
  size_t done = 0;
  size_t size = GuestPart(address, in.size());
  if (Result<size_t> n = CopyOut(address, in); n.ok()) done = *n;
  if (done < size) done += tracer_.Poke(*this, address + done, in.subspan(done, size - done));
  if (done == 0 && !in.empty()) return Errno::kEFAULT;
  return done;
}

void Space::Kill() {
  Pin pin(*this);
  if (!pin.gone()) kill(pid_, SIGKILL);
}

int64_t Space::ProcessCpuTime() {
  Pin pin(*this);
  if (pin.gone()) return -1;
  clockid_t clock;
  timespec ts;
  if (clock_getcpuclockid(pid_, &clock) != 0 || clock_gettime(clock, &ts) != 0) return -1;
  return int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec;
}

}  // namespace msentry::platform::pt
