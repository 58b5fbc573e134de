//! The frame allocator: a buddy system with a stack of single frames in front of it.
//!
//! Every frame of RAM has a [`Frame`] in one table: how many [`super::mem::Page`] handles there are, and, while it heads a
//! free block, the links of the list of its order. A single frame comes from the hot stack in a few instructions; the
//! stack is refilled and drained by halves, so the buddies merge only then. Allocated blocks have order [`NOT_FREE`].
use super::paging::phys_to_virt;
use super::sync::IrqLock;
use crate::PAGE_SIZE;
use core::ops::Range;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, Ordering::Relaxed};

/// Blocks have 1 to 2^10 frames (4 MiB).
const ORDERS: usize = 11;
const NOT_FREE: u8 = 0xff;
/// End of a list.
pub(super) const NONE: u32 = u32::MAX;
/// Single frames kept in front of the buddies.
const HOT: usize = 64;

/// What is known of a frame. While it is free, the links and the order are only used under the allocator's lock. While it is the heap's,
/// all but the order are used under the lock of its size class.
pub(super) struct Frame {
    /// Handles to the frame, while it is a `Page`; objects in use, while it is the heap's.
    pub(super) refs: AtomicU32,
    pub(super) next: AtomicU32,
    pub(super) prev: AtomicU32,
    order: AtomicU8,
    /// Where its first free object is, while it is the heap's.
    pub(super) free_object: AtomicU16,
}

struct Buddies {
    heads: [u32; ORDERS],
    hot: [u32; HOT],
    hot_len: usize,
    free: u64,
    total: u64,
}

static BUDDIES: IrqLock<Buddies> =
    IrqLock::new(Buddies { heads: [NONE; ORDERS], hot: [0; HOT], hot_len: 0, free: 0, total: 0 });
static TABLE: spin::Once<&'static [Frame]> = spin::Once::new();
static RAM: spin::Once<([Range<u64>; MAX_RAM], usize)> = spin::Once::new();
/// Ranges of RAM remembered for [`overlaps_ram`].
pub(super) const MAX_RAM: usize = 64;

/// Bytes of table for the frames below `end`.
pub(super) fn table_bytes(end: u64) -> u64 {
    end.div_ceil(PAGE_SIZE as u64) * size_of::<Frame>() as u64
}

/// Starts the allocator with `usable` memory; the table for all frames below `end` is at `table`.
///
/// # Safety
///
/// `table` must be [`table_bytes`]`(end)` bytes of zeroed memory that nobody else uses, and nobody uses the memory in
/// `usable` (whole pages, mapped in the physical map). Called once.
pub(super) unsafe fn init(table: *mut u8, end: u64, ram: &[Range<u64>], usable: impl Iterator<Item = Range<u64>>) {
    let len = table_bytes(end) as usize / size_of::<Frame>();
    // SAFETY: the caller's promise; zero is a valid value of every field.
    let table = unsafe { core::slice::from_raw_parts(table.cast::<Frame>(), len) };
    for frame in table {
        frame.order.store(NOT_FREE, Relaxed);
    }
    TABLE.call_once(|| table);
    RAM.call_once(|| {
        let mut kept = [const { 0..0 }; MAX_RAM];
        kept.iter_mut().zip(ram).for_each(|(to, from)| *to = from.clone());
        (kept, ram.len().min(MAX_RAM))
    });
    let mut buddies = BUDDIES.lock();
    for range in usable {
        buddies.add(range);
    }
}

/// True if a byte of `range` is RAM.
pub(super) fn overlaps_ram(range: Range<u64>) -> bool {
    RAM.get().is_some_and(|(ram, len)| ram[..*len].iter().any(|r| r.start < range.end && range.start < r.end))
}

/// What is known of the frame with this number.
#[inline]
pub(super) fn frame(number: u32) -> &'static Frame {
    // Once, in the boot path, this table is set; no frame number exists before.
    &TABLE.get().expect("frames are set up at boot")[number as usize]
}

/// The number of the frame at `phys`.
#[inline]
pub(super) fn number(phys: u64) -> u32 {
    (phys / PAGE_SIZE as u64) as u32
}

/// Takes a single frame of unspecified content: its physical address. Any context, though interrupts shouldn't.
#[inline]
pub(super) fn alloc_one() -> Option<u64> {
    let mut buddies = BUDDIES.lock();
    if buddies.hot_len == 0 && !buddies.refill() {
        return None;
    }
    buddies.hot_len -= 1;
    buddies.free -= 1;
    Some(u64::from(buddies.hot[buddies.hot_len]) * PAGE_SIZE as u64)
}

/// As [`alloc_one`], in the shape that page-table walks want.
pub(super) fn alloc_table() -> Option<u64> {
    alloc_one()
}

/// Gives a single frame back.
///
/// # Safety
///
/// It came from [`alloc_one`], and nothing uses it any more.
#[inline]
pub(super) unsafe fn free_one(phys: u64) {
    let mut buddies = BUDDIES.lock();
    if buddies.hot_len == HOT {
        buddies.drain();
    }
    let len = buddies.hot_len;
    buddies.hot[len] = number(phys);
    buddies.hot_len += 1;
    buddies.free += 1;
}

/// (managed, free) frames.
pub(super) fn counts() -> (u64, u64) {
    let buddies = BUDDIES.lock();
    (buddies.total, buddies.free)
}

