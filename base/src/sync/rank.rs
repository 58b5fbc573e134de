//! The order in which sleeping locks are taken (SEMANTICS A6), and its check in debug builds.
//!
//! Each task keeps the ranks it holds. Taking a lock is refused, with a panic, when the task holds one of the same or a later
//! rank. Equal ranks are allowed where the caller says that it keeps an order of its own ([`enter_nested`]: directories by
//! address, for instance) and for folios in ascending index ([`enter_keyed`]). A lock that is only tried can't deadlock and is
//! merely noted. In release builds all of it is empty.
#[cfg(debug_assertions)]
use crate::sched::with_inner;
use core::marker::PhantomData;

/// The rank of a sleeping lock: a task takes ranks in ascending order only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Rank {
    /// Position lock of an open file.
    FilePos = 10,
    /// Directory tree changes across directories (rename).
    Rename = 15,
    /// Write-freeze protection of a superblock. A count and no lock: only its entry is checked.
    Freeze = 20,
    /// Inode lock of a directory that is the parent in a name operation.
    DirInode = 29,
    /// Inode lock.
    Inode = 30,
    /// Byte ranges of an inode; one at a time, and handed on to the finish of a direct write.
    Range = 35,
    /// Map of a user address space.
    Mmap = 40,
    /// Freeze protection of a write fault; as above.
    FreezeFault = 45,
    /// Invalidate lock of a page cache.
    Invalidate = 50,
    /// Freeze protection of transactions; as above.
    FreezeInternal = 55,
    /// Folio locks, ascending index within one mapping.
    Folio = 60,
    /// The one commit or checkpoint of a file system.
    Commit = 65,
    /// Extent tree and metadata fields of one inode (`i_data`).
    Extent = 70,
    /// Block and inode allocators of a file system.
    Alloc = 80,
    /// One metadata block.
    MetaBlock = 85,
    /// Anything below which no other sleeping lock is taken.
    Leaf = 100,
}

/// The most sleeping locks a task holds at a time.
const MOST_HELD: usize = 32;

/// What a task holds, in the order of taking. Only the task itself looks at it.
#[cfg_attr(not(debug_assertions), allow(dead_code, reason = "only debug builds check"))]
pub(crate) struct RankStack(hal::sync::SpinLock<arrayvec::ArrayVec<(Rank, u64), MOST_HELD>>);

impl RankStack {
    pub(crate) fn new() -> Self {
        RankStack(hal::sync::SpinLock::new(arrayvec::ArrayVec::new_const()))
    }

    #[cfg(debug_assertions)]
    #[track_caller]
    fn push(&self, rank: Rank, key: u64, check: Check) {
        let mut held = self.0.lock();
        let worst = held.iter().copied().max();
        let overflow = held.try_push((rank, key)).is_err();
        drop(held);
        assert!(!overflow, "a task holds more than {MOST_HELD} sleeping locks");
        let Some((top, top_key)) = worst else { return };
        let in_order = match check {
            Check::Strict => top < rank,
            Check::Nested => top <= rank,
            Check::Keyed => top < rank || (top == rank && top_key < key),
            Check::Try => true,
        };
        assert!(in_order, "lock order: {rank:?} (key {key}) is taken while {top:?} (key {top_key}) is held");
    }

    /// If the list is being changed right now, by whoever was interrupted, it is left alone.
    #[cfg(debug_assertions)]
    fn for_each(&self, mut each: impl FnMut(Rank, u64)) {
        if let Some(held) = self.0.try_lock() {
            held.iter().for_each(|&(rank, key)| each(rank, key));
        }
    }

    #[cfg(debug_assertions)]
    fn pop(&self, rank: Rank, key: u64) {
        let mut held = self.0.lock();
        if let Some(at) = held.iter().rposition(|&h| h == (rank, key)) {
            held.remove(at);
        }
    }
}

#[cfg(debug_assertions)]
#[derive(Clone, Copy)]
enum Check {
    Strict,
    Nested,
    Keyed,
    Try,
}

/// A rank noted as held by the current task until it is dropped. Locks that are made of other parts (a bit in a folio's
/// flags and a wait queue) keep one in their guard.
#[must_use = "dropping it says that the lock is free"]
pub struct HeldRank {
    #[cfg(debug_assertions)]
    held: Option<(Rank, u64)>,
    _task: PhantomData<*const ()>,
}

/// Calls `each` with rank and key of every sleeping lock that the current task holds, in the order of taking. For last words: takes
/// no lock and waits for nothing; says nothing before the scheduler runs, and never in release builds, which keep no record.
pub fn for_each_held(each: impl FnMut(Rank, u64)) {
    #[cfg(debug_assertions)]
    with_inner(|task| task.ranks.for_each(each));
    #[cfg(not(debug_assertions))]
    let _ = each;
}

