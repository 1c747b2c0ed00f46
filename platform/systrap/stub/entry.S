// Every way into the stub and out of it. gs is the thread's slot (set with arch_prctl); the guest's
// stack is never touched, not even below its red zone.
//
// The guest-visible effect of a call is that of the `syscall` instruction: rax is the result, rcx the
// return address, r11 the flags, everything else is kept. Arithmetic flags are not kept on the
// patched path (no compiler expects them to survive a call); iretq restores them on the other.
#include "platform/systrap/stub/abi.h"

        .section .text.start, "ax"

// Process entry after execve: rsp is the initial stack the host kernel made.
        .globl  stub_start
stub_start:
        xorl    %ebp, %ebp
        movq    %rsp, %rdi
        andq    $-16, %rsp
        call    stub_main
        ud2

// A patched call site comes here through its trampoline: rax = number, rcx = return address, r11 free.
        .org    STUB_ENTRY
        .globl  stub_entry
stub_entry:
        cmpl    $0, %gs:SLOT_SHORTCUTS
        je      stub_ask
        cmpl    $39, %eax               // getpid
        je      1f
        cmpl    $186, %eax              // gettid
        je      2f
        leal    -102(%rax), %r11d
        cmpl    $6, %r11d
        ja      stub_ask
        cmpl    $102, %eax              // getuid
        je      3f
        cmpl    $104, %eax              // getgid
        je      4f
        cmpl    $107, %eax              // geteuid
        je      5f
        cmpl    $108, %eax              // getegid
        jne     stub_ask
        movl    %gs:SLOT_EGID, %eax
        jmp     stub_answer
1:      movl    %gs:SLOT_TGID, %eax
        jmp     stub_answer
2:      movl    %gs:SLOT_TID, %eax
        jmp     stub_answer
3:      movl    %gs:SLOT_UID, %eax
        jmp     stub_answer
4:      movl    %gs:SLOT_GID, %eax
        jmp     stub_answer
5:      movl    %gs:SLOT_EUID, %eax
// The way back of these. An interrupt signal that comes from here on counts as one behind the call.
        .globl  stub_answer
stub_answer:
        cmpl    $0, %gs:SLOT_INTERRUPT
        jne     stub_answer_interrupted
        movl    $0x246, %r11d
        jmp     *%rcx
        .globl  stub_answer_end
stub_answer_end:

.macro SAVE_AND_REQUEST kind
        movq    %rsp, %gs:GREG_RSP
        movq    %gs:SLOT_STACK, %rsp
        pushfq
        popq    %r11
        movq    %r15, %gs:GREG_R15
        movq    %r14, %gs:GREG_R14
        movq    %r13, %gs:GREG_R13
        movq    %r12, %gs:GREG_R12
        movq    %rbp, %gs:GREG_RBP
        movq    %rbx, %gs:GREG_RBX
        movq    %r11, %gs:GREG_R11
        movq    %r10, %gs:GREG_R10
        movq    %r9, %gs:GREG_R9
        movq    %r8, %gs:GREG_R8
        movq    %rax, %gs:GREG_RAX
        movq    %rcx, %gs:GREG_RCX
        movq    %rdx, %gs:GREG_RDX
        movq    %rsi, %gs:GREG_RSI
        movq    %rdi, %gs:GREG_RDI
        movq    %rax, %gs:GREG_ORIG_RAX
        movq    %rcx, %gs:GREG_RIP
        movq    %r11, %gs:GREG_EFLAGS
        cld
        movq    %gs:SLOT_SELF, %rdi
        movl    $\kind, %esi
        xorl    %edx, %edx
        call    stub_request
        ud2
.endm

        .p2align 6
stub_ask:
        SAVE_AND_REQUEST KIND_SYSCALL
stub_answer_interrupted:
        SAVE_AND_REQUEST KIND_INTERRUPTED

// Signals. The handler runs on the thread's signal stack, with the interrupt signal blocked while it
// handles one; it either returns (the interrupted code was the stub's) or unblocks it, goes on with a
// request and never comes back, which is sound because the mask is empty again and the signal stack
// is free once rsp has left it.
        .globl  stub_handler
stub_handler:
        jmp     stub_on_signal
        .globl  stub_restorer
stub_restorer:
        movl    $15, %eax
        syscall
        ud2

// stub_switch_and_request(slot, kind, by_signal): goes on from the top of the thread's stack.
        .globl  stub_switch_and_request
stub_switch_and_request:
        movq    SLOT_STACK(%rdi), %rsp
        call    stub_request
        ud2

// stub_leave(slot): to guest code with the slot's registers. The two windows between the look at
// `interrupt` and the last instruction change nothing but registers: when an interrupt signal comes
// inside, the handler reports the slot's registers, as if it had come just before.
        .p2align 6
        .globl  stub_leave
stub_leave:
        cmpq    $0, SLOT_GUEST_GS(%rdi)
        jne     stub_leave_full         // gs is the guest's already
        movq    %gs:GREG_RIP, %rcx
        movq    %gs:GREG_EFLAGS, %r11
        cmpq    %rcx, %gs:GREG_RCX
        jne     stub_leave_full
        cmpq    %r11, %gs:GREG_R11
        jne     stub_leave_full
        testl   $0x44500, %r11d         // AC, NT, DF, TF
        jnz     stub_leave_full
        .globl  stub_leave_fast
