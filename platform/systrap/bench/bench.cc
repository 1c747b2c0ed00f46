// Drives a platform with no kernel above it and prints what its operations cost.
//
//   platform_bench [--ptrace] [--workers N] [--spin NS] [name...]
//
// Output: one line an operation, "name nanoseconds".
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

#include "platform/platform.h"
#include "sentry/sched/scheduler.h"

extern "C" const char bench_guest[], bench_guest_end[], bench_call_loop[], bench_raw_loop[],
    bench_mixed_loop[], bench_spin[], bench_pread_loop[];

namespace msentry::platform {
namespace {

constexpr uint64_t kCode = 0x400000, kStack = 0x10000000, kData = 0x20000000;
constexpr uint64_t kStackSize = 0x10000, kDataSize = 0x100000;

uint64_t Entry(const char* label) { return kCode + static_cast<uint64_t>(label - bench_guest); }

struct Guest {
  RefPtr<AddressSpace> space;
  std::unique_ptr<GuestThread> thread;
  arch::Registers registers{};
};

class Bench {
 public:
  Bench(Platform& platform, std::vector<std::string> names)
      : platform_(platform), names_(std::move(names)) {
    code_.Reset(memfd_create("bench-guest", MFD_CLOEXEC));
    size_t size = bench_guest_end - bench_guest;
    CHECK(write(code_.get(), bench_guest, size) == static_cast<ssize_t>(size));
  }

