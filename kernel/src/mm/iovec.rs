//! Import of user iovecs, and a cursor over them.
use super::address_space::AddressSpace;
use base::{Errno, Result};
use hal::user::USER_END;
use smallvec::{SmallVec, smallvec};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Most iovecs of one call (FLAG-7).
pub const IOV_MAX: usize = 1024;
/// Most bytes of one call: what is above is cut (FLAG-7).
pub const MAX_RW_COUNT: usize = 0x7fff_f000;

/// A piece of user memory: `struct iovec` of the ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct IoVec {
    /// First byte.
    pub base: u64,
    /// Bytes.
    pub len: u64,
}

/// Pieces of user memory, consumed from the front; what was consumed can be given back. One request, with one outcome (BUF-9).
#[derive(Clone, Debug)]
pub struct IoVecCursor {
    iov: SmallVec<[IoVec; 4]>,
    /// The piece that is consumed next, and how many of its bytes are consumed.
    index: usize,
    offset: u64,
    remaining: usize,
}

impl IoVecCursor {
    /// One buffer. Errors: `EFAULT` (not in user memory).
    pub fn single(addr: u64, len: u64) -> Result<IoVecCursor> {
        IoVecCursor::new(smallvec![IoVec { base: addr, len }])
    }

    /// Reads `count` iovecs at `addr` and checks them (FLAG-7). Errors: `EINVAL` (count, total length), `EFAULT`, `ENOMEM`.
    pub fn import(mm: &AddressSpace, addr: u64, count: u64) -> Result<IoVecCursor> {
        let count = usize::try_from(count).ok().filter(|&n| n <= IOV_MAX).ok_or(Errno::EINVAL)?;
        let mut iov: SmallVec<[IoVec; 4]> = smallvec![IoVec { base: 0, len: 0 }; count];
        mm.read_bytes(addr, iov.as_mut_slice().as_mut_bytes())?;
        IoVecCursor::new(iov)
    }

    /// Lengths first, all of them, then the addresses of what is left of the pieces after the cut (FLAG-7).
    fn new(mut iov: SmallVec<[IoVec; 4]>) -> Result<IoVecCursor> {
        let mut total = 0u64;
        for piece in &iov {
            total = total.checked_add(piece.len).filter(|&t| i64::try_from(t).is_ok()).ok_or(Errno::EINVAL)?;
        }
        let mut room = MAX_RW_COUNT as u64;
        for piece in &mut iov {
            piece.len = piece.len.min(room);
            room -= piece.len;
            let inside = piece.base.checked_add(piece.len).is_some_and(|end| end <= USER_END);
            if !inside && piece.len > 0 {
                return Err(Errno::EFAULT);
            }
        }
        let remaining = total.min(MAX_RW_COUNT as u64) as usize;
        Ok(IoVecCursor { iov, index: 0, offset: 0, remaining })
    }

    /// Bytes that are left.
    pub fn remaining(&self) -> usize {
        self.remaining
    }

    /// The next contiguous piece; `None` at the end.
    pub fn front(&self) -> Option<(u64, usize)> {
        self.position().front(&self.iov)
    }

    /// Consumes `len` bytes, at most what is left.
    pub fn advance(&mut self, len: usize) {
        let mut left = len.min(self.remaining) as u64;
        self.remaining -= left as usize;
        while left > 0 {
            let Some(piece) = self.iov.get(self.index) else { return };
            let here = left.min(piece.len - self.offset);
            self.offset += here;
            left -= here;
            if self.offset == piece.len && left > 0 {
                self.index += 1;
                self.offset = 0;
            }
        }
    }

    /// Gives back the last `len` bytes that were consumed.
    pub fn revert(&mut self, len: usize) {
        let mut left = len as u64;
        while left > 0 {
            let here = left.min(self.offset);
            self.offset -= here;
            left -= here;
            self.remaining += here as usize;
            if left > 0 {
                let Some(index) = self.index.checked_sub(1) else { return };
                self.index = index;
                self.offset = self.iov.get(index).map_or(0, |piece| piece.len);
            }
        }
    }

