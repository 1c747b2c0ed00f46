// Guest code for the platform benchmark and the stress test: position independent, no data of its own.
// The sentry side picks an entry and gives arguments in registers.
        .section .rodata, "a", @progbits
        .p2align 12
        .globl  bench_guest, bench_guest_end
        .globl  bench_call_loop, bench_raw_loop, bench_mixed_loop, bench_spin, bench_pread_loop
bench_guest:

// rbx times: call number r12 with arguments rdi and so on as given; then exit_group(0).
bench_call_loop:
1:      movl    %r12d, %eax
        syscall
        cmpq    $-4095, %rax
        decq    %rbx
        jnz     1b
        xorl    %edi, %edi
        movl    $231, %eax
        syscall
        ud2

// rbx times getppid through the commonest form; then exit_group.
bench_raw_loop:
1:      movl    $110, %eax
        syscall
        decq    %rbx
        jnz     1b
        movl    $231, %eax
        syscall
        ud2

// Forever: touch memory at r13 + offset, call getppid, check that no register was lost.
bench_mixed_loop:
        movq    $0x1111111111111111, %r14
        movq    $0x2222222222222222, %r15
        movq    %rsp, %rbp
1:      movl    $110, %eax
        syscall
        cmpq    $77, %rax
        jne     2f
        cmpq    %rsp, %rbp
        jne     2f
        incq    (%r13)
        movq    $0x1111111111111111, %rax
        cmpq    %rax, %r14
        jne     2f
        addq    %rax, %rax
        cmpq    %rax, %r15
        jne     2f
        cmpq    $1, -8(%rsp)            // the red zone is ours
        jne     2f
        jmp     1b
2:      ud2

// Forever.
bench_spin:
1:      incq    (%r13)
        jmp     1b

// rbx times pread64(0, rsi, rdx, 0).
bench_pread_loop:
        movq    %rdx, %r12
1:      movq    %r12, %rdx
        xorl    %edi, %edi
        xorl    %r10d, %r10d
        movl    $17, %eax
        syscall
        decq    %rbx
        jnz     1b
        movl    $231, %eax
        syscall
        ud2
        .p2align 12
bench_guest_end:
        .section .note.GNU-stack, "", @progbits
