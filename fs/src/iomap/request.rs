//! What a write request brings along from the file system: its locks, and its range after the checks of SEMANTICS A2.
use crate::vfs::{FreezeGuard, Inode};
use base::sync::{Arc, ReadGuard, WriteGuard};

/// How the submitter holds the inode lock (LOCK-2).
pub enum InodeLock<'a> {
    /// Aligned direct writes that extend nothing, and write-throughs to blocks that are there (LOCK-9): the byte range of the inode orders
    /// them.
    Shared(ReadGuard<'a, ()>),
    /// Everything else.
    Exclusive(WriteGuard<'a, ()>),
}

/// A checked write: flags validated (A1), freeze protection taken (S-2), inode locked (S-3), limits applied and privileges and
/// times dealt with (S-4).
pub struct WriteRequest<'a> {
    /// The inode.
    pub inode: &'a Arc<Inode>,
    /// Freeze protection; released with the outcome (FRZ-2).
    pub freeze: FreezeGuard,
    /// The inode lock; let go before any wait for the device (S-11).
    pub lock: InodeLock<'a>,
    /// First byte; for an append the size read under the lock (APP-1).
    pub pos: u64,
    /// Bytes, after the limits; not 0 (CHK-1).
    pub len: usize,
}
