//! Memory that a device may touch, on the host: a register of ranges, and accesses that stay inside it.
//!
//! A scripted device has no pointers. It has the bus addresses it found in a ring, and reaches memory only through
//! [`read`], [`write`], [`load_u16`] and [`store_u16`], which refuse every address that no live [`DmaBuffer`] and no live
//! [`Grant`] covers. A driver that gives out a wrong address, or memory it has already taken back, is thereby found.
use super::mem::Page;
use crate::PAGE_SIZE;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// First address of a range, to its length and how often it was granted.
type Ranges = BTreeMap<u64, (usize, usize)>;

/// An access stays under the read lock, so that no range ends while the device is in it.
static RANGES: RwLock<Ranges> = RwLock::new(BTreeMap::new());

fn ranges() -> RwLockReadGuard<'static, Ranges> {
    RANGES.read().unwrap_or_else(PoisonError::into_inner)
}

fn ranges_mut() -> RwLockWriteGuard<'static, Ranges> {
    RANGES.write().unwrap_or_else(PoisonError::into_inner)
}

fn enter(start: u64, len: usize) {
    ranges_mut().entry(start).or_insert((len, 0)).1 += 1;
}

fn leave(start: u64) {
    let mut ranges = ranges_mut();
    if let Some((_, count)) = ranges.get_mut(&start) {
        *count -= 1;
        if *count == 0 {
            ranges.remove(&start);
        }
    }
}

/// Zeroed, physically contiguous memory that a device shares with its driver.
///
/// Accesses are atomic in their width, because the device works at the same time; offsets are in bytes, must be aligned to
/// the width, and panic outside the buffer.
///
/// # Invariants
/// `start` is the beginning of an allocation of `len` bytes aligned to [`PAGE_SIZE`], owned by this value and only ever
/// accessed by atomics or raw copies.
pub struct DmaBuffer {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory is only accessed by atomics and raw copies, from any thread.
unsafe impl Send for DmaBuffer {}
// SAFETY: as above.
unsafe impl Sync for DmaBuffer {}

impl DmaBuffer {
    /// At least `len_bytes` zeroed bytes, in whole frames; `None` when memory is short or `len_bytes` is 0. Task context.
    pub fn alloc(len_bytes: usize) -> Option<DmaBuffer> {
        let len = len_bytes.checked_next_multiple_of(PAGE_SIZE).filter(|&l| l > 0)?;
        let layout = Layout::from_size_align(len, PAGE_SIZE).ok()?;
        // SAFETY: the layout's size is not 0.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        enter(start.as_ptr() as u64, len);
        Some(DmaBuffer { start, len })
    }

    /// The address a device uses for the first byte.
    pub fn phys(&self) -> u64 {
        self.start.as_ptr() as u64
    }

    /// Bytes in the buffer.
    pub fn len_bytes(&self) -> usize {
        self.len
    }

    /// A pointer to `offset`, after checking that `width` bytes there are inside and aligned.
    #[inline]
    fn at(&self, offset: usize, width: usize) -> *mut u8 {
        assert!(offset.is_multiple_of(width) && offset < self.len && width <= self.len - offset);
        // SAFETY: in bounds by the assertion.
        unsafe { self.start.as_ptr().add(offset) }
    }

    #[inline]
    fn word16(&self, offset: usize) -> &AtomicU16 {
        // SAFETY: in bounds and aligned (`at`), and only accessed by atomics (type invariant).
        unsafe { AtomicU16::from_ptr(self.at(offset, 2).cast()) }
    }