  Guest NewGuest() {
    Guest g;
    std::tie(g.space, g.thread) = MUST(platform_.NewProcess());
    MemoryBatch batch;
    batch.MapFile(kCode, bench_guest_end - bench_guest, PROT_READ | PROT_EXEC, MAP_PRIVATE,
                  code_.get(), 0);
    batch.MapAnonymous(kStack, kStackSize, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    batch.MapAnonymous(kData, kDataSize, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    MUST(g.thread->Apply(batch));
    MUST(g.thread->ResetFpu());
    uint64_t one = 1;
    MUST(g.space->CopyOut(kStack + kStackSize - 0x108, std::as_bytes(std::span(&one, 1))));
    g.registers.rsp = kStack + kStackSize - 0x100;
    g.registers.r13 = kData;
    return g;
  }

  bool Wanted(const char* name) const {
    if (names_.empty()) return true;
    for (const std::string& n : names_) {
      if (n == name) return true;
    }
    return false;
  }

  // body(n) does n operations; n grows until that takes a quarter of a second.
  void Measure(const char* name, const std::function<void(int64_t)>& body) {
    if (!Wanted(name)) return;
    for (int64_t n = 16;; n *= 4) {
      int64_t start = sched::NowNs();
      body(n);
      int64_t took = sched::NowNs() - start;
      if (took < 250'000'000) continue;
      printf("%-24s %10.1f\n", name, static_cast<double>(took) / static_cast<double>(n));
      fflush(stdout);
      return;
    }
  }

  void CallLoop(const char* name, const char* entry, uint64_t number,
                const std::function<void(Guest&)>& set,
                const std::function<uint64_t(Guest&)>& answer) {
    if (!Wanted(name)) return;
    Guest g = NewGuest();
    Measure(name, [&](int64_t n) {
      g.registers.rip = Entry(entry);
      g.registers.rbx = static_cast<uint64_t>(n);
      g.registers.r12 = number;
      set(g);
      for (;;) {
        Event e = g.thread->Switch(g.registers);
        if (e.kind == Event::Kind::kInterrupted) continue;
        if (e.kind != Event::Kind::kSyscall) {
          fprintf(stderr, "%s: event %d signal %d at %lx rip %lx\n", name, static_cast<int>(e.kind),
                  e.signo, e.address, g.registers.rip);
          _exit(1);
        }
        if (g.registers.syscall_number() == SYS_exit_group) return;
        g.registers.rax = answer(g);
      }
    });
  }

  void Run() {
    auto nothing = [](Guest&) {};
    auto seven = [](Guest&) { return uint64_t{7}; };
    CallLoop("getppid", bench_raw_loop, SYS_getppid, nothing, seven);
    CallLoop("getppid_generic", bench_call_loop, SYS_getppid, nothing, seven);
    CallLoop(
        "getpid", bench_call_loop, SYS_getpid,
        [](Guest& g) {
          g.thread->PublishIdentity({.tgid = 7, .tid = 7});
          g.thread->EnableShortcuts(true);
        },
        seven);
    for (uint64_t size : {uint64_t{1}, uint64_t{4096}, uint64_t{65536}}) {
      std::string name = "pread_" + std::to_string(size);
      std::vector<std::byte> data(size, std::byte{7});
      CallLoop(
          name.c_str(), bench_pread_loop, SYS_pread64,
          [&](Guest& g) {
            g.registers.rsi = kData;
            g.registers.rdx = size;
          },
          [&](Guest& g) {
            std::span<std::byte> window = g.thread->BeginBulk(g.registers.rsi, g.registers.rdx,
                                                              GuestThread::Direction::kToGuest);
            if (window.empty()) return MUST(g.thread->CopyOut(g.registers.rsi, data));
            memcpy(window.data(), data.data(), window.size());
            MUST(g.thread->FinishBulk(window.size()));
            return window.size();
          });
    }
    if (Wanted("mmap_munmap")) {
      Guest g = NewGuest();
      Measure("mmap_munmap", [&](int64_t n) {
        for (int64_t i = 0; i < n; ++i) {
          MemoryBatch map, unmap;
          map.MapAnonymous(0x30000000, 0x10000, PROT_READ | PROT_WRITE, MAP_PRIVATE);
          MUST(g.thread->Apply(map));
          unmap.Unmap(0x30000000, 0x10000);
          MUST(g.thread->Apply(unmap));
        }
      });
    }
    if (Wanted("map_file")) {
      Guest g = NewGuest();
      Measure("map_file", [&](int64_t n) {
        for (int64_t i = 0; i < n; ++i) {
          MemoryBatch map;
          map.MapFile(0x30000000, 0x1000, PROT_READ, MAP_PRIVATE, code_.get(), 0);
          MUST(g.thread->Apply(map));
        }
      });
    }
    if (Wanted("fork")) {
      Guest g = NewGuest();
      Measure("fork", [&](int64_t n) {
        for (int64_t i = 0; i < n; ++i) {
          auto [space, thread] = MUST(g.thread->Fork());
          arch::Registers r = g.registers;
          r.rip = Entry(bench_raw_loop);
          r.rbx = 1;
          CHECK(thread->Switch(r).kind == Event::Kind::kSyscall);
        }
      });
    }
    if (Wanted("thread")) {
      Guest g = NewGuest();
      Measure("thread", [&](int64_t n) {
        for (int64_t i = 0; i < n; ++i) {
          std::unique_ptr<GuestThread> thread = MUST(g.thread->NewThread());
          arch::Registers r = g.registers;
          r.rip = Entry(bench_raw_loop);
          r.rbx = 1;
          CHECK(thread->Switch(r).kind == Event::Kind::kSyscall);
        }
      });
    }
    if (Wanted("new_process")) {
      Measure("new_process", [&](int64_t n) {
        for (int64_t i = 0; i < n; ++i) {
          Guest g = NewGuest();
          g.registers.rip = Entry(bench_raw_loop);
          g.registers.rbx = 1;
          CHECK(g.thread->Switch(g.registers).kind == Event::Kind::kSyscall);
        }
      });
    }
    if (Wanted("save_load_fpu")) {
      Guest g = NewGuest();
      Measure("save_load_fpu", [&](int64_t n) {
        for (int64_t i = 0; i < n; ++i) {
          std::vector<std::byte> image;
          MUST(g.thread->SaveFpu(image));
          MUST(g.thread->LoadFpu(image));
        }
      });
    }
  }

 private:
  Platform& platform_;
  std::vector<std::string> names_;
  ScopedFd code_;
};

int Main(int argc, char** argv) {
  Options options;
  sched::Scheduler::Options scheduling;
  std::vector<std::string> names;
  for (int i = 1; i < argc; ++i) {
    std::string a = argv[i];
    if (a == "--ptrace") {
      options.kind = Kind::kPtrace;
    } else if (a == "--strict") {
      options.strict_gate = true;
    } else if (a == "--workers") {
      scheduling.workers = atoi(argv[++i]);
    } else if (a == "--spin") {
      scheduling.spin_ns = atoi(argv[++i]);
    } else {
      names.push_back(a);
    }
  }
  auto scheduler = MUST(sched::Scheduler::Create(scheduling));
  std::string why;
  Result<std::unique_ptr<Platform>> platform = Platform::Create(*scheduler, options, &why);
  if (!platform.ok()) {
    fprintf(stderr, "platform_bench: %s\n", why.c_str());
    return 1;
  }
  scheduler->Spawn("bench", [&] {
    Bench((*platform).operator*(), names).Run();
    scheduler->Stop();
  });
  scheduler->Run();
  return 0;
}

}  // namespace
}  // namespace msentry::platform

int main(int argc, char** argv) { return msentry::platform::Main(argc, argv); }
