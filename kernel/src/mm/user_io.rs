//! User memory as source and sink of file I/O.
//!
//! Copies never fault: they stop at a page that is not there, and the file system calls `fault_in` with nothing locked
//! (LOCK-6). Pinning gives the frames themselves to a device: the segment's handle keeps a frame even if the program unmaps it
//! (R71), and a frame that a device writes is the address space's own, so that copy on write cannot leave the data behind. All
//! pins together are limited; a frame that failed to be pinned stays charged until its request ends.
use super::address_space::AddressSpace;
use super::fault::Access;
use super::iovec::IoVecCursor;
use super::{PAGE, page_floor};
use base::block::Segment;
use base::{Errno, Page, Result};
use fs::io::{IoSink, IoSource, Pinned};

/// Most pages that one call of `pin` takes: what a request holds is bounded by what its caller asked in rounds.
const PIN_MAX_PAGES: usize = 256;

/// User memory that a write takes its bytes from.
pub struct UserSource<'a> {
    mm: &'a AddressSpace,
    cursor: IoVecCursor,
}

/// User memory that a read fills.
pub struct UserSink<'a> {
    mm: &'a AddressSpace,
    cursor: IoVecCursor,
}

macro_rules! constructors {
    ($name:ident) => {
        impl<'a> $name<'a> {
            /// One buffer of the active address space `mm`; cut to the most bytes of a call. Errors: `EFAULT`, `EINVAL`.
            pub fn single(mm: &'a AddressSpace, addr: u64, len: u64) -> Result<Self> {
                Ok(Self { mm, cursor: IoVecCursor::single(addr, len)? })
            }
            /// `count` iovecs at `addr` (FLAG-7). Errors: `EFAULT`, `EINVAL`, `ENOMEM`.
            pub fn import(mm: &'a AddressSpace, addr: u64, count: u64) -> Result<Self> {
                Ok(Self { mm, cursor: IoVecCursor::import(mm, addr, count)? })
            }
            /// Bytes that are left.
            pub fn len(&self) -> usize {
                self.cursor.remaining()
            }
            /// Whether nothing is left.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }
        }
    };
}
constructors!(UserSource);
constructors!(UserSink);

impl IoSource for UserSource<'_> {
    fn remaining(&self) -> usize {
        self.cursor.remaining()
    }
    fn fault_in(&mut self, len: usize) -> usize {
        self.cursor.for_each(len, |addr, n| probe(addr, n, |at| self.mm.fault(at, Access::Read).is_ok()))
    }
    fn resident(&self, len: usize) -> usize {
        self.cursor.for_each(len, |addr, n| probe(addr, n, |_| false))
    }
    fn copy_to_page(&mut self, page: &Page, offset: usize, len: usize) -> usize {
        let mut at = offset;
        consume(&mut self.cursor, len, |addr, n| {
            let done = page.copy_from_user(at, addr, n);
            at += done;
            done
        })
    }
    fn copy_to_slice(&mut self, dst: &mut [u8]) -> usize {
        let mut rest = dst;
        consume(&mut self.cursor, rest.len(), |addr, n| {
            let (head, tail) = core::mem::take(&mut rest).split_at_mut(n);
            rest = tail;
            hal::user::copy_from_user(head, addr)
        })
    }
    fn revert(&mut self, len: usize) {
        self.cursor.revert(len);
    }
    fn pin(&mut self, len: usize, out: &mut Pinned) -> Result<usize> {
        pin(self.mm, &mut self.cursor, len, Access::Read, out)
    }
    fn is_aligned(&self, align: usize) -> bool {
        self.cursor.is_aligned(align)
    }
}

impl IoSink for UserSink<'_> {
    fn remaining(&self) -> usize {
        self.cursor.remaining()
    }
    fn fault_in(&mut self, len: usize) -> usize {
        self.cursor.for_each(len, |addr, n| self.mm.fault_in(addr, n, Access::Write))
    }
    fn copy_from_page(&mut self, page: &Page, offset: usize, len: usize) -> usize {
        let mut at = offset;
        consume(&mut self.cursor, len, |addr, n| {
            let done = page.copy_to_user(at, addr, n);
            at += done;
            done
        })
    }
    fn copy_from_slice(&mut self, src: &[u8]) -> usize {
        let mut rest = src;
        consume(&mut self.cursor, src.len(), |addr, n| {
            let (head, tail) = rest.split_at(n);
            rest = tail;
            hal::user::copy_to_user(addr, head)
        })
    }
    fn zero(&mut self, len: usize) -> usize {
        consume(&mut self.cursor, len, hal::user::zero_user)
    }
    fn pin(&mut self, len: usize, out: &mut Pinned) -> Result<usize> {
        pin(self.mm, &mut self.cursor, len, Access::Write, out)
    }
    fn is_aligned(&self, align: usize) -> bool {
        self.cursor.is_aligned(align)
    }
    fn revert(&mut self, len: usize) {
        self.cursor.revert(len);
    }
}

