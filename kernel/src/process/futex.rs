//! Waiting on a word of user memory.
//!
//! # Why no wake-up is lost
//!
//! A waiter compares the word and enters its bucket under the bucket's lock; a waker takes the same lock. A waker whose program
//! changed the word before the call is either seen by the comparison, or finds the waiter in the bucket. The word is read by a
//! copy that does not fault; where it is missing, the lock is dropped, the page faulted in, and everything done again.
use super::sleep::Deadline;
use super::{Thread, sleep_interruptible};
use crate::mm::{Access, AddressSpace, FaultError};
use alloc::boxed::Box;
use alloc::vec::Vec;
use base::sched::{self, Task};
use base::sync::atomic::{AtomicBool, Ordering};
use base::sync::{Arc, SpinGuard, SpinLock};
use base::{Errno, Result};

/// Matches every waiter: `FUTEX_BITSET_MATCH_ANY`.
pub const MATCH_ANY: u32 = u32::MAX;
const BUCKETS: usize = 64;

/// Which word: the address space (or the shared object) and where in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FutexKey {
    space: u64,
    addr: u64,
}

impl FutexKey {
    /// The word at `addr` of `mm`. Memory is not shared between address spaces, so the key of a shared futex is that of a private
    /// one. Errors: `EINVAL` (not aligned).
    pub fn new(mm: &AddressSpace, addr: u64) -> Result<FutexKey> {
        if addr.is_multiple_of(4) { Ok(FutexKey { space: mm.id(), addr }) } else { Err(Errno::EINVAL) }
    }
    fn bucket(self) -> usize {
        let mixed = (self.addr >> 2 ^ self.space << 7).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 58) as usize
    }
}

struct Waiter {
    bitset: u32,
    woken: AtomicBool,
    task: Task,
}

type Entry = (FutexKey, Arc<Waiter>);
type Bucket = SpinLock<Vec<Entry>>;

/// Who waits on which word.
pub struct FutexTable(Box<[Bucket]>);

impl FutexTable {
    /// Nobody waits.
    pub fn new() -> FutexTable {
        FutexTable((0..BUCKETS).map(|_| SpinLock::new(Vec::new())).collect())
    }

    /// Sleeps until woken, if the word at `addr` is `expected`. Errors: `EAGAIN` (it is not), `ETIMEDOUT`, `EINTR`, `EFAULT`,
    /// `EINVAL`.
    pub fn wait(&self, thread: &Thread, addr: u64, expected: u32, bitset: u32, deadline: Deadline) -> Result<()> {
        let mm = &thread.mm;
        let key = FutexKey::new(mm, addr)?;
        let waiter = Arc::new(Waiter { bitset, woken: AtomicBool::new(false), task: sched::current() });
        loop {
            let mut bucket = self.bucket(key).lock();
            match hal::user::load_u32(addr) {
                Some(word) if word != expected => return Err(Errno::EAGAIN),
                Some(_) => {
                    bucket.push((key, waiter.clone()));
                    break;
                }
                None => {
                    drop(bucket);
                    mm.fault(addr, Access::Read).map_err(FaultError::errno)?;
                }
            }
        }
        let woken = sleep_interruptible(thread, deadline, || waiter.woken.load(Ordering::Acquire).then_some(()));
        match woken {
            Ok(Some(())) => Ok(()),
            // A wake-up that came after the time-out or the signal counts: the waker has spent it on us.
            _ if !self.leave(&waiter) => Ok(()),
            Ok(None) => Err(Errno::ETIMEDOUT),
            Err(e) => Err(e),
        }
    }

    /// Wakes up to `count` waiters of `key` whose bitset meets `bitset`; says how many.
    pub fn wake(&self, key: FutexKey, count: usize, bitset: u32) -> usize {
        wake_in(&mut self.bucket(key).lock(), key, count, bitset)
    }

    /// Wakes up to `wake` waiters of `from` and lets up to `requeue` more wait on `to` instead; says how many in all. With
    /// `expected`, only if the word at `from` has that value. Errors: `EAGAIN`, `EFAULT`.
    pub fn requeue(
        &self,
        mm: &AddressSpace,
        (from, to): (FutexKey, FutexKey),
        (wake, requeue): (usize, usize),
        expected: Option<u32>,
    ) -> Result<usize> {
        let mut bucket = self.lock_if_unchanged(mm, from, expected)?;
        let woken = wake_in(&mut bucket, from, wake, MATCH_ANY);
        let moved = take_from(&mut bucket, from, requeue);
        drop(bucket);
        let count = moved.len();
        self.bucket(to).lock().extend(moved.into_iter().map(|waiter| (to, waiter)));
        Ok(woken + count)
    }

    /// The locked bucket of `key`, if the word there is `expected`: who changes the word and then wakes finds the waiters either
    /// where they were or where they went, but a requeue decided by the old word is never done after it. Errors: `EAGAIN`, `EFAULT`.
    fn lock_if_unchanged(
        &self,
        mm: &AddressSpace,
        key: FutexKey,
        expected: Option<u32>,
    ) -> Result<SpinGuard<'_, Vec<Entry>>> {
        loop {
            let bucket = self.bucket(key).lock();
            let Some(expected) = expected else { return Ok(bucket) };
            match hal::user::load_u32(key.addr) {
                Some(word) if word == expected => return Ok(bucket),
                Some(_) => return Err(Errno::EAGAIN),
                None => {
                    drop(bucket);
                    mm.fault(key.addr, Access::Read).map_err(FaultError::errno)?;
                }
            }
        }
    }

    /// Takes the waiter out, wherever a requeue has put it; false if a waker has taken it already.
    fn leave(&self, waiter: &Arc<Waiter>) -> bool {
        loop {
            for bucket in &self.0 {
                let mut bucket = bucket.lock();
                if let Some(at) = bucket.iter().position(|(_, other)| Arc::ptr_eq(other, waiter)) {
                    bucket.swap_remove(at);
                    return true;
                }
            }
            if waiter.woken.load(Ordering::Acquire) {
                return false;
            }
            // Between two buckets, in the hands of a requeue on another CPU.
            sched::yield_now();
        }
    }

    fn bucket(&self, key: FutexKey) -> &Bucket {
        &self.0[key.bucket() % BUCKETS]
    }
}

fn wake_in(bucket: &mut Vec<Entry>, key: FutexKey, count: usize, bitset: u32) -> usize {
    let mut woken = 0;
    bucket.retain(|(at, waiter)| {
        let hit = woken < count && *at == key && waiter.bitset & bitset != 0;
        if hit {
            woken += 1;
            waiter.woken.store(true, Ordering::Release);
            waiter.task.unpark();
        }
        !hit
    });
    woken
}

fn take_from(bucket: &mut Vec<Entry>, key: FutexKey, most: usize) -> Vec<Arc<Waiter>> {
    let mut taken = Vec::new();
    bucket.retain(|(at, waiter)| {
        let hit = taken.len() < most && *at == key;
        if hit {
            taken.push(waiter.clone());
        }
        !hit
    });
    taken
}

impl Default for FutexTable {
    fn default() -> Self {
        Self::new()
    }
}
