//! What a block device offers to the layers above.
use super::{Promise, SubmittedBio};

/// The shape of requests a device takes. A submitter never exceeds it; [`super::Bio`]s are split above the driver.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Size of the device in sectors of 512 bytes.
    pub capacity_sectors: u64,
    /// Smallest addressable unit in bytes: 512 or a larger power of two.
    pub logical_block_size: u32,
    /// Most segments of one bio.
    pub max_segments: u32,
    /// Most bytes of one bio.
    pub max_bytes: u32,
    /// Whether the device is read-only.
    pub read_only: bool,
    /// Whether `BioOp::Discard` is taken.
    pub discard: bool,
    /// Whether `BioOp::WriteZeroes` is taken.
    pub write_zeroes: bool,
}

impl Limits {
    /// Most segments of a bio, whatever the device takes (SUB-4).
    pub const MOST_SEGMENTS: usize = 256;

    /// Whether a bio of `segments` segments and `bytes` bytes may grow by one segment of `more` bytes.
    pub fn has_room(&self, segments: usize, bytes: u64, more: u64) -> bool {
        segments < Self::MOST_SEGMENTS.min(self.max_segments as usize) && bytes + more <= u64::from(self.max_bytes)
    }
}

/// What completion of a write means (SEMANTICS DUR-3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// A completed write is durable.
    OnCompletion,
    /// A completed write is volatile until a flush that was issued after it has completed.
    OnFlush,
    /// The device says nothing: it offers no flush, and the promise of O_DSYNC cannot be kept.
    Unknown,
}

/// A disk. Implementations complete every submitted bio exactly once and never inside `submit`.
pub trait BlockDevice: Send + Sync {
    /// A name for messages, such as `vda`.
    fn name(&self) -> &str;

    /// The shape of requests.
    fn limits(&self) -> Limits;

    /// What a completed write promises now.
    fn durability(&self) -> Durability;

    /// Takes the bio. The device may not look at it before [`kick`](Self::kick). Task context; sleeps while the ring is full
    /// (kicking first what is already in it).
    fn submit(&self, bio: SubmittedBio);

    /// Sets room aside for one bio, whose [`submit_reserved`](Self::submit_reserved) will not sleep; `None` if there is none now. The
    /// promise is for that call or [`unreserve`](Self::unreserve): see [`super::Room`]. Any task; no sleep. A device whose `submit` never
    /// sleeps has always room.
    fn reserve(&self) -> Option<Promise> {
        Some(Promise { queue: 0 })
    }

    /// Takes the bio into room that was set aside. As [`submit`](Self::submit), but never sleeps.
    fn submit_reserved(&self, bio: SubmittedBio, _promise: Promise) {
        self.submit(bio);
    }

    /// Gives room back that was set aside and not used. Any task; no sleep.
    fn unreserve(&self, _promise: Promise) {}

    /// Tells the device about everything that this task has submitted, on whatever CPU, and that nobody told it of. Any task; cheap when there
    /// is nothing to tell.
    fn kick(&self);
}