    /// Calls `f` with each piece of the next `len` bytes until it returns less than the piece; returns the sum.
    pub fn for_each(&self, len: usize, mut f: impl FnMut(u64, usize) -> usize) -> usize {
        let mut at = self.position();
        let mut done = 0;
        while done < len {
            let Some((addr, piece)) = at.front(&self.iov) else { break };
            let want = piece.min(len - done);
            let got = f(addr, want);
            done += got;
            if got < want {
                break;
            }
            at.offset += want as u64;
        }
        done
    }

    /// Whether every piece that is left starts and ends at a multiple of `align`.
    pub fn is_aligned(&self, align: usize) -> bool {
        let mut aligned = true;
        self.for_each(self.remaining, |addr, len| {
            aligned &= addr.is_multiple_of(align as u64) && len.is_multiple_of(align);
            len
        });
        aligned
    }

    fn position(&self) -> Position {
        Position { index: self.index, offset: self.offset }
    }
}

/// A place in a list of iovecs.
struct Position {
    index: usize,
    offset: u64,
}

impl Position {
    fn front(&mut self, iov: &[IoVec]) -> Option<(u64, usize)> {
        loop {
            let piece = iov.get(self.index)?;
            if piece.len > self.offset {
                return Some((piece.base + self.offset, (piece.len - self.offset) as usize));
            }
            self.index += 1;
            self.offset = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use base::PAGE_SIZE;

    fn cursor(pieces: &[(u64, u64)]) -> Result<IoVecCursor> {
        IoVecCursor::new(pieces.iter().map(|&(base, len)| IoVec { base, len }).collect())
    }
    fn pieces(cursor: &IoVecCursor) -> Vec<(u64, usize)> {
        let mut seen = Vec::new();
        cursor.for_each(cursor.remaining(), |addr, len| {
            seen.push((addr, len));
            len
        });
        seen
    }

    #[test]
    fn advance_and_revert_cross_pieces_and_skip_empty_ones() {
        let mut c = cursor(&[(0x1000, 10), (0x2000, 0), (0x3000, 5)]).unwrap();
        assert_eq!(c.remaining(), 15);
        c.advance(12);
        assert_eq!(c.front(), Some((0x3002, 3)));
        c.revert(4);
        assert_eq!(pieces(&c), [(0x1008, 2), (0x3000, 5)]);
        c.advance(7);
        assert_eq!((c.front(), c.remaining()), (None, 0));
        c.revert(15);
        assert_eq!(pieces(&c), [(0x1000, 10), (0x3000, 5)]);
    }

    #[test]
    fn lengths_are_checked_and_cut() {
        assert_eq!(cursor(&[(0, i64::MAX as u64), (0, 1)]).unwrap_err(), Errno::EINVAL);
        assert_eq!(cursor(&[(u64::MAX, 1), (0x1000, u64::MAX)]).unwrap_err(), Errno::EINVAL, "lengths come first");
        assert_eq!(cursor(&[(0x1000, i64::MAX as u64)]).unwrap().remaining(), MAX_RW_COUNT, "addresses after the cut");
        assert_eq!(cursor(&[(0x1000, u64::MAX)]).unwrap_err(), Errno::EINVAL);
        assert_eq!(cursor(&[(USER_END - 1, 2)]).unwrap_err(), Errno::EFAULT);
        let c = cursor(&[(0x1000, MAX_RW_COUNT as u64 - 1), (0x9000, 100)]).unwrap();
        assert_eq!(c.remaining(), MAX_RW_COUNT);
        assert_eq!(pieces(&c)[1], (0x9000, 1));
    }

    #[test]
    fn alignment_looks_at_every_piece() {
        assert!(cursor(&[(0x1000, 512), (0x4200, 1024)]).unwrap().is_aligned(512));
        assert!(!cursor(&[(0x1000, 512), (0x4201, 512)]).unwrap().is_aligned(512));
        assert!(!cursor(&[(0x1000, 500), (0x4200, 12)]).unwrap().is_aligned(512));
        assert!(cursor(&[(0x1000, PAGE_SIZE as u64)]).unwrap().is_aligned(PAGE_SIZE));
    }
}
