//! Ring 3 and its memory, with tiny programs in machine code.
use crate::bare::{Features, time};
use crate::mem::{Page, stats};
use crate::user::{
    FpuState, PageTable, Prot, Trap, USER_END, UserContext, cmpxchg_u32, copy_from_user, copy_to_user, fpu_format,
    load_u32, zero_user,
};
use crate::{PAGE_SIZE, ktest};

const CODE: u64 = 0x40_0000;
const DATA: u64 = 0x50_0000;
const DATA_END: u64 = DATA + PAGE_SIZE as u64;
const READ_WRITE: Prot = Prot { read: true, write: true, exec: false };
const READ_EXECUTE: Prot = Prot { read: true, write: false, exec: true };
const READ: Prot = Prot { read: true, write: false, exec: false };
const NOTHING: Prot = Prot { read: false, write: false, exec: false };

/// An address space with `code` at [`CODE`] and a page of data at [`DATA`], active until the end of the test.
struct Space {
    table: PageTable,
    data: Page,
}

impl Space {
    fn new(code: &[u8]) -> Space {
        let table = PageTable::new().expect("memory");
        let (text, data) = (Page::alloc_zeroed().expect("memory"), Page::alloc_zeroed().expect("memory"));
        text.write_from(0, code);
        assert_eq!(table.map(CODE, text, READ_EXECUTE), Ok(()));
        assert_eq!(table.map(DATA, data.clone(), READ_WRITE), Ok(()));
        table.activate();
        Space { table, data }
    }
    fn context(&self) -> UserContext {
        UserContext::new(CODE, DATA_END).expect("memory")
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        PageTable::deactivate();
    }
}

/// Runs until something else than an interrupt happens.
fn run(context: &mut UserContext) -> Trap {
    loop {
        match context.run() {
            Trap::Interrupt => drop(crate::thread::take_need_resched()),
            trap => return trap,
        }
    }
}

