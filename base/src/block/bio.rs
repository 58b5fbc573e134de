//! The request: one contiguous run of sectors and the memory it moves.
use crate::Page;
use crate::errno::{Errno, Result};
use crate::stats::{self, Counter};
use crate::sync::Arc;
use crate::trace;
use alloc::boxed::Box;
use smallvec::SmallVec;

/// Bytes in the unit of [`Sector`], whatever the device's block size is.
pub const SECTOR_SIZE: u64 = 512;

/// A position on a device, in units of 512 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Sector(pub u64);

/// What a bio asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BioOp {
    /// Device to memory.
    Read,
    /// Memory to device.
    Write,
    /// Makes completed writes durable. No segments, no sectors.
    Flush,
    /// The sectors' content is no longer needed. No segments.
    Discard,
    /// The sectors read as zeros afterwards. No segments.
    WriteZeroes,
}

/// A run of bytes within one page frame. Owning the frame, it is also the token for its DMA address.
#[derive(Clone)]
pub struct Segment {
    /// The frame.
    pub page: Page,
    /// First byte within the frame.
    pub offset: u32,
    /// Bytes; `offset + len <= PAGE_SIZE`.
    pub len: u32,
}

/// Who is told about the end of a bio.
pub trait BioEnd: Send + Sync {
    /// The bio has ended with `bio.status()`. Hard-IRQ context: may store, count, wake and queue embedded work; must keep
    /// the box until a task lets it go (for instance with [`Bio::chain`]).
    fn bio_end(self: Arc<Self>, bio: Box<Bio>);
}

/// One request: `op` on `sectors` sectors from `sector`, with the memory in `segments`.
pub struct Bio {
    op: BioOp,
    sector: Sector,
    /// Bytes on the device, the sum of the segments' lengths for reads and writes.
    len_bytes: u64,
    segments: SmallVec<[Segment; 2]>,
    status: Result<()>,
    end: Option<Arc<dyn BioEnd>>,
    /// A word for the owner, untouched by the block layer (for instance where the folio range of this bio begins).
    pub cookie: u64,
    /// Link for the owner's list of ended bios; see [`Bio::chain`].
    next: Option<Box<Bio>>,
}

impl Bio {
    /// A read or write bio without segments yet. Allocates: task context. Errors: none; see [`Bio::push`].
    pub fn new(op: BioOp, sector: Sector, end: Arc<dyn BioEnd>) -> Box<Bio> {
        Bio::with_end(op, sector, Some(end))
    }

    /// A bio without memory: flush, discard or write-zeroes of `len_bytes`.
    pub fn without_data(op: BioOp, sector: Sector, len_bytes: u64, end: Arc<dyn BioEnd>) -> Box<Bio> {
        let mut bio = Bio::new(op, sector, end);
        bio.len_bytes = len_bytes;
        bio
    }

    /// A read or write bio for [`super::submit_and_wait`], which is its end. Allocates: task context.
    pub fn for_wait(op: BioOp, sector: Sector) -> Box<Bio> {
        Bio::with_end(op, sector, None)
    }

    fn with_end(op: BioOp, sector: Sector, end: Option<Arc<dyn BioEnd>>) -> Box<Bio> {
        Box::new(Bio {
            op,
            sector,
            len_bytes: 0,
            segments: SmallVec::new(),
            status: Ok(()),
            end,
            cookie: 0,
            next: None,
        })
    }

    /// Gives the bio the end that it is submitted with.
    pub(super) fn set_end(&mut self, end: Arc<dyn BioEnd>) {
        self.end = Some(end);
    }

    /// Sets the length of a bio without memory.
    #[cfg(feature = "lab")]
    pub(super) fn set_len_bytes(&mut self, len_bytes: u64) {
        self.len_bytes = len_bytes;
    }

    /// Appends a segment; one that continues the last segment in the same frame is merged into it.
    pub fn push(&mut self, segment: Segment) {
        debug_assert!(segment.offset as usize + segment.len as usize <= crate::PAGE_SIZE);
        self.len_bytes += u64::from(segment.len);
        if let Some(last) = self.segments.last_mut()
            && last.page.phys() == segment.page.phys()
            && last.offset + last.len == segment.offset
        {
            last.len += segment.len;
            return;
        }
        self.segments.push(segment);
    }

