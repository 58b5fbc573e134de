//! The end of memory.
//!
//! Memory is promised freely: `mmap` and `fork` succeed as long as the kernel can keep its own books, and a page is taken when it is first
//! touched. When a program touches one and there is none, with clean pages of files given up already, the dirty ones are written. If that
//! makes no room either, a process must end:
//!
//! * one that is dying anyway is waited for;
//! * else the one with the most pages that only its end makes free, the first process of all excepted, is killed as by `SIGKILL`. Often it is
//!   the one that asked. `oom_score_adj` makes a process count as larger or smaller than it is, or spares it;
//! * the one that asked waits until it is gone, and tries again.
//!
//! A system call that asks for memory ([`Process::make_room`]) has the dirty pages written as well, but kills nobody. One whose buffer cannot
//! be had fails with `ENOMEM` or `EFAULT`: it may hold what a dying process waits for.
//! The kernel itself goes on with the frames that `base::memory` keeps back for it.
use super::process::OOM_NEVER;
use super::signal::Signal;
use super::{ExitStatus, Process, Thread};
use base::Result;
use base::sync::Arc;

/// A page that `thread` has touched cannot be had. Returns when another try is worth it, or the process is to die. Task context; sleeps;
/// nothing is held.
pub(super) fn out_of_memory(thread: &Thread) {
    let asking = &thread.process;
    let all = asking.system.all();
    let dying =
        all.iter().find(|process| process.pid != asking.pid && process.is_dying() && process.memory().is_some());
    let victim = match dying {
        Some(process) => process.clone(),
        None if writeback_makes_room(asking) => return,
        None => kill_largest(&all, asking),
    };
    if victim.pid != asking.pid {
        victim.wait_until_gone();
    }
}

impl Process {
    /// Sees to it that there is memory for a program, if need be by writing dirty pages of files. Errors: `ENOMEM`. Task context; sleeps;
    /// nothing is held.
    pub fn make_room(&self) -> Result<()> {
        let room = base::memory::room_for_programs();
        if room.is_err() && writeback_makes_room(self) { Ok(()) } else { room }
    }
}

fn writeback_makes_room(asking: &Process) -> bool {
    let wrote = asking.system.vfs().is_ok_and(|vfs| vfs.write_back());
    wrote && base::memory::room_for_programs().is_ok()
}

fn kill_largest(all: &[Arc<Process>], asking: &Arc<Process>) -> Arc<Process> {
    let pages = |process: &Process| process.memory().map_or(0, |memory| memory.own_pages());
    // The first process inherits orphans and ends everything with it.
    let may_end = |process: &&Arc<Process>| process.pid != 1 && process.oom_adjust() != OOM_NEVER;
    let candidates = all.iter().filter(may_end).map(|process| (pages(process), process));
    let thousandth = hal::mem::stats().total_frames as i64 / 1000;
    let weight = |pages: usize, process: &Process| pages as i64 + i64::from(process.oom_adjust()) * thousandth;
    let largest = candidates.filter(|(pages, _)| *pages > 0).max_by_key(|(pages, process)| weight(*pages, process));
    let (pages, victim) = largest.unwrap_or((pages(asking), asking));
    log::error!(
        "out of memory: process {} needs a page, process {} ({}) is killed: it has {} KiB",
        asking.pid,
        victim.pid,
        victim.shown_name(),
        pages * base::PAGE_SIZE / 1024
    );
    victim.die(ExitStatus::Killed(Signal::SIGKILL));
    victim.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::tests::{MEMORY, process};
    use crate::process::{SigSet, run_thread};
    use base::memory::fail_allocation;
    use fs::testing::MemFile;
    use fs::vfs::{Attr, FileOps, FileType, Inode, InodeOps, Timespec, Vfs};
    use hal::user::{Trap, UserContext};

    /// One more process, with its first `pages` pages touched.
    fn other(of: &Process, pages: u64) -> Arc<Process> {
        let made = Process::new(&of.system).unwrap();
        let thread = Thread::new(&made, made.pid, SigSet::default()).unwrap();
        made.add_thread(&thread).unwrap();
        let prot = hal::user::Prot { read: true, write: true, exec: false };
        let (placement, backing) = (crate::mm::Placement::Fixed(MEMORY), crate::mm::Backing::Anonymous);
        let request = crate::mm::MapRequest { placement, len: 8 * 4096, prot, shared: false, backing };
        thread.mm.map(request).unwrap();
        thread.mm.activate();
        (0..pages).for_each(|page| thread.mm.write(MEMORY + page * 4096, &1u8).unwrap());
        made
    }

    #[test]
    fn the_largest_is_killed_and_the_first_process_is_not() {
        let (first, _thread) = process();
        first.memory().unwrap().write(MEMORY, &[1u8; 8192]).unwrap();
        let (small, large) = (other(&first, 1), other(&first, 2));
        let victim = kill_largest(&first.system.all(), &first);
        assert_eq!((first.pid, victim.pid), (1, large.pid));
        assert!(large.is_dying() && !small.is_dying() && !first.is_dying());
    }

    /// A root directory of which only the super block matters.
    struct Root;
    impl InodeOps for Root {
        fn as_any(&self) -> &dyn core::any::Any {
            self
        }
        fn open(&self, _inode: &Arc<Inode>) -> base::Result<Arc<dyn FileOps>> {
            Err(base::Errno::ENXIO)
        }
    }

    #[test]
    fn dirty_pages_of_files_go_before_a_process() {
        let (process, thread) = process();
        let file = MemFile::new(4096, 64);
        let attr = Attr::new(0o755, Timespec::default());
        let root = Inode::new(file.inode.sb.clone(), 2, FileType::Directory, attr, 0, alloc::boxed::Box::new(Root));
        process.system.set_vfs(Vfs::new(root, b"none", None).unwrap());
        file.write(0, &[7; 4096]).unwrap();
        assert_eq!(file.inode.sb.page_cache.figures().dirty, 1);
        out_of_memory(&thread);
        assert!(!process.is_dying());
        assert_eq!(file.inode.sb.page_cache.figures().dirty, 0);
        assert_eq!(file.on_disk(0, 4096), [7; 4096]);
        file.fs.settle();
        out_of_memory(&thread);
        assert!(process.is_dying(), "nothing was dirty");
    }

    #[test]
    fn who_is_spared_is_not_killed() {
        let (first, _thread) = process();
        let (small, large) = (other(&first, 1), other(&first, 2));
        large.set_oom_adjust(OOM_NEVER);
        assert_eq!(kill_largest(&first.system.all(), &first).pid, small.pid);
        assert!(!large.is_dying());
    }

    #[test]
    fn who_is_alone_is_killed() {
        let (process, thread) = process();
        let mut user = UserContext::new(0x1000, MEMORY).unwrap();
        user.step(|_| Trap::PageFault { addr: MEMORY, write: true, exec: false, present: false });
        let plan = fail_allocation(1, 1);
        run_thread(&thread, user);
        assert!(plan.is_spent());
        assert_eq!(process.wait(), ExitStatus::Killed(Signal::SIGKILL));
    }
}
