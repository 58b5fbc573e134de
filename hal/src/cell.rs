//! [`ShareCell`]: the word and the data of a readers-writer lock that never waits by itself.
//!
//! `base` builds its sleeping locks on it: it tries, and sleeps on a wait queue when the try fails. The cell stands here
//! because handing out references from a shared place needs `unsafe`; how to wait is policy and stands in `base`.
//!
//! # The word
//!
//! ```text
//!   bit 31 WRITER    somebody holds the data exclusively
//!   bit 30 PENDING   a writer waits: new readers stay out, so that writers do not starve
//!   bits 29..0       number of readers
//! ```
//!
//! Whoever takes the word does so with acquire order, whoever gives it back with release order, so that everything done
//! under one holder happens before what the next one does.
#[cfg(not(target_os = "none"))]
use crate::sync::atomic::{AtomicU32, Ordering};
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
#[cfg(target_os = "none")]
use core::sync::atomic::{AtomicU32, Ordering};

const WRITER: u32 = 1 << 31;
const PENDING: u32 = 1 << 30;
const READERS: u32 = PENDING - 1;

/// Data that many may read or one may write; taking it never waits.
///
/// # Invariants
///
/// * While `WRITER` is set there is exactly one [`Exclusive`] and no [`Shared`] of this cell.
/// * The number of [`Shared`] is the number in `READERS`.
pub struct ShareCell<T: ?Sized> {
    word: AtomicU32,
    /// Lets the weak-memory checker see who touches the data.
    #[cfg(loom)]
    watch: loom::cell::UnsafeCell<()>,
    data: core::cell::UnsafeCell<T>,
}

// SAFETY: the cell owns its data, so it may move with it.
unsafe impl<T: ?Sized + Send> Send for ShareCell<T> {}
// SAFETY: by the invariants references follow the rule "many readers or one writer"; `T: Send` because a writer may move
// the value out to its thread, `T: Sync` because readers share it.
unsafe impl<T: ?Sized + Send + Sync> Sync for ShareCell<T> {}

impl<T> ShareCell<T> {
    /// A free cell around `value`.
    pub fn new(value: T) -> Self {
        ShareCell {
            word: AtomicU32::new(0),
            #[cfg(loom)]
            watch: loom::cell::UnsafeCell::new(()),
            data: core::cell::UnsafeCell::new(value),
        }
    }
}

impl<T: ?Sized> ShareCell<T> {
    /// Takes the data shared, unless a writer holds it or has announced itself. Any context.
    #[inline]
    pub fn try_shared(&self) -> Option<Shared<'_, T>> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word & (WRITER | PENDING) != 0 || word & READERS == READERS {
                return None;
            }
            match self.word.compare_exchange_weak(word, word + 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(Shared::new(self)),
                Err(seen) => word = seen,
            }
        }
    }

    /// Takes the data exclusively if nobody holds it; withdraws the announcement of a writer. Any context.
    #[inline]
    pub fn try_exclusive(&self) -> Option<Exclusive<'_, T>> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word & !PENDING != 0 {
                return None;
            }
            match self.word.compare_exchange_weak(word, WRITER, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(Exclusive::new(self)),
                Err(seen) => word = seen,
            }
        }
    }

    /// Keeps new readers out until the next writer has come and gone. Only for a writer that waits: it must go on trying.
    pub fn announce_writer(&self) {
        self.word.fetch_or(PENDING, Ordering::Relaxed);
    }

    /// Whether nobody holds the data at this moment.
    #[inline]
    pub fn is_free(&self) -> bool {
        self.word.load(Ordering::Relaxed) & !PENDING == 0
    }

    /// Whether somebody holds the data exclusively at this moment.
    #[inline]
    pub fn is_exclusive(&self) -> bool {
        self.word.load(Ordering::Relaxed) & WRITER != 0
    }

    /// The data, without locking: the borrow proves that nobody else has it.
    pub fn get_mut(&mut self) -> &mut T {
        self.data.get_mut()
    }
}

/// A shared hold on a [`ShareCell`]; dropping it gives it back.
#[must_use = "dropping the guard lets the data go"]
pub struct Shared<'a, T: ?Sized> {
    cell: &'a ShareCell<T>,
    #[cfg(loom)]
    watch: Option<loom::cell::ConstPtr<()>>,
    /// A hold belongs to the task that took it.
    _task: PhantomData<*const ()>,
}

impl<'a, T: ?Sized> Shared<'a, T> {
    #[inline]
    fn new(cell: &'a ShareCell<T>) -> Self {
        Shared {
            cell,
            #[cfg(loom)]
            watch: Some(cell.watch.get()),
            _task: PhantomData,
        }
    }
}

impl<T: ?Sized> Deref for Shared<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this hold is counted in READERS, so by the cell's invariants no writer exists while it lives.
        unsafe { &*self.cell.data.get() }
    }
}

impl<T: ?Sized> Drop for Shared<'_, T> {
    #[inline]
    fn drop(&mut self) {
        #[cfg(loom)]
        drop(self.watch.take());
        self.cell.word.fetch_sub(1, Ordering::Release);
    }
}

/// The exclusive hold on a [`ShareCell`]; dropping it gives it back.
#[must_use = "dropping the guard lets the data go"]
pub struct Exclusive<'a, T: ?Sized> {
    cell: &'a ShareCell<T>,
    #[cfg(loom)]
    watch: Option<loom::cell::MutPtr<()>>,
    /// A hold belongs to the task that took it.
    _task: PhantomData<*const ()>,
}

impl<'a, T: ?Sized> Exclusive<'a, T> {
    #[inline]
    fn new(cell: &'a ShareCell<T>) -> Self {
        Exclusive {
            cell,
            #[cfg(loom)]
            watch: Some(cell.watch.get_mut()),
            _task: PhantomData,
        }
    }
}

impl<T: ?Sized> Deref for Exclusive<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this hold set WRITER, so by the cell's invariants it is the only one.
        unsafe { &*self.cell.data.get() }
    }
}

impl<T: ?Sized> DerefMut for Exclusive<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; `&mut self` makes this the only reference made from the hold.
        unsafe { &mut *self.cell.data.get() }
    }
}

impl<T: ?Sized> Drop for Exclusive<'_, T> {
    #[inline]
    fn drop(&mut self) {
        #[cfg(loom)]
        drop(self.watch.take());
        self.cell.word.fetch_and(!WRITER, Ordering::Release);
    }
}

#[cfg(all(test, not(loom), not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn readers_share_and_a_writer_excludes() {
        let cell = ShareCell::new(1);
        let a = cell.try_shared().unwrap();
        let b = cell.try_shared().unwrap();
        assert!(cell.try_exclusive().is_none());
        assert_eq!(*a + *b, 2);
        drop((a, b));
        let mut w = cell.try_exclusive().unwrap();
        *w = 5;
        assert!(cell.try_shared().is_none() && cell.try_exclusive().is_none() && cell.is_exclusive());
        drop(w);
        assert_eq!(*cell.try_shared().unwrap(), 5);
    }

    #[test]
    fn an_announced_writer_keeps_new_readers_out() {
        let cell = ShareCell::new(());
        let early = cell.try_shared().unwrap();
        cell.announce_writer();
        assert!(cell.try_shared().is_none());
        drop(early);
        assert!(cell.is_free());
        drop(cell.try_exclusive().unwrap());
        assert!(cell.try_shared().is_some());
    }
}