/// As [`counts`]; `None` if the allocator is locked.
pub(super) fn try_counts() -> Option<(u64, u64)> {
    BUDDIES.try_lock().map(|buddies| (buddies.total, buddies.free))
}

impl Buddies {
    /// Adds never-used memory, cut into the largest aligned blocks.
    fn add(&mut self, range: Range<u64>) {
        let (mut at, end) = (range.start.div_ceil(PAGE_SIZE as u64) as u32, number(range.end));
        while at < end {
            let mut order = (at.trailing_zeros() as usize).min(ORDERS - 1);
            while at + (1 << order) > end {
                order -= 1;
            }
            self.push(at, order);
            at += 1 << order;
            self.total += 1 << order;
            self.free += 1 << order;
        }
    }

    fn push(&mut self, at: u32, order: usize) {
        let head = self.heads[order];
        frame(at).next.store(head, Relaxed);
        frame(at).prev.store(NONE, Relaxed);
        frame(at).order.store(order as u8, Relaxed);
        if head != NONE {
            frame(head).prev.store(at, Relaxed);
        }
        self.heads[order] = at;
    }

    fn remove(&mut self, at: u32, order: usize) {
        let (next, prev) = (frame(at).next.load(Relaxed), frame(at).prev.load(Relaxed));
        if next != NONE {
            frame(next).prev.store(prev, Relaxed);
        }
        if prev != NONE {
            frame(prev).next.store(next, Relaxed);
        } else {
            self.heads[order] = next;
        }
        frame(at).order.store(NOT_FREE, Relaxed);
    }

    /// Takes a block of 2^order frames, splitting a larger one if need be. Does not touch `free`.
    fn take(&mut self, order: usize) -> Option<u32> {
        let from = (order..ORDERS).find(|&larger| self.heads[larger] != NONE)?;
        let at = self.heads[from];
        self.remove(at, from);
        for smaller in (order..from).rev() {
            self.push(at + (1 << smaller), smaller);
        }
        Some(at)
    }

    /// Gives a block back and merges it with its free buddies. Does not touch `free`.
    fn give(&mut self, mut at: u32, mut order: usize) {
        let frames = TABLE.get().map_or(0, |table| table.len());
        while order < ORDERS - 1 {
            let buddy = at ^ (1 << order);
            if buddy as usize >= frames || frame(buddy).order.load(Relaxed) != order as u8 {
                break;
            }
            self.remove(buddy, order);
            at = at.min(buddy);
            order += 1;
        }
        self.push(at, order);
    }

    /// Fills half of the hot stack; false if no frame is left.
    fn refill(&mut self) -> bool {
        while self.hot_len < HOT / 2 {
            let Some(at) = self.take(0) else { break };
            self.hot[self.hot_len] = at;
            self.hot_len += 1;
        }
        self.hot_len > 0
    }

    /// Empties half of the hot stack.
    fn drain(&mut self) {
        while self.hot_len > HOT / 2 {
            self.hot_len -= 1;
            let at = self.hot[self.hot_len];
            self.give(at, 0);
        }
    }

    /// Empties the hot stack, so that its frames can merge.
    fn drain_all(&mut self) {
        while self.hot_len > 0 {
            self.hot_len -= 1;
            let at = self.hot[self.hot_len];
            self.give(at, 0);
        }
    }
}

/// A run of physically contiguous page frames, owned. Dropping it gives the frames back.
pub struct FrameRun {
    phys: u64,
    pages: usize,
}

impl FrameRun {
    /// Allocates `pages` contiguous frames of unspecified content, aligned to the next power of two of the run's size.
    /// `None` when memory is short or too fragmented, or for none or more than 1024 pages.
    pub fn alloc(pages: usize) -> Option<FrameRun> {
        let block = pages.checked_next_power_of_two()?;
        let order = block.trailing_zeros() as usize;
        if pages == 0 || order >= ORDERS {
            return None;
        }
        let mut buddies = BUDDIES.lock();
        let at = match buddies.take(order) {
            Some(at) => at,
            None => {
                buddies.drain_all();
                buddies.take(order)?
            }
        };
        // What the run doesn't need of the block goes back, frame by frame; they merge.
        for unneeded in pages..block {
            buddies.give(at + unneeded as u32, 0);
        }
        buddies.free -= pages as u64;
        Some(FrameRun { phys: u64::from(at) * PAGE_SIZE as u64, pages })
    }
    /// The physical address of the first byte.
    pub fn phys(&self) -> u64 {
        self.phys
    }
    /// How many frames.
    pub fn pages(&self) -> usize {
        self.pages
    }
    /// Where the run is mapped: cached, readable and writable, for `pages() * PAGE_SIZE` bytes while the run lives.
    pub fn as_ptr(&self) -> *mut u8 {
        phys_to_virt(self.phys)
    }
    /// Gives up ownership for ever: the run lives on as memory of a device.
    pub fn leak(self) {
        core::mem::forget(self);
    }
}

impl Drop for FrameRun {
    fn drop(&mut self) {
        let mut buddies = BUDDIES.lock();
        for index in 0..self.pages {
            buddies.give(number(self.phys) + index as u32, 0);
        }
        buddies.free += self.pages as u64;
    }
}
