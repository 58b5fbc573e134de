//! Robust futexes: locks in user memory whose owner ends while it has them.
//!
//! A thread keeps a list of the locks it has, in its own memory, where nothing is to be trusted. At its end the kernel marks each word that
//! has its id (`FUTEX_OWNER_DIED`) and wakes one of those who wait for it, who then knows what happened.
use super::{FUTEX_MATCH_ANY, FutexKey, Thread};
use crate::mm::Access;
use base::sync::atomic::Ordering;
use linux_raw_sys::general as abi;

/// A pointer of the list has this bit where the lock inherits priority, which there is none of here.
const PI: u64 = 1;

/// Lets go of all robust futexes of the calling thread, in its memory, which is the active one. Task context; may sleep.
pub(super) fn release(thread: &Thread) {
    let head = thread.robust_list.swap(0, Ordering::Relaxed);
    if head == 0 {
        return;
    }
    // `struct robust_list_head`: the first entry, from an entry to its word, the entry that is about to be added or taken out.
    let Ok([first, offset, pending]) = thread.mm.read::<[u64; 3]>(head) else { return };
    let pending = pending & !PI;
    let mut entry = first & !PI;
    for _ in 0..abi::ROBUST_LIST_LIMIT {
        if entry == head {
            break;
        }
        // Before the word is let go: who gets the lock may free the entry.
        let next = thread.mm.read::<u64>(entry);
        if entry != pending {
            release_one(thread, entry.wrapping_add(offset), false);
        }
        let Ok(next) = next else { break };
        entry = next & !PI;
    }
    if pending != 0 {
        release_one(thread, pending.wrapping_add(offset), true);
    }
}

/// Marks the word at `addr` if it has the thread's id. With `pending`, a word of 0 may be one that was let go with nobody woken yet.
fn release_one(thread: &Thread, addr: u64, pending: bool) {
    let Ok(key) = FutexKey::new(&thread.mm, addr, false) else { return };
    let wake = || thread.process.system.futexes.wake(key, 1, FUTEX_MATCH_ANY);
    loop {
        let Ok(word) = thread.mm.load_u32(addr) else { return };
        if pending && word == 0 {
            wake();
        }
        if word & abi::FUTEX_TID_MASK != thread.tid {
            return;
        }
        let marked = word & abi::FUTEX_WAITERS | abi::FUTEX_OWNER_DIED;
        match hal::user::cmpxchg_u32(addr, word, marked) {
            Some(seen) if seen == word => {
                if word & abi::FUTEX_WAITERS != 0 {
                    wake();
                }
                return;
            }
            Some(_) => {}
            None if thread.mm.fault(addr, Access::Write).is_err() => return,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MEMORY, process};
    use super::*;

    const HEAD: u64 = MEMORY;
    /// Entries, with their words 16 bytes after them.
    const A: u64 = MEMORY + 0x100;
    const B: u64 = MEMORY + 0x200;
    const C: u64 = MEMORY + 0x300;

    #[test]
    fn the_words_of_a_dead_thread_are_marked_and_no_others() {
        let (_process, thread) = process();
        let mm = &thread.mm;
        mm.write(HEAD, &[A, 16, C]).unwrap();
        mm.write(A, &[B | PI]).unwrap();
        mm.write(B, &[HEAD]).unwrap();
        mm.write(A + 16, &(thread.tid | abi::FUTEX_WAITERS)).unwrap();
        mm.write(B + 16, &(thread.tid + 1)).unwrap();
        mm.write(C + 16, &thread.tid).unwrap();
        thread.robust_list.store(HEAD, Ordering::Relaxed);
        release(&thread);
        assert_eq!(mm.load_u32(A + 16), Ok(abi::FUTEX_WAITERS | abi::FUTEX_OWNER_DIED));
        assert_eq!(mm.load_u32(B + 16), Ok(thread.tid + 1));
        assert_eq!(mm.load_u32(C + 16), Ok(abi::FUTEX_OWNER_DIED));
        assert_eq!(thread.robust_list.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_hostile_list_ends() {
        let (_process, thread) = process();
        let lists = [[A, 16, 0], [8, 16, 8], [u64::MAX, u64::MAX, u64::MAX], [A, 3, A]];
        for list in lists {
            thread.mm.write(HEAD, &list).unwrap();
            thread.mm.write(A, &[A]).unwrap();
            thread.robust_list.store(HEAD, Ordering::Relaxed);
            release(&thread);
        }
        thread.robust_list.store(8, Ordering::Relaxed);
        release(&thread);
    }
}
