// The stub blob's ELF file as bytes of ours.
        .section .rodata, "a", @progbits
        .p2align 4
        .globl  msentry_stub_image, msentry_stub_image_end
msentry_stub_image:
        .incbin STUB_ELF
msentry_stub_image_end:
        .section .note.GNU-stack, "", @progbits
