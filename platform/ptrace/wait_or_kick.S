# int msentry_wait_or_kick(const uint32_t* awake, int idtype, int id, siginfo_t* info, int options)
# waitid(idtype, id, info, options, NULL), unless *awake is set: then -EINTR. The handler of the kick
# signal moves a thread interrupted in [msentry_wait_begin, msentry_wait_end) to msentry_wait_abort.
    .text
    .globl msentry_wait_or_kick, msentry_wait_begin, msentry_wait_end, msentry_wait_abort
    .hidden msentry_wait_or_kick, msentry_wait_begin, msentry_wait_end, msentry_wait_abort
    .type msentry_wait_or_kick, @function
msentry_wait_or_kick:
    mov %rdi, %r9
    mov %esi, %edi
    mov %edx, %esi
    mov %rcx, %rdx
    mov %r8d, %r10d
    xor %r8d, %r8d
msentry_wait_begin:
    mov $247, %eax          # SYS_waitid
    cmpl $0, (%r9)
    jne msentry_wait_abort
    syscall
msentry_wait_end:
    ret
msentry_wait_abort:
    mov $-4, %eax           # -EINTR
    ret
    .size msentry_wait_or_kick, . - msentry_wait_or_kick

# The kernel wants a restorer with a handler installed by the raw call.
    .globl msentry_kick_restorer
    .hidden msentry_kick_restorer
    .type msentry_kick_restorer, @function
msentry_kick_restorer:
    mov $15, %eax           # SYS_rt_sigreturn
    syscall
    .size msentry_kick_restorer, . - msentry_kick_restorer
    .section .note.GNU-stack,"",@progbits
