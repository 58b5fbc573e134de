//! What a call does with the semaphores of a set, and how it waits when it cannot.
use alloc::vec::Vec;
use base::sched::Task;
use base::sync::atomic::{AtomicU32, Ordering};
use base::{Errno, Result};
use zerocopy::{FromBytes, IntoBytes};

/// The highest value of a semaphore, and of what is taken back of one.
pub const VALUE_MAX: u16 = 32_767;
/// Flag of an operation: rather fail than wait.
const IPC_NOWAIT: u16 = 0o4000;
/// Flag of an operation: take it back at the end of the thread.
const SEM_UNDO: u16 = 0x1000;

/// `struct sembuf`: what to do with one semaphore.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes)]
#[repr(C)]
pub struct Operation {
    /// Its number in the set.
    pub number: u16,
    /// What to add to its value; 0: wait until that is 0.
    pub change: i16,
    /// `IPC_NOWAIT`, `SEM_UNDO`.
    pub flags: u16,
}

impl Operation {
    /// Whether it fails rather than wait.
    pub(super) fn never_waits(&self) -> bool {
        self.flags & IPC_NOWAIT != 0
    }
    /// Whether it is taken back at the end of the thread.
    pub fn undone(&self) -> bool {
        self.change != 0 && self.flags & SEM_UNDO != 0
    }
}

/// What a waiter waits for a semaphore to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// To grow.
    More,
    /// To become 0.
    Zero,
}

/// The operation that cannot be done.
#[derive(Clone, Copy)]
pub(super) struct Blocked {
    pub(super) number: u16,
    pub(super) wanted: Wanted,
    /// The value that it could not be done with.
    pub(super) value: u16,
}

/// The operations of a call.
pub(super) struct Request {
    pub(super) operations: Vec<Operation>,
    pub(super) pid: u32,
    /// The list that takes them back.
    pub(super) undo: u64,
}

/// A call that waits.
pub struct Waiting {
    task: Task,
    /// [`PENDING`], 0 for success, or the number of an error.
    outcome: AtomicU32,
}

const PENDING: u32 = u32::MAX;

impl Waiting {
    /// The call of `task`, which waits from now on.
    pub(super) fn new(task: Task) -> Waiting {
        Waiting { task, outcome: AtomicU32::new(PENDING) }
    }
    /// How the wait ended, if it has.
    pub fn outcome(&self) -> Option<Result<()>> {
        match self.outcome.load(Ordering::Acquire) {
            PENDING => None,
            0 => Some(Ok(())),
            number => Some(Err(Errno::from_number(number as u16).unwrap_or(Errno::EIDRM))),
        }
    }
    /// Tells it how its wait has ended.
    pub(super) fn end(&self, outcome: Result<()>) {
        let number = outcome.map_or_else(|error| u32::from(error.number()), |()| 0);
        self.outcome.store(number, Ordering::Release);
        self.task.unpark();
    }
}