stub_leave_fast:
        cmpl    $0, %gs:SLOT_INTERRUPT
        jne     stub_leave_interrupted
        movq    %gs:GREG_R15, %r15
        movq    %gs:GREG_R14, %r14
        movq    %gs:GREG_R13, %r13
        movq    %gs:GREG_R12, %r12
        movq    %gs:GREG_RBP, %rbp
        movq    %gs:GREG_RBX, %rbx
        movq    %gs:GREG_R10, %r10
        movq    %gs:GREG_R9, %r9
        movq    %gs:GREG_R8, %r8
        movq    %gs:GREG_RAX, %rax
        movq    %gs:GREG_RDX, %rdx
        movq    %gs:GREG_RSI, %rsi
        movq    %gs:GREG_RDI, %rdi
        movq    %gs:GREG_RSP, %rsp
        jmp     *%rcx
        .globl  stub_leave_fast_end
stub_leave_fast_end:

        .globl  stub_leave_full
stub_leave_full:
        cmpl    $0, SLOT_INTERRUPT(%rdi)
        jne     stub_leave_interrupted
        leaq    SLOT_REGS(%rdi), %rsp
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbp
        popq    %rbx
        popq    %r11
        popq    %r10
        popq    %r9
        popq    %r8
        popq    %rax
        popq    %rcx
        popq    %rdx
        popq    %rsi
        popq    %rdi
        leaq    8(%rsp), %rsp           // orig_rax
        iretq
        .globl  stub_leave_full_end
stub_leave_full_end:

stub_leave_interrupted:
        movl    $KIND_INTERRUPTED, %esi
        xorl    %edx, %edx
        jmp     stub_switch_and_request

// Guest memory. A fault at one of the *_access labels resumes at the *_fault label behind it.

// uint64_t stub_copy(void* to, const void* from, uint64_t bytes): bytes not copied.
        .globl  stub_copy, stub_copy_access, stub_copy_fault
stub_copy:
        movq    %rdx, %rcx
stub_copy_access:
        rep movsb
stub_copy_fault:
        movq    %rcx, %rax
        ret

// bool stub_load8(const void* from, uint64_t* value): false on a fault.
        .globl  stub_load8, stub_load8_access, stub_load8_fault
stub_load8:
stub_load8_access:
        movq    (%rdi), %rax
        movq    %rax, (%rsi)
        movl    $1, %eax
        ret
stub_load8_fault:
        xorl    %eax, %eax
        ret

// bool stub_store(void* to, uint64_t value, uint32_t bytes): one store of 1, 4 or 8 bytes.
        .globl  stub_store, stub_store1_access, stub_store4_access, stub_store8_access
        .globl  stub_store_fault
stub_store:
        movl    $1, %eax
        cmpl    $4, %edx
        je      stub_store4_access
        ja      stub_store8_access
stub_store1_access:
        movb    %sil, (%rdi)
        ret
stub_store4_access:
        movl    %esi, (%rdi)
        ret
stub_store8_access:
        movq    %rsi, (%rdi)
        ret
stub_store_fault:
        xorl    %eax, %eax
        ret

// bool stub_xrstor(const void* area, uint64_t mask): false when the processor refused the area.
        .globl  stub_xrstor, stub_xrstor_access, stub_xrstor_fault
stub_xrstor:
        movq    %rsi, %rax
        movq    %rsi, %rdx
        shrq    $32, %rdx
stub_xrstor_access:
        xrstor64 (%rdi)
        movl    $1, %eax
        ret
stub_xrstor_fault:
        xorl    %eax, %eax
        ret

// int64_t stub_read_clock(slot, the vDSO's clock_gettime, clock, to): its result. The vDSO is guest
// memory, which the guest may have unmapped: a fault in it goes on at stub_read_clock_fault with
// the stack pointer that the slot remembers.
        .globl  stub_read_clock, stub_read_clock_fault
stub_read_clock:
        pushq   %rbx
        pushq   %rbp
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        pushq   %rdi                    // aligns the stack as well
        movq    %rsp, SLOT_CLOCK_SP(%rdi)
        movq    %rsi, %rax
        movl    %edx, %edi
        movq    %rcx, %rsi
        call    *%rax
        cltq
        jmp     1f
stub_read_clock_fault:
        movq    $-38, %rax              // ENOSYS
1:      popq    %rdi
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbp
        popq    %rbx
        ret

// int64_t stub_clone_thread(slot of the new thread, its stack top, flags): host thread id or -errno.
        .globl  stub_clone_thread
stub_clone_thread:
        movq    %rdi, %r8               // survives in the child: the new slot
        leaq    SLOT_HOST_TID(%r8), %r10
        movq    %rdx, %rdi              // flags; rsi = stack
        movq    %r10, %rdx              // parent_tid; r10 = child_tid
        movl    $56, %eax
        syscall
        testq   %rax, %rax
        jz      1f
        ret
1:      xorl    %ebp, %ebp
        movq    %r8, %rdi
        call    stub_thread_start
        ud2

        .section .note.GNU-stack, "", @progbits
