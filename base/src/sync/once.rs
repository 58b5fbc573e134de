//! A value that is made at its first use.
use super::{Mutex, Rank};
use crate::errno::Result;

/// A place that is filled at most once. Looking costs one load; of several first users one makes the value and the others
/// wait for it (QUE-2).
pub struct Once<T> {
    value: spin::Once<T>,
    making: Mutex<()>,
}

impl<T> Once<T> {
    /// An empty place. Making the value takes a lock of `rank`: nothing at or before it may be locked meanwhile.
    pub fn new(rank: Rank) -> Self {
        Once { value: spin::Once::new(), making: Mutex::new(rank, ()) }
    }

    /// The value, if it has been made. Any context.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// The value; the first call makes it, and a failure leaves the place empty for the next one to try. Task context;
    /// sleeps while somebody else makes it. Errors: those of `make`.
    pub fn get_or_try_init(&self, make: impl FnOnce() -> Result<T>) -> Result<&T> {
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        let _making = self.making.lock();
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        let value = make()?;
        Ok(self.value.call_once(|| value))
    }
}

#[cfg(all(test, not(loom), not(shuttle)))]
mod tests {
    use super::*;
    use crate::errno::Errno;

    #[test]
    fn a_failure_leaves_the_place_empty() {
        let once = Once::new(Rank::Leaf);
        assert_eq!(once.get_or_try_init(|| Err(Errno::ENOMEM)), Err(Errno::ENOMEM));
        assert_eq!(once.get(), None);
        assert_eq!(once.get_or_try_init(|| Ok(1)), Ok(&1));
        assert_eq!(once.get_or_try_init(|| Ok(2)), Ok(&1));
    }
}
