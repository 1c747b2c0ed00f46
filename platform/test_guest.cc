#include "platform/test_guest.h"

#include <dirent.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace msentry::platform {

void Guest::ExpectSyscall(uint64_t number) {
  Event event = Switch();
  ASSERT_EQ(event.kind, Event::Kind::kSyscall) << "signo " << event.signo << " address " << std::hex
                                               << event.address << " rip " << registers.rip;
  ASSERT_EQ(registers.syscall_number(), number);
}

Guest Guest::Fork() {
  Guest child;
  auto pair = MUST(thread->Fork());
  child.space = std::move(pair.first);
  child.thread = std::move(pair.second);
  child.registers = registers;
  return child;
}

Guest Guest::NewThread(uint64_t rip, uint64_t stack_top) {
  Guest other;
  other.space = space;
  other.thread = MUST(thread->NewThread());
  other.registers = registers;
  other.registers.rip = rip;
  other.registers.rsp = stack_top;
  return other;
}

uint64_t Guest::Read(uint64_t address) {
  uint64_t value = 0;
  EXPECT_EQ(space->CopyIn(address, std::as_writable_bytes(std::span(&value, 1))).value_or(0), 8u);
  return value;
}

void Guest::Write(uint64_t address, uint64_t value) {
  EXPECT_EQ(space->CopyOut(address, std::as_bytes(std::span(&value, 1))).value_or(0), 8u);
}

void PlatformTest::SetUp() {
  scheduler_ = MUST(sched::Scheduler::Create({.workers = Workers()}));
  std::string why;
  auto platform =
      Platform::Create(*scheduler_, {.kind = GetParam(), .strict_gate = StrictGate()}, &why);
  if (!platform.ok() && platform.error() == Errno::kENOSYS) GTEST_SKIP() << why;
  ASSERT_TRUE(platform.ok()) << why;
  platform_ = std::move(platform).value();
}

void PlatformTest::TearDown() {
  platform_.reset();
  scheduler_.reset();
}

void PlatformTest::Run(absl::AnyInvocable<void()> body) {
  scheduler_->Spawn("test", [&] {
    body();
    scheduler_->Stop();
  });
  scheduler_->Run();
}

Guest PlatformTest::NewGuest(Snippet program) {
  Guest guest;
  auto pair = MUST(platform_->NewProcess());
  guest.space = std::move(pair.first);
  guest.thread = std::move(pair.second);
  size_t size = program.end - program.begin;
  CHECK(size <= 4 * kPage);
  MemoryBatch batch;
  batch.MapAnonymous(kCode, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  batch.MapAnonymous(kData, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  batch.MapAnonymous(kStackTop - 4 * kPage, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  MUST(guest.thread->Apply(batch));
  CHECK(MUST(guest.space->CopyOut(kCode, std::as_bytes(std::span(program.begin, program.end)))) ==
        size);
  MemoryBatch protect;
  protect.Protect(kCode, 4 * kPage, PROT_READ | PROT_EXEC);
  MUST(guest.thread->Apply(protect));
  guest.registers.rip = kCode;
  guest.registers.rsp = kStackTop - 64;
  guest.registers.eflags = 0x202;
  guest.registers.orig_rax = ~uint64_t{0};
  MUST(guest.thread->ResetFpu());
  return guest;
}

void PlatformTest::MapProgramFile(Guest& guest, Snippet program) {
  ScopedFd file(memfd_create("program", MFD_CLOEXEC));
  ssize_t size = program.end - program.begin;
  CHECK(write(file.get(), program.begin, size) == size);
  CHECK(ftruncate(file.get(), 4 * kPage) == 0);
  MemoryBatch batch;
  batch.MapFile(kCode, 4 * kPage, PROT_READ | PROT_EXEC, MAP_PRIVATE, file.get(), 0);
  MUST(guest.thread->Apply(batch));
}

namespace {

int CountEntries(const std::string& path) {
  DIR* dir = opendir(path.c_str());
  if (dir == nullptr) return -1;
  int count = 0;
  while (dirent* entry = readdir(dir)) count += entry->d_name[0] != '.';
  closedir(dir);
  return count;
}

}  // namespace

int CountFds() { return CountEntries("/proc/self/fd"); }

int CountChildren() {
  int count = 0;
  DIR* dir = opendir("/proc");
  while (dirent* entry = readdir(dir)) {
    FILE* file = fopen(absl::StrCat("/proc/", entry->d_name, "/stat").c_str(), "re");
    if (file == nullptr) continue;
    char line[256] = {};
    if (fgets(line, sizeof(line), file) != nullptr) {
      // The name may hold anything: what counts comes after its last parenthesis.
      const char* rest = strrchr(line, ')');
      int parent = 0;
      char state;
      if (rest && sscanf(rest + 1, " %c %d", &state, &parent) == 2) count += parent == getpid();
    }
    fclose(file);
  }
  closedir(dir);
  return count;
}

}  // namespace msentry::platform