ktest! {
    fn system_calls_keep_all_registers() {
        // 2: syscall; jmp 2b
        let space = Space::new(&[0x0f, 0x05, 0xeb, 0xfc]);
        let mut context = space.context();
        let r = &mut context.regs;
        (r.rax, r.rbx, r.rdx, r.rsi, r.rdi, r.rbp) = (1, 2, 3, 4, 5, 6);
        (r.r8, r.r9, r.r10, r.r12, r.r13, r.r14, r.r15) = (8, 9, 10, 12, 13, 14, 15);
        for trip in 0..3 {
            assert_eq!(run(&mut context), Trap::Syscall);
            let r = &context.regs;
            assert_eq!([r.rax, r.rbx, r.rdx, r.rsi, r.rdi, r.rbp], [1 + trip, 2, 3, 4, 5, 6]);
            assert_eq!([r.r8, r.r9, r.r10, r.r12, r.r13, r.r14, r.r15], [8, 9, 10, 12, 13, 14, 15]);
            assert_eq!((r.rip, r.rsp, r.rcx), (CODE + 2, DATA_END, CODE + 2));
            context.regs.rax += 1;
        }
    }

    fn odd_returns_restore_rcx_and_r11() {
        // syscall; mov [rsp-8], rcx; mov [rsp-16], r11; syscall
        let space = Space::new(&[
            0x0f, 0x05, 0x48, 0x89, 0x4c, 0x24, 0xf8, 0x4c, 0x89, 0x5c, 0x24, 0xf0, 0x0f, 0x05,
        ]);
        let mut context = space.context();
        assert_eq!(run(&mut context), Trap::Syscall);
        (context.regs.rcx, context.regs.r11) = (0x1234, 0x5678);
        assert_eq!(run(&mut context), Trap::Syscall);
        let mut saved = [0u8; 16];
        space.data.read_into(PAGE_SIZE - 16, &mut saved);
        assert_eq!(u128::from_le_bytes(saved), 0x1234 << 64 | 0x5678);
    }

    fn flags_that_are_not_the_users_are_ignored() {
        let space = Space::new(&[0x0f, 0x05]);
        let mut context = space.context();
        // Interrupts off, I/O privilege 3, nested task.
        context.regs.rflags = 0x7000;
        assert_eq!(run(&mut context), Trap::Syscall);
        assert_eq!(context.regs.rflags & 0x7200, 0x200);
    }

    fn addresses_that_are_not_the_users_are_refused() {
        let space = Space::new(&[0x0f, 0x05]);
        let mut context = space.context();
        for rip in [1 << 47, 0xffff_8000_0000_0000, u64::MAX] {
            context.regs.rip = rip;
            context.regs.rcx = rip;
            context.regs.r11 = context.regs.rflags;
            assert_eq!(run(&mut context), Trap::Exception { vector: 13, error: 0 });
        }
        assert!(!context.set_fs_base(USER_END) && context.set_fs_base(DATA));
    }

    fn faults_say_what_happened() {
        // mov [rdi], rax; ud2
        let space = Space::new(&[0x48, 0x89, 0x07, 0x0f, 0x0b]);
        let mut context = space.context();
        context.regs.rdi = DATA_END;
        let absent = Trap::PageFault { addr: DATA_END, write: true, exec: false, present: false };
        assert_eq!(run(&mut context), absent);
        context.regs.rdi = CODE;
        let read_only = Trap::PageFault { addr: CODE, write: true, exec: false, present: true };
        assert_eq!(run(&mut context), read_only);
        context.regs.rdi = DATA;
        assert_eq!(run(&mut context), Trap::Exception { vector: 6, error: 0 });
        context.regs.rip = DATA;
        let no_execute = Trap::PageFault { addr: DATA, write: false, exec: true, present: true };
        assert_eq!(run(&mut context), no_execute);
        context.regs.rip = CODE;
        context.regs.rdi = 0xffff_ffff_8020_0000;
        assert!(matches!(run(&mut context), Trap::PageFault { write: true, present: true, .. }), "kernel memory");
    }

    fn the_timer_interrupts_a_loop() {
        // 2: jmp 2b
        let space = Space::new(&[0xeb, 0xfe]);
        let mut context = space.context();
        // Masked until `run` is in user mode: an interrupt taken before would leave nothing to end the loop.
        assert!(crate::irq::disable());
        time::set_deadline(time::now_ns() + 1_000_000);
        assert_eq!(context.run(), Trap::Interrupt);
        assert_eq!(context.regs.rip, CODE);
        crate::thread::set_need_resched();
        assert_eq!(context.run(), Trap::Interrupt, "the mark keeps out of user mode");
        assert!(crate::thread::take_need_resched() && !crate::thread::take_need_resched());
    }

    fn fs_base_and_fpu_stay_with_their_thread() {
        // mov rax, fs:[0]; movq xmm0, rax; syscall; movq rax, xmm0; syscall
        let space = Space::new(&[
            0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0, 0x66, 0x48, 0x0f, 0x6e, 0xc0, 0x0f, 0x05, 0x66, 0x48, 0x0f, 0x7e,
            0xc0, 0x0f, 0x05,
        ]);
        space.data.write_from(8, &77u64.to_le_bytes());
        let mut context = space.context();
        assert!(context.set_fs_base(DATA + 8));
        assert_eq!(run(&mut context), Trap::Syscall);
        assert_eq!(context.regs.rax, 77);
        let fpu = context.fpu();
        assert_eq!(fpu.bytes()[160], 77, "XMM0 in the image");
        let mut other = space.context();
        space.data.write_from(0, &1u64.to_le_bytes());
        assert!(other.set_fs_base(DATA));
        assert_eq!((run(&mut other), other.regs.rax), (Trap::Syscall, 1));
        // A third one goes on where the first was, as after `fork`.
        let mut copy = space.context();
        copy.set_fpu(&fpu);
        (copy.regs.rip, copy.regs.rax) = (context.regs.rip, 0);
        assert_eq!((run(&mut copy), copy.regs.rax), (Trap::Syscall, 77));
        // And what is set while it runs is there as well, as after `rt_sigreturn`.
        copy.set_fpu(&FpuState::new());
        copy.regs.rip = context.regs.rip;
        assert_eq!((run(&mut copy), copy.regs.rax), (Trap::Syscall, 0));
    }

    fn a_new_program_finds_nothing_in_the_wide_registers() {
        if fpu_format().components() & 4 == 0 {
            return;
        }
        // vmovdqu ymm7, [rdi]; syscall; vmovdqu [rdi], ymm7; syscall
        let space = Space::new(&[0xc5, 0xfe, 0x6f, 0x3f, 0x0f, 0x05, 0xc5, 0xfe, 0x7f, 0x3f, 0x0f, 0x05]);
        space.data.write_from(0, &[0x5a; 32]);
        let mut first = space.context();
        first.regs.rdi = DATA;
        assert_eq!(run(&mut first), Trap::Syscall);
        let fpu = first.fpu();
        assert_eq!(fpu.bytes()[576 + 7 * 16..576 + 8 * 16], [0x5a; 16], "the upper half of YMM7 in the image");
        let stored = |context: &mut UserContext| {
            context.regs.rdi = DATA;
            context.regs.rip = first.regs.rip;
            assert_eq!(run(context), Trap::Syscall);
            let mut bytes = [0xff; 32];
            space.data.read_into(0, &mut bytes);
            bytes
        };
        assert_eq!(stored(&mut space.context()), [0; 32]);
        let mut copy = space.context();
        copy.set_fpu(&fpu);
        assert_eq!(stored(&mut copy), [0x5a; 32]);
    }

    fn a_cpu_that_lacks_what_the_first_has_is_told_apart() {
        let mine = Features::detect();
        assert_eq!(mine.lacks(&mine), None);
        let poorer = Features { state_components: 0, ..mine };
        assert_eq!((poorer.lacks(&mine), mine.lacks(&poorer)), ((mine.state_components != 0).then_some(4), None));
        let poorer = Features { smap: false, ..mine };
        assert_eq!(poorer.lacks(&Features { smap: true, ..mine }), Some(1));
    }

    fn copies_stop_at_the_first_unmapped_byte() {
        let space = Space::new(&[]);
        let mut bytes = [0xaau8; 64];
        space.data.write_from(PAGE_SIZE - 13, b"thirteen-byte");
        // Lengths and offsets that straddle the end in the middle of a word.
        for (back, len) in [(13, 64), (13, 13), (1, 8), (7, 20), (8, 16)] {
            let mapped = len.min(back);
            assert_eq!(copy_from_user(&mut bytes[..len], DATA_END - back as u64), mapped);
            assert_eq!(bytes[..mapped], b"thirteen-byte"[13 - back..13 - back + mapped]);
            assert_eq!(copy_to_user(DATA_END - back as u64, &bytes[..len]), mapped);
            assert_eq!(space.data.copy_from_user(0, DATA_END - back as u64, len), mapped);
            assert_eq!(space.data.copy_to_user(0, DATA_END - back as u64, len), mapped);
        }
        assert_eq!(zero_user(DATA_END - 13, 20), 13);
        assert_eq!(copy_to_user(CODE, b"x"), 0, "read-only");
        assert_eq!(copy_from_user(&mut bytes, 0), 0);
    }

    fn copies_never_reach_kernel_memory() {
        let _space = Space::new(&[]);
        let mut bytes = [0u8; 16];
        let kernel = bytes.as_ptr() as u64;
        assert_eq!(copy_from_user(&mut bytes, kernel), 0);
        assert_eq!(copy_to_user(kernel, b"x"), 0);
        assert_eq!(zero_user(kernel, 8), 0);
        assert_eq!(copy_from_user(&mut bytes, USER_END - 8), 0);
        assert_eq!((load_u32(kernel), cmpxchg_u32(kernel, 0, 1)), (None, None));
        assert_eq!(copy_from_user(&mut bytes, 1 << 62), 0, "not canonical");
    }

    fn user_words() {
        let space = Space::new(&[]);
        space.data.write_from(0, &5u32.to_le_bytes());
        assert_eq!(load_u32(DATA), Some(5));
        assert_eq!(cmpxchg_u32(DATA, 4, 6), Some(5));
        assert_eq!(load_u32(DATA), Some(5));
        assert_eq!(cmpxchg_u32(DATA, 5, 6), Some(5));
        assert_eq!(load_u32(DATA), Some(6));
        assert_eq!((load_u32(DATA + 2), load_u32(DATA_END), cmpxchg_u32(CODE, 0, 1)), (None, None, None));
    }

    fn page_tables_count_protect_and_free() {
        let before = stats().free_frames;
        {
            let space = Space::new(&[]);
            let (table, data) = (&space.table, &space.data);
            assert_eq!(data.ref_count(), 2);
            assert_eq!(table.map(DATA, data.clone(), READ), Err(()), "not free");
            assert_eq!(table.map(USER_END, data.clone(), READ), Err(()));
            assert_eq!(table.map(DATA + 1, data.clone(), READ), Err(()));
            assert_eq!(data.ref_count(), 2, "a refused page is dropped");

            assert!(copy_to_user(DATA, b"x") == 1 && table.query(DATA).is_some_and(|m| m.dirty && m.prot == READ_WRITE));
            assert!(table.stop_stores(DATA) && !table.stop_stores(DATA) && copy_to_user(DATA, b"y") == 0);
            assert!(table.protect(DATA, READ_WRITE) && copy_to_user(DATA, b"y") == 1);
            assert!(table.stop_stores(DATA), "no stale translation hides the write");

            assert!(table.protect(DATA, READ) && copy_to_user(DATA, b"z") == 0);
            assert!(table.protect(DATA, NOTHING) && load_u32(DATA).is_none());
            assert!(table.query(DATA).is_some_and(|m| m.prot == NOTHING && m.page.phys() == data.phys()));
            assert!(table.protect(DATA, READ_WRITE) && load_u32(DATA) == Some(u32::from(b'y')));

            assert!(table.unmap(DATA).is_some_and(|page| page.phys() == data.phys()));
            assert!(table.unmap(DATA).is_none() && load_u32(DATA).is_none() && table.query(DATA).is_none());
            assert_eq!(data.ref_count(), 1);
        }
        assert_eq!(stats().free_frames, before, "tables and pages come back");
    }
}