    /// Whether a segment of `len` bytes for `sector` may be appended: it follows on the device and keeps within `limits`.
    pub fn takes(&self, sector: Sector, len: u64, limits: &super::Limits) -> bool {
        self.end_sector() == sector && limits.has_room(self.segments.len(), self.len_bytes, len)
    }

    /// What is asked.
    pub fn op(&self) -> BioOp {
        self.op
    }
    /// First sector.
    pub fn sector(&self) -> Sector {
        self.sector
    }
    /// The sector after the last.
    pub fn end_sector(&self) -> Sector {
        Sector(self.sector.0.saturating_add(self.len_bytes / SECTOR_SIZE))
    }
    /// Bytes on the device.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }
    /// The memory, in device order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }
    /// How it ended; `Ok` before its end.
    pub fn status(&self) -> Result<()> {
        self.status
    }

    /// Puts `self` in front of a list of ended bios. Neither allocates nor frees: the way for a [`BioEnd`] to keep bios
    /// until a task drops the list.
    pub fn chain(mut self: Box<Self>, list: &mut Option<Box<Bio>>) {
        self.next = list.take();
        *list = Some(self);
    }

    /// Takes the rest of the list that hangs on this bio.
    pub fn take_next(&mut self) -> Option<Box<Bio>> {
        self.next.take()
    }

    /// Hands the bio to a device: from here on it is in flight. Only devices call this; submitters use
    /// [`super::BlockDevice::submit`] through [`Bio::submit_to`].
    fn into_submitted(self: Box<Self>) -> SubmittedBio {
        stats::count(Counter::Bios);
        match self.op {
            BioOp::Read => stats::count(Counter::BioReads),
            BioOp::Write => stats::count(Counter::BioWrites),
            BioOp::Flush => stats::count(Counter::Flushes),
            BioOp::Discard | BioOp::WriteZeroes => {}
        }
        trace::record(trace::Kind::BioSubmit, self.sector.0, self.len_bytes);
        SubmittedBio(Some(self))
    }

    /// Hands on a copy of a bio that was counted already, into room that was `reserved` for it or not.
    #[cfg(feature = "lab")]
    pub(super) fn forward_to(self: Box<Self>, device: &dyn super::BlockDevice, reserved: Option<super::Promise>) {
        let copy = SubmittedBio(Some(self));
        match reserved {
            Some(promise) => device.submit_reserved(copy, promise),
            None => device.submit(copy),
        }
    }

    /// Submits to `device`; the completion comes later, exactly once. Task context; sleeps while the device's ring is full.
    pub fn submit_to(self: Box<Self>, device: &dyn super::BlockDevice) {
        device.submit(self.into_submitted());
    }

    /// As [`Self::submit_to`], into room that the device has set aside for it: does not sleep.
    pub(super) fn submit_reserved_to(self: Box<Self>, device: &dyn super::BlockDevice, promise: super::Promise) {
        device.submit_reserved(self.into_submitted(), promise);
    }
}

impl Drop for Bio {
    /// Unlinks the chain step by step, so that a long list does not recurse.
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(mut bio) = next {
            next = bio.next.take();
        }
    }
}

/// A bio in flight. Whoever holds it owes exactly one [`complete`](SubmittedBio::complete).
#[must_use = "a submitted bio must be completed"]
pub struct SubmittedBio(Option<Box<Bio>>);

impl SubmittedBio {
    /// Ends the bio. Hard-IRQ context or a task; the submitter learns of it before this returns.
    pub fn complete(mut self, status: Result<()>) {
        let mut bio = self.0.take().expect("a submitted bio holds its bio until it completes");
        bio.status = status;
        trace::record(trace::Kind::BioEnd, bio.sector.0, status.err().map_or(0, |e| u64::from(e.number())));
        let end = bio.end.take().expect("a bio has one end");
        end.bio_end(bio);
    }
}

impl core::ops::Deref for SubmittedBio {
    type Target = Bio;
    fn deref(&self) -> &Bio {
        self.0.as_ref().expect("a submitted bio holds its bio until it completes")
    }
}

impl Drop for SubmittedBio {
    /// Dropping a bio in flight would lose a completion: a bug that debug builds stop on; otherwise it ends with `EIO`.
    fn drop(&mut self) {
        if self.0.is_some() {
            debug_assert!(false, "a submitted bio was dropped without completion");
            SubmittedBio(self.0.take()).complete(Err(Errno::EIO));
        }
    }
}
