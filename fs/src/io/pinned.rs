//! Frames pinned for direct I/O, and the account that bounds how many there are.
use base::block::Segment;
use base::{Errno, Result};
use core::ops::Deref;
use core::sync::atomic::{AtomicUsize, Ordering};
use smallvec::SmallVec;

/// How many frames of user memory are pinned at a time, all callers together. Without a bound, programs that start I/O on a slow
/// device could keep all memory from being unmapped or evicted.
pub struct PinAccount {
    // Plain counters: they order nothing.
    pages: AtomicUsize,
    limit: AtomicUsize,
}

impl PinAccount {
    /// An account without charges that allows `limit` frames.
    pub const fn new(limit: usize) -> PinAccount {
        PinAccount { pages: AtomicUsize::new(0), limit: AtomicUsize::new(limit) }
    }
    /// Sets how many frames may be pinned; what is pinned stays.
    pub fn set_limit(&self, pages: usize) {
        self.limit.store(pages, Ordering::Relaxed);
    }
    /// Frames that are pinned now. A frame counts once for each pin.
    pub fn pages(&self) -> usize {
        self.pages.load(Ordering::Relaxed)
    }
    fn take(&self, pages: usize) -> Result<()> {
        let limit = self.limit.load(Ordering::Relaxed);
        let before = self.pages.fetch_add(pages, Ordering::Relaxed);
        if before.saturating_add(pages) > limit {
            self.give_back(pages);
            return Err(Errno::ENOMEM);
        }
        Ok(())
    }
    fn give_back(&self, pages: usize) {
        self.pages.fetch_sub(pages, Ordering::Relaxed);
    }
}

/// Segments pinned for direct I/O, with what they are charged to. They are let go in task context: that may free
/// frames. A device that reads into folios which a mapping has lent may change bytes that are on their way to a disk; nothing depends
/// on those (STB-8).
#[derive(Default)]
pub struct Pinned {
    segments: SmallVec<[Segment; 4]>,
    charged: Option<(&'static PinAccount, usize)>,
}

impl Pinned {
    /// Nothing pinned.
    pub fn new() -> Pinned {
        Pinned::default()
    }
    /// Adds memory that is nobody's to account for: frames of the kernel's own.
    pub fn push(&mut self, segment: Segment) {
        self.segments.push(segment);
    }
    /// Charges `pages` frames, which are pushed next, to `account`; the same one for all of a request. Errors: `ENOMEM`, the
    /// limit is reached.
    pub fn charge(&mut self, account: &'static PinAccount, pages: usize) -> Result<()> {
        account.take(pages)?;
        let charged = self.charged.get_or_insert((account, 0));
        debug_assert!(core::ptr::eq(charged.0, account));
        charged.1 += pages;
        Ok(())
    }
    /// Lets go of everything.
    pub fn clear(&mut self) {
        self.segments.clear();
        if let Some((account, pages)) = self.charged.take() {
            account.give_back(pages);
        }
    }
}

impl Deref for Pinned {
    type Target = [Segment];
    fn deref(&self) -> &[Segment] {
        &self.segments
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_is_refused_at_the_limit_and_ends_with_its_pins() {
        static ACCOUNT: PinAccount = PinAccount::new(3);
        let (mut first, mut second) = (Pinned::new(), Pinned::new());
        first.charge(&ACCOUNT, 1).unwrap();
        first.charge(&ACCOUNT, 1).unwrap();
        assert_eq!(second.charge(&ACCOUNT, 2), Err(Errno::ENOMEM));
        assert_eq!(ACCOUNT.pages(), 2, "a refused charge leaves nothing behind");
        second.charge(&ACCOUNT, 1).unwrap();
        first.clear();
        assert_eq!(ACCOUNT.pages(), 1);
        drop(second);
        assert_eq!(ACCOUNT.pages(), 0);
    }
}
