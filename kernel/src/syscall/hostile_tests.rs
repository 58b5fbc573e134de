//! Every call in the table with arguments that no program means: it gives a result or an error, and the kernel stands.
use super::table::HANDLERS;
use super::{SyscallContext, dispatch, table};
use crate::mm::PAGE;
use crate::process::ExitStatus;
use crate::process::tests::{MEMORY, process};
use alloc::vec::Vec;
use fs::tmpfs;
use fs::vfs::Vfs;
use hal::user::UserContext;

/// Numbers, lengths, flags and addresses of all kinds of wrongness.
const WILD: [u64; 12] = [
    1,
    0xfff,
    MEMORY,
    MEMORY + 2 * PAGE - 1,
    i32::MAX as u64,
    u32::MAX as u64,
    0x7fff_ffff_f000,
    0x8000_0000_0000,
    0xffff_8000_0000_0000,
    i64::MAX as u64,
    u64::MAX - 7,
    u64::MAX,
];

/// Names the call if it panics.
struct Told(usize, [u64; 6]);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::eprintln!("{} with {:x?}", table::name(self.0 as u64).unwrap_or("?"), self.1);
        }
    }
}

/// The arguments of a round: one wild among zeros, or nothing but wild ones.
fn rounds() -> Vec<[u64; 6]> {
    let mut rounds = Vec::new();
    for wild in WILD {
        rounds.push([wild; 6]);
        for at in 0..6 {
            let mut arguments = [0; 6];
            arguments[at] = wild;
            rounds.push(arguments);
        }
    }
    rounds
}

#[test]
fn no_argument_of_any_call_brings_the_kernel_down() {
    let known = (0..HANDLERS.len()).filter(|&number| HANDLERS[number].is_some());
    for number in known {
        let (process, thread) = process();
        let root = tmpfs::new(1, 0o755, 64, 64);
        process.system.set_vfs(Vfs::new(root, b"none", None).unwrap());
        // Whoever must die sleeps nowhere: calls that wait come back.
        process.die(ExitStatus::Code(0));
        for arguments in rounds() {
            let _told = Told(number, arguments);
            let mut user = UserContext::new(0x1000, MEMORY + PAGE).unwrap();
            user.regs.rax = number as u64;
            let regs = &mut user.regs;
            [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9] = arguments;
            dispatch(&mut SyscallContext { thread: &thread, user: &mut user });
        }
    }
}