/// Runs `copy` over the next `len` bytes and consumes what it copied.
fn consume(cursor: &mut IoVecCursor, len: usize, copy: impl FnMut(u64, usize) -> usize) -> usize {
    let done = cursor.for_each(len, copy);
    cursor.advance(done);
    done
}

/// How many of `len` bytes from `addr` are readable. A byte of each page is probed; where it is missing, which is rare, `fault_in` may bring
/// the page and says whether it did.
fn probe(addr: u64, len: usize, fault_in: impl Fn(u64) -> bool) -> usize {
    let end = addr + len as u64;
    let mut at = addr;
    while at < end {
        let mut byte = [0];
        if hal::user::copy_from_user(&mut byte, at) == 0 && !fault_in(at) {
            break;
        }
        at = page_floor(at) + PAGE;
    }
    (at.min(end) - addr) as usize
}

/// Pins up to `len` bytes and consumes them. Errors: those of the first page; a later one ends the run short. A page that must not be
/// pinned, wherever it is: `EOPNOTSUPP`, with nothing consumed.
fn pin(mm: &AddressSpace, cursor: &mut IoVecCursor, len: usize, access: Access, out: &mut Pinned) -> Result<usize> {
    let (mut done, mut pages) = (0, 0);
    while done < len && pages < PIN_MAX_PAGES {
        let Some((addr, piece)) = cursor.front() else { break };
        let offset = addr - page_floor(addr);
        let n = piece.min(len - done).min((PAGE - offset) as usize);
        let pinned = out.charge(mm.pins, 1).and_then(|()| mm.pin_page(addr, access));
        match pinned {
            Ok(page) => out.push(Segment { page, offset: offset as u32, len: n as u32 }),
            Err(Errno::EOPNOTSUPP) => {
                cursor.revert(done);
                return Err(Errno::EOPNOTSUPP);
            }
            Err(_) if done > 0 => break,
            Err(e) => return Err(e),
        }
        cursor.advance(n);
        done += n;
        pages += 1;
    }
    if done == 0 && len > 0 { Err(Errno::EFAULT) } else { Ok(done) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::{Backing, MapRequest, Placement};
    use hal::user::Prot;

    const AT: u64 = 0x40_0000;

    fn two_pages() -> AddressSpace {
        let mm = AddressSpace::new().unwrap();
        mm.activate();
        let prot = Prot { read: true, write: true, exec: false };
        let (placement, backing) = (Placement::Fixed(AT), Backing::Anonymous);
        mm.map(MapRequest { placement, len: 2 * PAGE, prot, shared: false, backing }).unwrap();
        mm
    }

    #[test]
    fn a_copy_ends_short_where_the_page_is_missing_and_goes_on_after_fault_in() {
        let mm = two_pages();
        mm.write_bytes(AT + PAGE - 4, b"abcd").unwrap();
        let mut source = UserSource::single(&mm, AT + PAGE - 4, 8).unwrap();
        let mut dst = [1; 8];
        assert_eq!(source.copy_to_slice(&mut dst), 4);
        assert_eq!(source.remaining(), 4);
        assert_eq!(source.fault_in(4), 4);
        assert_eq!(source.copy_to_slice(&mut dst[4..]), 4);
        assert_eq!(&dst, b"abcd\0\0\0\0");
        source.revert(6);
        assert_eq!(source.remaining(), 6);
    }

    #[test]
    fn fault_in_counts_only_what_is_mapped() {
        let mm = two_pages();
        let mut sink = UserSink::single(&mm, AT + PAGE, 2 * PAGE).unwrap();
        assert_eq!(sink.fault_in(2 * PAGE as usize), PAGE as usize);
        let mut nowhere = UserSink::single(&mm, AT + 2 * PAGE, 8).unwrap();
        assert_eq!(nowhere.fault_in(8), 0);
        assert_eq!(nowhere.pin(8, &mut Pinned::new()), Err(Errno::EFAULT));
    }

    #[test]
    fn r71_a_pinned_buffer_outlives_its_mapping() {
        let mm = two_pages();
        let mut sink = UserSink::single(&mm, AT + 512, PAGE).unwrap();
        let mut pinned = Pinned::new();
        assert_eq!(sink.pin(PAGE as usize, &mut pinned), Ok(PAGE as usize));
        assert_eq!(pinned.iter().map(|s| (s.offset, s.len)).collect::<alloc::vec::Vec<_>>(), [(512, 3584), (0, 512)]);
        mm.unmap(AT, 2 * PAGE).unwrap();
        pinned[0].page.write_from(512, b"late");
        assert_eq!(pinned[0].page.ref_count(), 1);
    }
}
