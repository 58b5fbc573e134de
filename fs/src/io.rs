//! Where the bytes of a write come from and the bytes of a read go to.
//!
//! The kernel implements both for user memory, a test for a slice. Copies never fault: a page that is not there ends the copy
//! short, and the caller faults it in with nothing locked (LOCK-6, ERR-2).
use base::{Page, Result};

mod pinned;
pub mod slice;

pub use pinned::{PinAccount, Pinned};
pub use slice::{PageBuffer, SliceSink, SliceSource};

/// Bytes to write, consumed from the front.
pub trait IoSource {
    /// Bytes that are left.
    fn remaining(&self) -> usize;
    /// Makes the next bytes readable, at most `len`; returns how many are now: fewer than `len` only if the byte behind them cannot
    /// be read (0: the first byte cannot, `EFAULT`).
    /// May sleep: no folio locked, nothing unsubmitted.
    fn fault_in(&mut self, len: usize) -> usize;
    /// How many of the next bytes, at most `len`, can be copied without faulting now. No sleep.
    fn resident(&self, len: usize) -> usize;
    /// Copies up to `len` bytes to `page` at `offset` without faulting; consumes and returns what was copied.
    fn copy_to_page(&mut self, page: &Page, offset: usize, len: usize) -> usize;
    /// Copies up to `dst.len()` bytes without faulting; consumes and returns what was copied.
    fn copy_to_slice(&mut self, dst: &mut [u8]) -> usize;
    /// Gives back the last `len` bytes that were consumed.
    fn revert(&mut self, len: usize);
    /// Pins up to `len` bytes for a device to read, consumes them and appends their segments; returns how many.
    /// May sleep. Errors: `EFAULT` when not even the first byte is readable, `ENOMEM`.
    fn pin(&mut self, len: usize, out: &mut Pinned) -> Result<usize>;
    /// Whether every segment starts and ends at a multiple of `align` bytes in memory and length.
    fn is_aligned(&self, align: usize) -> bool;
}

/// Room for bytes that are read, filled from the front.
pub trait IoSink {
    /// Bytes of room that are left.
    fn remaining(&self) -> usize;
    /// Makes the next bytes writable, at most `len`; returns how many are now (0: `EFAULT`). May sleep.
    fn fault_in(&mut self, len: usize) -> usize;
    /// Copies up to `len` bytes from `page` at `offset` without faulting; consumes and returns what was copied.
    fn copy_from_page(&mut self, page: &Page, offset: usize, len: usize) -> usize;
    /// Copies up to `src.len()` bytes without faulting; consumes and returns what was copied.
    fn copy_from_slice(&mut self, src: &[u8]) -> usize;
    /// Zeroes up to `len` bytes without faulting; consumes and returns how many.
    fn zero(&mut self, len: usize) -> usize;
    /// Pins up to `len` bytes for a device to write to, consumes them and appends their segments; returns how many.
    /// May sleep. Errors: `EFAULT`, `ENOMEM`; `EOPNOTSUPP`, with nothing consumed, for memory that is only written to by copies.
    fn pin(&mut self, len: usize, out: &mut Pinned) -> Result<usize>;
    /// Whether every segment starts and ends at a multiple of `align` bytes in memory and length.
    fn is_aligned(&self, align: usize) -> bool;
    /// Gives back the last `len` bytes that were consumed (a direct read that ended short).
    fn revert(&mut self, len: usize);
}
