# Guest programs of the platform tests. Position independent; each ends in a loop of exit calls.
    .section .rodata
    .macro snippet name
    .globl snippet_\name, snippet_\name\()_end
    .balign 16
snippet_\name:
    .endm
    .macro finish name
9999:
    mov $60, %eax
    syscall
    jmp 9999b
snippet_\name\()_end:
    .endm

# Calls 1000 with arguments 1..6, then 1001 with the result as its first argument.
snippet two_calls
    mov $1000, %eax
    mov $1, %edi
    mov $2, %esi
    mov $3, %edx
    mov $4, %r10d
    mov $5, %r8d
    mov $6, %r9d
    syscall
    mov %rax, %rdi
    mov $1001, %eax
    syscall
finish two_calls

# The same call site again and again; every register but rax, rcx, r11 is checked by the sentry side.
snippet call_loop
1:  mov $39, %eax
    syscall
    inc %rbx
    jmp 1b
finish call_loop

# As call_loop, from sites of both forms that systrap patches, at every distance from an aligned word.
snippet patched_loop
1:
    .irp shift, 0, 1, 2, 3, 4, 5, 6, 7
    .balign 16, 0x90
    .fill \shift, 1, 0x90
    mov $39, %eax
    syscall
    inc %rbx
    .balign 16, 0x90
    mov $39, %eax
    jmp 2f
    .balign 16, 0x90
    .fill \shift, 1, 0x90
2:  syscall
    cmp $-4095, %rax
    inc %rbx
    .endr
    jmp 1b
finish patched_loop

# The other form of call site: mov before, cmp behind, the number loaded far away.
snippet raw_site
    mov $1000, %eax
    xor %edi, %edi
    jmp 1f
1:  syscall
    cmp $-4095, %rax
    jae 2f
    mov $1, %edi
2:  mov $1001, %eax
    syscall
finish raw_site

# Spins for ever, counting in rbx.
snippet spin
1:  inc %rbx
    pause
    jmp 1b
finish spin

# Spins for ever, counting at rdi.
snippet spin_counting
1:  incq (%rdi)
    jmp 1b
finish spin_counting

# Spins until the word at rdi is not 0, then calls 1000.
snippet wait_word
1:  pause
    cmpq $0, (%rdi)
    je 1b
    mov $1000, %eax
    syscall
finish wait_word

# Stores rsi at rdi, then calls 1000 with what it reads back.
snippet store
1:  mov %rsi, (%rdi)
    mov (%rdi), %rdi
    mov $1000, %eax
    syscall
    jmp 1b
finish store

# Reads a word at rdi, then calls 1000 with it.
snippet load
1:  mov (%rdi), %rdi
    mov $1000, %eax
    syscall
    jmp 1b
finish load

snippet illegal
    ud2
finish illegal

snippet divide
    xor %edx, %edx
    xor %ecx, %ecx
    mov $1, %eax
    div %ecx
finish divide

snippet breakpoint
    int3
    mov $1000, %eax
    syscall
finish breakpoint

snippet privileged
    hlt
finish privileged

snippet jump
    jmp *%rdi
finish jump

# Puts rdi into xmm0, xmm15 and x87's st0 and rsi into MXCSR, calls 1000, then stores xmm0, xmm15, st0
# and MXCSR at kData and calls 1001.
snippet fpu
    movq %rdi, %xmm0
    movq %rdi, %xmm15
    mov %rsi, -8(%rsp)
    ldmxcsr -8(%rsp)
    mov %rdi, -16(%rsp)
    fildll -16(%rsp)
    mov $1000, %eax
    syscall
    mov $0x500000, %edi
    movq %xmm0, (%rdi)
    movq %xmm15, 8(%rdi)
    fistpll 16(%rdi)
    stmxcsr 24(%rdi)
    mov $1001, %eax
    syscall
finish fpu

# Jumps with every other register as it came.
snippet jump_far
    jmp *%r15
finish jump_far

# Jumps to r15, which comes back behind the jump, and calls 1000 with what it has left in rax.
snippet call_and_report
    jmp *%r15
    mov %rax, %rdi
    mov $1000, %eax
    syscall
finish call_and_report

# Fills rcx words at rdi with rdx, then calls 1000.
snippet scribble
1:  mov %rdx, (%rdi)
    add $8, %rdi
    dec %rcx
    jnz 1b
    mov $1000, %eax
    syscall
finish scribble

# rdtsc-free clock: calls the function at rdi (vDSO clock_gettime) with (1, kData), then call 1000
# with its result.
snippet call_function
    mov %rdi, %rax
    mov $1, %edi
    mov $0x500000, %esi
    call *%rax
    mov %rax, %rdi
    mov $1000, %eax
    syscall
finish call_function

# int $0x80, as 32-bit programs call.
snippet int80
    mov $20, %eax
    int $0x80
    mov $1000, %eax
    syscall
finish int80

# Sets the carry and direction flags and the alignment check, then calls 1000.
snippet flags
    pushfq
    orl $0x401, (%rsp)
    popfq
    mov $1000, %eax
    syscall
    pushfq
    pop %rdi
    cld
    mov $1001, %eax
    syscall
finish flags

    .section .note.GNU-stack,"",@progbits
