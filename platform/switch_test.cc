// System calls, registers and faults as a platform reports them.
#include <cerrno>
#include <csignal>
#include <ctime>

#include "platform/test_guest.h"
#include "platform/vdso_image.h"

namespace msentry::platform {
namespace {

PLATFORM_SNIPPET(two_calls);
PLATFORM_SNIPPET(call_loop);
PLATFORM_SNIPPET(raw_site);
PLATFORM_SNIPPET(store);
PLATFORM_SNIPPET(load);
PLATFORM_SNIPPET(illegal);
PLATFORM_SNIPPET(divide);
PLATFORM_SNIPPET(breakpoint);
PLATFORM_SNIPPET(privileged);
PLATFORM_SNIPPET(jump);
PLATFORM_SNIPPET(flags);
PLATFORM_SNIPPET(call_function);

class SwitchTest : public PlatformTest {};

TEST_P(SwitchTest, SyscallHasItsNumberAndArguments) {
  Run([&] {
    Guest guest = NewGuest(k_two_calls);
    guest.ExpectSyscall(1000);
    for (int i = 0; i < 6; ++i) EXPECT_EQ(guest.registers.arg(i), static_cast<uint64_t>(i + 1));
    // Behind the instruction: the next one is mov %rax, %rdi.
    uint8_t before[2];
    ASSERT_EQ(
        guest.space->CopyIn(guest.registers.rip - 2, std::as_writable_bytes(std::span(before)))
            .value_or(0),
        2u);
    EXPECT_EQ(before[0], 0x0f);
    EXPECT_EQ(before[1], 0x05);
    guest.registers.rax = 0x123456789abc;
    guest.ExpectSyscall(1001);
    EXPECT_EQ(guest.registers.arg(0), 0x123456789abcu);
    guest.registers.rax = static_cast<uint64_t>(-ENOSYS);
    guest.ExpectSyscall(60);
  });
}

TEST_P(SwitchTest, NegativeResultsArriveAsTheyAre) {
  Run([&] {
    Guest guest = NewGuest(k_raw_site);
    guest.ExpectSyscall(1000);
    guest.registers.rax = static_cast<uint64_t>(-EINTR);
    guest.ExpectSyscall(1001);
    EXPECT_EQ(guest.registers.arg(0), 0u);
    guest.registers.rip = kCode;  // once more, the site has been seen
    guest.ExpectSyscall(1000);
    guest.registers.rax = 7;
    guest.ExpectSyscall(1001);
    EXPECT_EQ(guest.registers.arg(0), 1u);
  });
}

TEST_P(SwitchTest, RegistersSurviveManyCallsFromOneSite) {
  Run([&] {
    Guest guest = NewGuest(k_call_loop);
    arch::Registers& r = guest.registers;
    r.rbx = 0;
    r.rbp = 0xb0;
    r.rdi = 0xd1;
    r.rsi = 0x51;
    r.rdx = 0xd0;
    r.r8 = 8;
    r.r9 = 9;
    r.r10 = 10;
    r.r12 = 12;
    r.r13 = 13;
    r.r14 = 14;
    r.r15 = 15;
    for (uint64_t i = 0; i < 2000; ++i) {
      guest.ExpectSyscall(39);
      ASSERT_EQ(r.rbx, i);
      ASSERT_EQ(r.rbp, 0xb0u);
      ASSERT_EQ(r.rdi, 0xd1u + i);
      ASSERT_EQ(r.rsi, 0x51u);
      ASSERT_EQ(r.rdx, 0xd0u);
      ASSERT_EQ(r.r8, 8u);
      ASSERT_EQ(r.r9, 9u);
      ASSERT_EQ(r.r10, 10u);
      ASSERT_EQ(r.r12, 12u);
      ASSERT_EQ(r.r13, 13u);
      ASSERT_EQ(r.r14, 14u);
      ASSERT_EQ(r.r15, 15u);
      ASSERT_EQ(r.rsp, kStackTop - 64);
      r.rax = i;
      ++r.rdi;  // what the sentry changes arrives
    }
  });
}

TEST_P(SwitchTest, AllRegistersCanBeSet) {
  Run([&] {
    Guest guest = NewGuest(k_call_loop);
    guest.ExpectSyscall(39);
    // As rt_sigreturn does: everything new, rip and rsp included.
    arch::Registers& r = guest.registers;
    uint64_t* words = reinterpret_cast<uint64_t*>(&r);
    for (int i = 0; i < 15; ++i) words[i] = 0x1000 + i;
    r.rip = kCode;
    r.rsp = kStackTop - 256;
    r.fs_base = kData + 64;
    r.gs_base = kData + 128;
    arch::Registers want = r;
    guest.ExpectSyscall(39);
    EXPECT_EQ(r.rsp, kStackTop - 256);
    EXPECT_EQ(r.fs_base, kData + 64);
    EXPECT_EQ(r.gs_base, kData + 128);
    EXPECT_EQ(r.rbx, want.rbx);
    EXPECT_EQ(r.rbp, want.rbp);
    EXPECT_EQ(r.rdi, want.rdi);
    EXPECT_EQ(r.rsi, want.rsi);
    EXPECT_EQ(r.rdx, want.rdx);
    EXPECT_EQ(r.r8, want.r8);
    EXPECT_EQ(r.r9, want.r9);
    EXPECT_EQ(r.r10, want.r10);
    EXPECT_EQ(r.r12, want.r12);
    EXPECT_EQ(r.r15, want.r15);
  });
}

TEST_P(SwitchTest, RcxAndR11CanBeSetToo) {
  // sysret takes rip and the flags from them; a signal return must not care.
  Run([&] {
    Guest guest = NewGuest(k_store);
    guest.registers.rdi = kData;
    guest.registers.rsi = 1;
    guest.ExpectSyscall(1000);
    guest.registers.rcx = 0xcccc;
    guest.registers.r11 = 0x1111;
    guest.registers.rip = kCode;
    guest.registers.rdi = 0xdead0000;  // faults at once, and shows the registers
    Event event = guest.Switch();
    EXPECT_EQ(event.kind, Event::Kind::kFault);
    EXPECT_EQ(guest.registers.rcx, 0xccccu);
    EXPECT_EQ(guest.registers.r11, 0x1111u);
    EXPECT_EQ(guest.registers.rip, kCode);
  });
}

TEST_P(SwitchTest, FlagsSurviveACall) {
  Run([&] {
    Guest guest = NewGuest(k_flags);
    guest.ExpectSyscall(1000);
    EXPECT_EQ(guest.registers.eflags & 0x401, 0x401u);
    guest.registers.rax = 0;
    guest.ExpectSyscall(1001);
    EXPECT_EQ(guest.registers.arg(0) & 0x401, 0x401u);
  });
}

TEST_P(SwitchTest, NonsenseRegistersHurtOnlyTheGuest) {
  Run([&] {
    for (int which = 0; which < 4; ++which) {
      Guest guest = NewGuest(k_two_calls);
      switch (which) {
        case 0:
          guest.registers.rip = 0x8000'0000'0000'0000;
          break;
        case 1:
          guest.registers.rsp = 0xffff'8000'0000'0000;
          break;
        case 2:
          guest.registers.cs = 0x10;
          guest.registers.ss = 0x18;
          break;
        case 3:
          guest.registers.fs_base = 0xffff'8000'0000'0000;
          break;
      }
      guest.registers.eflags = ~uint64_t{0x40100};  // all but TF and AC
      Event event = guest.Switch();
      if (which == 0) {
        EXPECT_TRUE(event.kind == Event::Kind::kFault || event.kind == Event::Kind::kExited);
      } else {
        EXPECT_EQ(event.kind, Event::Kind::kSyscall) << which;
      }
    }
    Guest other = NewGuest(k_two_calls);
    other.ExpectSyscall(1000);
  });
}

TEST_P(SwitchTest, ReadFaultOnUnmappedMemory) {
  Run([&] {
    Guest guest = NewGuest(k_load);
    guest.registers.rdi = 0x12345678;
    Event event = guest.Switch();
    ASSERT_EQ(event.kind, Event::Kind::kFault);
    EXPECT_EQ(event.signo, SIGSEGV);
    EXPECT_EQ(event.code, SEGV_MAPERR);
    EXPECT_EQ(event.address, 0x12345678u);
    EXPECT_EQ(event.trap_number, 14u);
    EXPECT_EQ(guest.registers.rip, kCode);  // at the instruction, not behind it
    // Mapped, it goes on.
    MemoryBatch batch;
    batch.MapAnonymous(0x12345000, kPage, PROT_READ, MAP_PRIVATE);
    ASSERT_TRUE(guest.thread->Apply(batch).ok());
    guest.ExpectSyscall(1000);
    EXPECT_EQ(guest.registers.arg(0), 0u);
  });
}

TEST_P(SwitchTest, WriteFaultOnReadOnlyMemory) {
  Run([&] {
    Guest guest = NewGuest(k_store);
    guest.registers.rdi = kCode + 8;
    Event event = guest.Switch();
    ASSERT_EQ(event.kind, Event::Kind::kFault);
    EXPECT_EQ(event.signo, SIGSEGV);
    EXPECT_EQ(event.code, SEGV_ACCERR);
    EXPECT_EQ(event.address, kCode + 8);
    EXPECT_EQ(event.trap_number, 14u);
    EXPECT_EQ(event.error_code, 7u);  // present, write, user
  });
}

TEST_P(SwitchTest, JumpToDataIsAFetchFault) {
  Run([&] {
    Guest guest = NewGuest(k_jump);
    guest.registers.rdi = kData;
    Event event = guest.Switch();
    ASSERT_EQ(event.kind, Event::Kind::kFault);
    EXPECT_EQ(event.signo, SIGSEGV);
    EXPECT_EQ(event.code, SEGV_ACCERR);
    EXPECT_EQ(event.address, kData);
    EXPECT_EQ(guest.registers.rip, kData);
  });
}

TEST_P(SwitchTest, IllegalInstruction) {
  Run([&] {
    Guest guest = NewGuest(k_illegal);
    Event event = guest.Switch();
    ASSERT_EQ(event.kind, Event::Kind::kFault);
    EXPECT_EQ(event.signo, SIGILL);
    EXPECT_EQ(event.code, ILL_ILLOPN);
    EXPECT_EQ(event.address, kCode);
    EXPECT_EQ(event.trap_number, 6u);
  });
}

TEST_P(SwitchTest, DivisionByZero) {
  Run([&] {
    Guest guest = NewGuest(k_divide);
    Event event = guest.Switch();
    ASSERT_EQ(event.kind, Event::Kind::kFault);
    EXPECT_EQ(event.signo, SIGFPE);
    EXPECT_EQ(event.code, FPE_INTDIV);
    EXPECT_EQ(event.address, guest.registers.rip);
    EXPECT_EQ(event.trap_number, 0u);
  });
}

TEST_P(SwitchTest, Breakpoint) {
  Run([&] {
    Guest guest = NewGuest(k_breakpoint);
    Event event = guest.Switch();
    ASSERT_EQ(event.kind, Event::Kind::kFault);
    EXPECT_EQ(event.signo, SIGTRAP);
    EXPECT_EQ(event.code, SI_KERNEL);
    EXPECT_EQ(guest.registers.rip, kCode + 1);
    EXPECT_EQ(event.trap_number, 3u);
    guest.ExpectSyscall(1000);
  });
}

TEST_P(SwitchTest, PrivilegedInstruction) {
  Run([&] {
    Guest guest = NewGuest(k_privileged);
    Event event = guest.Switch();
    ASSERT_EQ(event.kind, Event::Kind::kFault);
    EXPECT_EQ(event.signo, SIGSEGV);
    EXPECT_EQ(event.code, SI_KERNEL);
    EXPECT_EQ(event.address, 0u);
    EXPECT_EQ(event.trap_number, 13u);
  });
}

TEST_P(SwitchTest, SingleStepTraps) {
  Run([&] {
    Guest guest = NewGuest(k_load);
    guest.registers.rdi = kData;
    guest.registers.eflags |= 0x100;
    Event event = guest.Switch();
    ASSERT_EQ(event.kind, Event::Kind::kFault);
    EXPECT_EQ(event.signo, SIGTRAP);
    EXPECT_EQ(event.code, TRAP_TRACE);
    EXPECT_EQ(guest.registers.rip, kCode + 3);
    guest.registers.eflags &= ~uint64_t{0x100};
    guest.ExpectSyscall(1000);
  });
}

TEST_P(SwitchTest, VdsoIsThereAndTellsTheTime) {
  if (platform().vdso().length == 0) GTEST_SKIP() << "no vDSO on this platform";
  Run([&] {
    Platform::Vdso vdso = platform().vdso();
    EXPECT_LE(vdso.address + vdso.length, arch::kTaskSize);
    EXPECT_EQ(vdso.vvar_address + vdso.vvar_length, vdso.address);
    Guest guest = NewGuest(k_call_function);
    std::vector<std::byte> image(vdso.length);
    ASSERT_EQ(guest.space->CopyIn(vdso.address, image).value_or(0), image.size());
    std::optional<uint64_t> function = FindVdsoSymbol(image, "__vdso_clock_gettime");
    ASSERT_TRUE(function.has_value());
    timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    guest.registers.rdi = vdso.address + *function;
    // A vDSO that cannot read its data asks the kernel: that would be another call than 1000.
    guest.ExpectSyscall(1000);
    clock_gettime(CLOCK_MONOTONIC, &after);
    EXPECT_EQ(guest.registers.rdi, 0u);
    auto ns = [](uint64_t s, uint64_t ns) { return s * 1'000'000'000 + ns; };
    uint64_t told = ns(guest.Read(kData), guest.Read(kData + 8));
    EXPECT_GE(told, ns(before.tv_sec, before.tv_nsec));
    EXPECT_LE(told, ns(after.tv_sec, after.tv_nsec));
  });
}

PLATFORM_TEST_SUITE(SwitchTest);

}  // namespace
}  // namespace msentry::platform
