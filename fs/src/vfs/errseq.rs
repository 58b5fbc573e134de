//! The error sequence: each open file description hears of a writeback error exactly once (ERR-6, model M7).
//!
//! One 32-bit word: the last error's number (12 bits), a `SEEN` bit, and a counter (19 bits) above it.
//! ```text
//!   31            13  12   11        0
//!   |   counter    |SEEN|   errno    |
//! ```
//! Recording stores the errno and clears `SEEN`; the counter moves only if somebody had seen the old value, because as long
//! as nobody has sampled a value no two descriptions can tell it from its successor. That keeps the counter from wrapping
//! under a storm of errors that nobody reads.
//!
//! A description samples the word at open. A value that nobody has seen yet is sampled as 0, so that this description reports it too;
//! one that was reported to somebody before the open is old news to it.
use base::sync::SpinLock;
use base::sync::atomic::{AtomicU32, Ordering};
use base::{Errno, Result};

const ERRNO_MASK: u32 = 0xfff;
const SEEN: u32 = 0x1000;
const COUNTER_ONE: u32 = 0x2000;

/// The errors of one mapping or of one super block, in the order they happened.
pub struct ErrSeq(AtomicU32);

/// What one open file description knows of an [`ErrSeq`].
pub struct ErrCursor(SpinLock<u32>);

impl ErrSeq {
    /// No error ever.
    pub fn new() -> Self {
        ErrSeq(AtomicU32::new(0))
    }

    /// Records `error`. Any context; no lock.
    pub fn record(&self, error: Errno) {
        let errno = u32::from(error.number());
        let mut old = self.0.load(Ordering::Relaxed);
        loop {
            let mut new = (old & !(ERRNO_MASK | SEEN)) | errno;
            if base::guard!("R58", old & SEEN != 0) {
                new = new.wrapping_add(COUNTER_ONE);
            }
            if new == old {
                return;
            }
            match self.0.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => old = now,
            }
        }
    }

    /// The cursor of a description opened now.
    pub fn sample(&self) -> ErrCursor {
        let now = self.0.load(Ordering::Acquire);
        ErrCursor(SpinLock::new(if now & SEEN != 0 { now } else { 0 }))
    }

    /// Whether an error was recorded that `cursor` has not reported; reports nothing itself.
    pub fn pending(&self, cursor: &ErrCursor) -> bool {
        *cursor.0.lock() != self.0.load(Ordering::Acquire)
    }

    /// Reports an error that `cursor` has not reported yet, once. Errors: the recorded one.
    pub fn report(&self, cursor: &ErrCursor) -> Result<()> {
        let mut seen = cursor.0.lock();
        let mut now = self.0.load(Ordering::Acquire);
        if now == *seen {
            return Ok(());
        }
        // Mark the value seen, so that the next record differs from it. A record in between is reported instead: it is newer.
        while now & SEEN == 0 {
            match self.0.compare_exchange(now, now | SEEN, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => now |= SEEN,
                Err(newer) => now = newer,
            }
        }
        let news = now != *seen;
        *seen = now;
        match Errno::from_number((now & ERRNO_MASK) as u16) {
            Some(error) if news => Err(error),
            _ => Ok(()),
        }
    }
}

impl Default for ErrSeq {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r58_errseq_two_fds() {
        let seq = ErrSeq::new();
        let (a, b) = (seq.sample(), seq.sample());
        seq.record(Errno::EIO);
        assert_eq!(seq.report(&a), Err(Errno::EIO));
        assert_eq!(seq.report(&b), Err(Errno::EIO));
        assert_eq!(seq.report(&a), Ok(()));
        let late = seq.sample();
        assert_eq!(seq.report(&late), Ok(()), "reported before this open");
    }

    #[test]
    fn an_unreported_error_reaches_a_later_open() {
        let seq = ErrSeq::new();
        seq.record(Errno::ENOSPC);
        let late = seq.sample();
        assert!(seq.pending(&late));
        assert_eq!(seq.report(&late), Err(Errno::ENOSPC));
        assert!(!seq.pending(&late));
    }

    #[test]
    fn the_same_error_again_is_news() {
        let seq = ErrSeq::new();
        let a = seq.sample();
        for _ in 0..3 {
            seq.record(Errno::EIO);
            seq.record(Errno::EIO);
            assert_eq!(seq.report(&a), Err(Errno::EIO));
            assert_eq!(seq.report(&a), Ok(()));
        }
    }
}