macro_rules! enter {
    ($rank:expr, $key:expr, $check:ident) => {{
        #[cfg(debug_assertions)]
        {
            let (rank, key) = ($rank, $key);
            let held = with_inner(|t| t.ranks.push(rank, key, Check::$check)).map(|()| (rank, key));
            HeldRank { held, _task: PhantomData }
        }
        #[cfg(not(debug_assertions))]
        {
            let _ = ($rank, $key);
            HeldRank { _task: PhantomData }
        }
    }};
}

/// Notes a lock that is about to be taken. Debug builds panic if the task holds one of this rank or a later one.
#[inline]
#[track_caller]
pub fn enter(rank: Rank) -> HeldRank {
    enter!(rank, 0, Strict)
}
/// As [`enter`], but locks of the same rank may be held: the caller keeps an order among them.
#[inline]
#[track_caller]
pub fn enter_nested(rank: Rank) -> HeldRank {
    enter!(rank, 0, Nested)
}
/// As [`enter`], but locks of the same rank with a smaller key may be held: folios by index.
#[inline]
#[track_caller]
pub fn enter_keyed(rank: Rank, key: u64) -> HeldRank {
    enter!(rank, key, Keyed)
}
/// Says that a task comes to a point of rank `rank` that is no lock of its own: a count that another task may lower, the beginning
/// of a transaction. Debug builds panic if it holds a lock of this rank or a later one.
#[inline]
#[track_caller]
pub fn check(rank: Rank) {
    drop(enter!(rank, 0, Strict));
}
/// Notes a lock that was tried and taken: no order is asked of it.
#[inline]
pub fn enter_try(rank: Rank) -> HeldRank {
    enter!(rank, 0, Try)
}

impl Drop for HeldRank {
    #[inline]
    fn drop(&mut self) {
        #[cfg(debug_assertions)]
        if let Some((rank, key)) = self.held {
            with_inner(|t| t.ranks.pop(rank, key));
        }
    }
}

#[cfg(all(test, debug_assertions, not(loom), not(shuttle)))]
mod tests {
    use super::super::{Mutex, RwLock};
    use super::*;

    #[test]
    fn ascending_ranks_are_fine_and_released_in_any_order() {
        let (inode, extent) = (RwLock::new(Rank::Inode, ()), Mutex::new(Rank::Extent, ()));
        let a = inode.write();
        let b = extent.lock();
        drop(a);
        drop(b);
        drop(inode.read());
    }

    #[test]
    fn what_is_held_can_be_told() {
        fn held() -> alloc::vec::Vec<(Rank, u64)> {
            let mut list = alloc::vec::Vec::new();
            for_each_held(|rank, key| list.push((rank, key)));
            list
        }
        let inode = RwLock::new(Rank::Inode, ());
        let guard = inode.write();
        let folio = enter_keyed(Rank::Folio, 7);
        assert_eq!(held(), [(Rank::Inode, 0), (Rank::Folio, 7)]);
        drop((guard, folio));
        assert_eq!(held(), []);
    }

    #[test]
    #[should_panic(expected = "lock order")]
    fn an_earlier_rank_after_a_later_one_is_a_bug() {
        let (inode, extent) = (RwLock::new(Rank::Inode, ()), Mutex::new(Rank::Extent, ()));
        let _b = extent.lock();
        let _a = inode.read();
    }

    #[test]
    #[should_panic(expected = "lock order")]
    fn the_same_rank_twice_is_a_bug() {
        let (a, b) = (Mutex::new(Rank::Inode, ()), Mutex::new(Rank::Inode, ()));
        let _a = a.lock();
        let _b = b.lock();
    }

    #[test]
    fn the_same_rank_nested_or_tried() {
        let (a, b) = (Mutex::new(Rank::DirInode, ()), Mutex::new(Rank::DirInode, ()));
        let _a = a.lock();
        drop(b.lock_nested());
        drop(b.try_lock().unwrap());
    }

    #[test]
    fn folios_by_ascending_index() {
        let _first = enter_keyed(Rank::Folio, 3);
        let _second = enter_keyed(Rank::Folio, 4);
    }

    #[test]
    #[should_panic(expected = "lock order: Folio (key 2)")]
    fn folios_by_descending_index_are_a_bug() {
        let _first = enter_keyed(Rank::Folio, 3);
        let _second = enter_keyed(Rank::Folio, 2);
    }
}
