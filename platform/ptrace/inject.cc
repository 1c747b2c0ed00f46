// Tracer: what it does inside a stub process: host calls made by a stopped thread, registers of the
// FPU, memory behind its protection.
#include <elf.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "platform/ptrace/ptrace_calls.h"
#include "platform/ptrace/tracer.h"
#include "platform/ptrace/xstate.h"
#include "sentry/base/check.h"

namespace msentry::platform::pt {
namespace {

Result<> ToResult(int64_t result) {
  if (result < 0 && result > -4096) return FromHost(static_cast<int>(-result));
  return Ok();
}

// The only descriptors a stub has: the socket for more, and the one just received.
constexpr int kSocketInStub = 0, kReceivedFd = 1;

// Layout of the stub's data page while it receives a descriptor.
struct FdMessage {
  msghdr header;
  iovec vector;
  alignas(8) std::byte control[CMSG_SPACE(sizeof(int))];
  char byte;
};

}  // namespace

Result<RefPtr<Tracee>> Tracer::Fork(Tracee& tracee) {
  // CLONE_PARENT makes it our child too, so that one wait reaps it.
  Result<RefPtr<Tracee>> child = Errno::kESRCH;
  Run([&] { child = InjectClone(tracee, CLONE_PARENT, /*new_space=*/true); });
  return child;
}

Result<RefPtr<Tracee>> Tracer::NewThread(Tracee& tracee) {
  Result<RefPtr<Tracee>> child = Errno::kESRCH;
  Run([&] {
    child = InjectClone(
        tracee, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM,
        /*new_space=*/false);
  });
  return child;
}

int64_t Tracer::Inject(Tracee& tracee, long number, Args args) {
  if (!tracee.alive) return -ESRCH;
  arch::Registers registers = {};
  registers.rax = static_cast<uint64_t>(number);
  registers.rdi = args.arg[0];
  registers.rsi = args.arg[1];
  registers.rdx = args.arg[2];
  registers.r10 = args.arg[3];
  registers.r8 = args.arg[4];
  registers.r9 = args.arg[5];
  registers.rip = kStubCode;
  registers.eflags = 0x202;
  if (SetRegisters(tracee.tid, registers)) Ptrace(PTRACE_CONT, tracee.tid);
  for (;;) {
    int status;
    if (!WaitForStop(tracee, &status)) return -ESRCH;
    if (status == SIGTRAP && GetRegisters(tracee.tid, registers) && registers.rip == kAfterTrap) {
      return static_cast<int64_t>(registers.rax);
    }
    Ptrace(PTRACE_CONT, tracee.tid);  // an interrupt or a signal from outside came first
  }
}

bool Tracer::WaitForStop(Tracee& tracee, int* status) {
  while (tracee.alive) {
    std::optional<Change> change = NextChange(/*block=*/true, /*kickable=*/false);
    if (!change) return false;  // no children at all
    if (change->exited) {
      HandleExit(change->tid);
    } else if (change->tid == tracee.tid) {
      *status = change->status;
      return true;
    } else {
      later_.push_back(*change);
    }
  }
  return false;
}

Result<RefPtr<Tracee>> Tracer::InjectClone(Tracee& tracee, uint64_t flags, bool new_space) {
  if (stopping_) return Errno::kESRCH;
  int64_t pid = Inject(tracee, SYS_clone, {{flags | CLONE_PTRACE, 0, 0, 0, 0}});
  TRY(ToResult(pid));
  // The child's first stop: it may have come already.
  pid_t tid = static_cast<pid_t>(pid);
  for (auto it = later_.begin(); it != later_.end(); ++it) {
    if (it->tid == tid) {
      later_.erase(it);
      newborn_[tid] = true;
      break;
    }
  }
  while (!newborn_.contains(tid)) {
    std::optional<Change> change = NextChange(/*block=*/true, /*kickable=*/false);
    if (!change) return Errno::kESRCH;
    if (change->tid != tid) {
      if (change->exited) {
        HandleExit(change->tid);
      } else {
        later_.push_back(*change);
      }
      continue;
    }
    if (change->exited) {
      HandleExit(tid);
      return Errno::kESRCH;
    }
    newborn_[tid] = true;
  }
  newborn_.erase(tid);
  RefPtr<Space> space = new_space ? MakeRef<Space>(*this, tid) : tracee.space;
  ++space->threads;
  if (!new_space) space->had_threads = true;
  auto child = MakeRef<Tracee>(tid, std::move(space));
  tracees_[tid] = child;
  return child;
}

Result<> Tracer::Apply(Tracee& tracee, const MemoryBatch& batch) {
  Result<> result = Ok();
  Run([&] {
    int fd_in_stub = -1;  // which descriptor of ours kReceivedFd is
    for (const MemoryOp& op : batch.ops()) {
      result = ApplyOne(tracee, op, &fd_in_stub);
      if (!result.ok()) break;
    }
    if (fd_in_stub >= 0) Inject(tracee, SYS_close, {{kReceivedFd}});
  });
  return result;
}

Result<> Tracer::ApplyOne(Tracee& tracee, const MemoryOp& op, int* fd_in_stub) {
  auto u = [](int value) { return static_cast<uint64_t>(static_cast<unsigned>(value)); };
  switch (op.kind) {
    case MemoryOp::Kind::kMapAnonymous:
      return ToResult(Inject(tracee, SYS_mmap,
                             {{op.address, op.length, u(op.protection),
                               u(op.flags | MAP_FIXED | MAP_ANONYMOUS), ~uint64_t{0}, 0}}));
    case MemoryOp::Kind::kMapFile:
      if (*fd_in_stub != op.host_fd) {
        if (*fd_in_stub >= 0) Inject(tracee, SYS_close, {{kReceivedFd}});
        *fd_in_stub = -1;
        TRY(PassFd(tracee, op.host_fd));
        *fd_in_stub = op.host_fd;
      }
      return ToResult(Inject(tracee, SYS_mmap,
                             {{op.address, op.length, u(op.protection), u(op.flags | MAP_FIXED),
                               kReceivedFd, op.offset}}));
    case MemoryOp::Kind::kUnmap:
      return ToResult(Inject(tracee, SYS_munmap, {{op.address, op.length}}));
    case MemoryOp::Kind::kProtect:
      return ToResult(Inject(tracee, SYS_mprotect, {{op.address, op.length, u(op.protection)}}));
    case MemoryOp::Kind::kAdvise:
      return ToResult(Inject(tracee, SYS_madvise, {{op.address, op.length, u(op.flags)}}));
    case MemoryOp::Kind::kRemap: {
      int flags = op.new_address != op.address ? MREMAP_MAYMOVE | MREMAP_FIXED : 0;
      return ToResult(Inject(tracee, SYS_mremap,
                             {{op.address, op.length, op.new_length, u(flags), op.new_address}}));
    }
    case MemoryOp::Kind::kSync:
      return ToResult(Inject(tracee, SYS_msync, {{op.address, op.length, u(op.flags)}}));
  }
  return Errno::kEINVAL;
}

// Afterwards the file is kReceivedFd in the stub, unless the guest overwrites the data page
// meanwhile: then that is closed, and the mmap fails.
Result<> Tracer::PassFd(Tracee& tracee, int fd) {
  FdMessage local = {};
  iovec vector = {&local.byte, 1};
  msghdr header = {};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  header.msg_control = local.control;
  header.msg_controllen = sizeof(local.control);
  cmsghdr* cmsg = CMSG_FIRSTHDR(&header);
  cmsg->cmsg_level = SOL_SOCKET;
  cmsg->cmsg_type = SCM_RIGHTS;
  cmsg->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
  if (sendmsg(fd_sender_.get(), &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) return FromHost(errno);

  FdMessage remote = {};
  auto at = [](size_t offset) { return reinterpret_cast<void*>(kStubData + offset); };
  remote.header.msg_iov = static_cast<iovec*>(at(offsetof(FdMessage, vector)));
  remote.header.msg_iovlen = 1;
  remote.header.msg_control = at(offsetof(FdMessage, control));
  remote.header.msg_controllen = sizeof(remote.control);
  remote.vector = {at(offsetof(FdMessage, byte)), 1};
  iovec from = {&remote, sizeof(remote)}, to = {at(0), sizeof(remote)};
  int64_t received = -EFAULT;
  if (tracee.alive && process_vm_writev(tracee.tid, &from, 1, &to, 1, 0) == sizeof(remote)) {
    received = Inject(tracee, SYS_recvmsg, {{kSocketInStub, kStubData, MSG_DONTWAIT}});
  }
  // A message that was not taken must not reach the next stub.
  char byte;
  while (recv(fd_receiver_.get(), &byte, 1, MSG_DONTWAIT) > 0) {
  }
  return ToResult(received);
}

Result<> Tracer::GetFpu(Tracee& tracee, std::vector<std::byte>& out) {
  bool ok = false;
  Run([&] {
    if (!tracee.alive) return;
    out.resize(fpu_size_);
    iovec vector = {out.data(), out.size()};
    ok = Ptrace(PTRACE_GETREGSET, tracee.tid, NT_X86_XSTATE,
                reinterpret_cast<uintptr_t>(&vector)) == 0;
    out.resize(vector.iov_len);
  });
  if (!ok) return Errno::kESRCH;
  return Ok();
}

Result<> Tracer::SetFpu(Tracee& tracee, std::span<const std::byte> in) {
  bool ok = false;
  Run([&] {
    if (!tracee.alive) return;
    std::vector<std::byte> image = SanitizeXstate(in, fpu_size_);
    iovec vector = {image.data(), image.size()};
    ok = Ptrace(PTRACE_SETREGSET, tracee.tid, NT_X86_XSTATE,
                reinterpret_cast<uintptr_t>(&vector)) == 0;
  });
  if (!ok) return Errno::kESRCH;
  return Ok();
}

void Tracer::Destroy(Tracee& tracee) {
  Run([&] { DestroyNow(tracee); });
}

void Tracer::DestroyNow(Tracee& tracee) {
  tracee.destroyed = true;
  Space& space = *tracee.space;
  if (--space.threads == 0) {
    space.Kill();
    return;
  }
  if (!tracee.alive) return;
  // The first thread stays, stopped: without it process_vm_readv would find no process.
  if (tracee.tid == space.pid()) return;
  arch::Registers registers = {};
  registers.rax = SYS_exit;
  registers.rip = kStubCode;
  registers.eflags = 0x202;
  if (SetRegisters(tracee.tid, registers)) Ptrace(PTRACE_CONT, tracee.tid);
}

size_t Tracer::Poke(Space& space, uint64_t address, std::span<const std::byte> in) {
  size_t done = 0;
  Run([&] { done = PokeNow(space, address, in); });
  return done;
}

size_t Tracer::PokeNow(Space& space, uint64_t address, std::span<const std::byte> in) {
  // Any thread of the process that is stopped will do; a debugger's victim is.
  Tracee* stopped = nullptr;
  for (auto& [tid, tracee] : tracees_) {
    if (tracee->space.get() == &space && tracee->alive && tracee->current == nullptr) {
      stopped = tracee.get();
    }
  }
  if (stopped == nullptr) return 0;
  size_t done = 0;
  while (done < in.size() && address + done < arch::kTaskSize) {
    uint64_t at = (address + done) & ~uint64_t{7};
    size_t skip = address + done - at;
    size_t n = std::min<size_t>(8 - skip, in.size() - done);
    uint64_t word = 0;
    if (Ptrace(PTRACE_PEEKDATA, stopped->tid, at, reinterpret_cast<uintptr_t>(&word)) != 0) break;
    memcpy(reinterpret_cast<std::byte*>(&word) + skip, in.data() + done, n);
    if (Ptrace(PTRACE_POKEDATA, stopped->tid, at, word) != 0) break;
    done += n;
  }
  return done;
}

}  // namespace msentry::platform::pt
