//! Memory that a device may touch, on the host: a register of ranges, and accesses that stay inside it.
//!
//! A scripted device has no pointers. It has the bus addresses it found in a ring, and reaches memory only through
//! [`read`], [`write()`], [`load_u16`] and [`store_u16`], which refuse every address that no live [`DmaBuffer`](crate::mem::DmaBuffer) and no live
//! [`Grant`] covers. A driver that gives out a wrong address, or memory it has already taken back, is thereby found.
use super::mem::Page;
use crate::PAGE_SIZE;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
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

/// The memory of a [`DmaBuffer`](crate::mem::DmaBuffer), registered while it lives.
///
/// # Invariants
/// `start` is the beginning of an allocation of `len` bytes (not 0) aligned to [`PAGE_SIZE`], owned by this value.
pub(crate) struct Memory {
    start: NonNull<u8>,
    len: usize,
}

impl Memory {
    /// `len` zeroed bytes; `None` when memory is short. `len` is a multiple of [`PAGE_SIZE`] and not 0.
    pub fn alloc_zeroed(len: usize) -> Option<Memory> {
        let layout = Layout::from_size_align(len, PAGE_SIZE).ok().filter(|l| l.size() > 0)?;
        // SAFETY: the layout's size is not 0.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        enter(start.as_ptr() as u64, len);
        Some(Memory { start, len })
    }

    /// The address a device uses for the first byte.
    pub fn phys(&self) -> u64 {
        self.start.as_ptr() as u64
    }

    /// The first byte.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        leave(self.phys());
        let layout = Layout::from_size_align(self.len, PAGE_SIZE).expect("the layout it was allocated with");
        // SAFETY: allocated with this layout, freed once; no device access is under way, as `leave` waited for it.
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
    use crate::mem::DmaBuffer;

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
