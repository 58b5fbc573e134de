# The PVH entry. Addresses are linked high and used low until paging is on: `LOW(x)` is `x - OFFSET`.
.set OFFSET, 0xffffffff80000000
.set PRESENT_WRITABLE, 0x3
.set LARGE, 0x80

.section .note.pvh, "a", @note
    .align 4
    .long 4                             # size of the name
    .long 4                             # size of the value
    .long 18                            # XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long pvh_entry - OFFSET

.section .bss.boot_tables, "aw", @nobits
    .align 4096
boot_pml4:      .skip 4096
boot_pdpt_low:  .skip 4096
boot_pdpt_high: .skip 4096
boot_pd:        .skip 4 * 4096          # 4 GiB in 2 MiB pages

.section .rodata.boot_gdt, "a"
    .align 8
boot_gdt:
    .quad 0
    .quad 0x00af9a000000ffff            # 64-bit code
    .quad 0x00cf92000000ffff            # data
boot_gdt_pointer:
    .word . - boot_gdt - 1
    .long boot_gdt - OFFSET

.section .text.pvh, "ax"
.code32
.global pvh_entry
pvh_entry:
    cld
    movl $(boot_pd - OFFSET), %edi
    movl $(PRESENT_WRITABLE | LARGE), %eax
    movl $2048, %ecx
1:  movl %eax, (%edi)
    movl $0, 4(%edi)
    addl $0x200000, %eax
    addl $8, %edi
    decl %ecx
    jnz 1b

    movl $(boot_pdpt_low - OFFSET), %edi
    movl $(boot_pd - OFFSET + PRESENT_WRITABLE), %eax
    movl $4, %ecx
2:  movl %eax, (%edi)
    addl $4096, %eax
    addl $8, %edi
    decl %ecx
    jnz 2b

    movl $(boot_pd - OFFSET + PRESENT_WRITABLE), boot_pdpt_high - OFFSET + 510 * 8
    movl $(boot_pdpt_low - OFFSET + PRESENT_WRITABLE), boot_pml4 - OFFSET
    movl $(boot_pdpt_low - OFFSET + PRESENT_WRITABLE), boot_pml4 - OFFSET + 256 * 8
    movl $(boot_pdpt_high - OFFSET + PRESENT_WRITABLE), boot_pml4 - OFFSET + 511 * 8

    movl $(boot_pml4 - OFFSET), %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x20, %eax                     # PAE
    movl %eax, %cr4
    movl $0xc0000080, %ecx              # EFER
    rdmsr
    orl $0x900, %eax                    # LME, NXE
    wrmsr
    movl %cr0, %eax
    orl $0x80010001, %eax               # PG, WP, PE
    movl %eax, %cr0
    lgdt boot_gdt_pointer - OFFSET
    ljmpl $8, $(3f - OFFSET)

.code64
3:  movabsq $4f, %rax
    jmp *%rax
4:  movl $16, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    leaq __boot_stack_top(%rip), %rsp
    xorl %ebp, %ebp
    movl %ebx, %edi
    call {main}
    ud2