    /// Reads a byte.
    pub fn read_u8(&self, offset: usize) -> u8 {
        // SAFETY: in bounds (`at`), and only accessed by atomics (type invariant).
        unsafe { std::sync::atomic::AtomicU8::from_ptr(self.at(offset, 1)) }.load(Ordering::Relaxed)
    }
    /// Writes a byte.
    pub fn write_u8(&self, offset: usize, value: u8) {
        // SAFETY: in bounds (`at`), and only accessed by atomics (type invariant).
        unsafe { std::sync::atomic::AtomicU8::from_ptr(self.at(offset, 1)) }.store(value, Ordering::Relaxed);
    }
    /// Reads 16 bits; unordered.
    pub fn read_u16(&self, offset: usize) -> u16 {
        self.word16(offset).load(Ordering::Relaxed)
    }
    /// Writes 16 bits; unordered.
    pub fn write_u16(&self, offset: usize, value: u16) {
        self.word16(offset).store(value, Ordering::Relaxed);
    }
    /// Reads 16 bits; later reads see what the other side wrote before it published the value.
    pub fn load_acquire_u16(&self, offset: usize) -> u16 {
        self.word16(offset).load(Ordering::Acquire)
    }
    /// Publishes 16 bits: whoever sees the value sees every earlier write.
    pub fn store_release_u16(&self, offset: usize, value: u16) {
        self.word16(offset).store(value, Ordering::Release);
    }
    /// Reads 32 bits; unordered.
    pub fn read_u32(&self, offset: usize) -> u32 {
        // SAFETY: in bounds and aligned (`at`), and only accessed by atomics (type invariant).
        unsafe { AtomicU32::from_ptr(self.at(offset, 4).cast()) }.load(Ordering::Relaxed)
    }
    /// Writes 32 bits; unordered.
    pub fn write_u32(&self, offset: usize, value: u32) {
        // SAFETY: in bounds and aligned (`at`), and only accessed by atomics (type invariant).
        unsafe { AtomicU32::from_ptr(self.at(offset, 4).cast()) }.store(value, Ordering::Relaxed);
    }
    /// Reads 64 bits; unordered.
    pub fn read_u64(&self, offset: usize) -> u64 {
        // SAFETY: in bounds and aligned (`at`), and only accessed by atomics (type invariant).
        unsafe { AtomicU64::from_ptr(self.at(offset, 8).cast()) }.load(Ordering::Relaxed)
    }
    /// Writes 64 bits; unordered.
    pub fn write_u64(&self, offset: usize, value: u64) {
        // SAFETY: in bounds and aligned (`at`), and only accessed by atomics (type invariant).
        unsafe { AtomicU64::from_ptr(self.at(offset, 8).cast()) }.store(value, Ordering::Relaxed);
    }
}

impl Drop for DmaBuffer {
    fn drop(&mut self) {
        leave(self.phys());
        let layout = Layout::from_size_align(self.len, PAGE_SIZE).expect("the layout it was allocated with");
        // SAFETY: allocated with this layout in `alloc`, freed once; no device access is under way, as `leave` waited.
        unsafe { dealloc(self.start.as_ptr(), layout) }
    }
}

/// Lets scripted devices reach a page frame until the grant is dropped.
pub struct Grant(Page);

impl Grant {
    /// Grants the whole frame.
    pub fn new(page: &Page) -> Grant {
        enter(page.phys(), PAGE_SIZE);
        Grant(page.clone())
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        leave(self.0.phys());
    }
}

/// A device used an address that was not given to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// First byte of the access.
    pub address: u64,
    /// Bytes of the access.
    pub len: usize,
}

/// Runs `access` on the pointer for `address` while the range cannot end.
fn with_range<R>(address: u64, len: usize, access: impl FnOnce(*mut u8) -> R) -> Result<R, Fault> {
    let ranges = ranges();
    let (&start, &(size, _)) = ranges.range(..=address).next_back().ok_or(Fault { address, len })?;
    let offset = (address - start) as usize;
    if offset > size || len > size - offset {
        return Err(Fault { address, len });
    }
    Ok(access(address as *mut u8))
}

/// Reads `dst.len()` bytes as a device would.
pub fn read(address: u64, dst: &mut [u8]) -> Result<(), Fault> {
    // SAFETY: `with_range` proved the source to be inside live memory that is only copied raw; `dst` is exclusive.
    with_range(address, dst.len(), |p| unsafe { std::ptr::copy_nonoverlapping(p, dst.as_mut_ptr(), dst.len()) })
}

/// Writes `src` as a device would.
pub fn write(address: u64, src: &[u8]) -> Result<(), Fault> {
    // SAFETY: `with_range` proved the target to be inside live memory that is only copied raw; `src` is not part of it.
    with_range(address, src.len(), |p| unsafe { std::ptr::copy_nonoverlapping(src.as_ptr(), p, src.len()) })
}

/// Reads 16 bits with acquire order, as a device reads an index. `address` must be even.
pub fn load_u16(address: u64) -> Result<u16, Fault> {
    assert!(address.is_multiple_of(2));
    // SAFETY: inside live memory (`with_range`), aligned by the assertion.
    with_range(address, 2, |p| unsafe { AtomicU16::from_ptr(p.cast()) }.load(Ordering::Acquire))
}

/// Writes 16 bits with release order, as a device publishes an index. `address` must be even.
pub fn store_u16(address: u64, value: u16) -> Result<(), Fault> {
    assert!(address.is_multiple_of(2));
    // SAFETY: inside live memory (`with_range`), aligned by the assertion.
    with_range(address, 2, |p| unsafe { AtomicU16::from_ptr(p.cast()) }.store(value, Ordering::Release))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_stays_inside_what_it_was_given() {
        let buffer = DmaBuffer::alloc(100).unwrap();
        assert_eq!(buffer.len_bytes(), PAGE_SIZE);
        write(buffer.phys() + 8, &7u64.to_le_bytes()).unwrap();
        assert_eq!(buffer.read_u64(8), 7);
        let end = buffer.phys() + PAGE_SIZE as u64;
        assert_eq!(write(end - 1, &[0; 2]), Err(Fault { address: end - 1, len: 2 }));
        let gone = buffer.phys();
        drop(buffer);
        assert!(load_u16(gone).is_err(), "memory that was taken back");
    }

    #[test]
    fn a_grant_ends_with_its_last_holder() {
        let page = Page::alloc_zeroed().unwrap();
        let first = Grant::new(&page);
        let second = Grant::new(&page);
        drop(first);
        write(page.phys(), b"x").unwrap();
        drop(second);
        assert!(write(page.phys(), b"x").is_err());
    }
}
