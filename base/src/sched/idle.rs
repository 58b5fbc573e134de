//! Which CPUs halt, and how many tasks wait: what a CPU that goes to sleep and one that makes a task ready tell each other.
//!
//! # The contract
//!
//! ```text
//!   who finds nothing to run                  who makes a task ready
//!   ------------------------                  ----------------------
//!   H1  mark itself as halting                T1  put it into a queue, count it there
//!   H2  fence (SeqCst)                        T2  fence (SeqCst)
//!   H3  look at the counts of all queues;     T3  look for a marked CPU that may run it
//!       not 0: take a task, unmark            T4  take the mark away, interrupt that CPU
//!   H4  halt; once the mark is gone: H1
//! ```
//!
//! # Why nobody halts beside work
//!
//! Of the two fences one comes first in the order of all SeqCst fences. If H2 comes first, T3 sees the mark. If T2 comes first, H3
//! sees the count. So never does the one miss the task *and* the other miss the CPU. A CPU that is called between H3 and H4 halts with
//! the interrupt pending, since interrupts are masked until the halt unmasks them: it wakes at once.
//!
//! What else makes a task one that another CPU may take is a T1 as well: it leaves the CPU it was on, or its affinity grows.
//!
//! While the mark stands nobody has called the CPU, so whatever other interrupt wakes it, it may halt again without a look at the
//! queues of others.
use crate::sync::atomic::{AtomicU32, Ordering, fence};

/// The CPUs that halt, or are about to, and that nobody has called yet: a bit for each.
#[derive(Default)]
pub struct Halting(AtomicU32);

impl Halting {
    /// No CPU.
    #[cfg(not(any(loom, shuttle)))]
    pub const fn new() -> Halting {
        Halting(AtomicU32::new(0))
    }
    /// No CPU.
    #[cfg(any(loom, shuttle))]
    pub fn new() -> Halting {
        Halting(AtomicU32::new(0))
    }

    /// H1 to H3: the mark comes before the last look, else a task that is made ready between them waits beside a CPU that halts. `None`:
    /// there is nothing, and `cpu` may halt if it is still [marked](Self::is_marked).
    #[inline]
    pub fn last_look<T>(&self, cpu: usize, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        crate::mistake!("last-look", return (look(), self.mark(cpu)).0);
        self.mark(cpu);
        fence(Ordering::SeqCst);
        look()
    }

    /// H1, which is enough where there is one CPU.
    #[inline]
    pub fn mark(&self, cpu: usize) {
        self.0.fetch_or(1 << cpu, Ordering::SeqCst);
    }

    /// `cpu` has found something to run.
    #[inline]
    pub fn unmark(&self, cpu: usize) {
        if self.is_marked(cpu) {
            self.0.fetch_and(!(1 << cpu), Ordering::SeqCst);
        }
    }

    /// Whether `cpu` halts and nobody has called it.
    #[inline]
    pub fn is_marked(&self, cpu: usize) -> bool {
        self.marked() & 1 << cpu != 0
    }

    /// All that are marked at this moment.
    #[inline]
    pub fn marked(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// T2 to T4 for one CPU: whether it was marked, and has to be interrupted therefore.
    #[inline]
    pub fn claim(&self, cpu: usize) -> bool {
        self.call(1 << cpu).is_some()
    }

    /// T2 to T4: takes the mark of one of the CPUs in `allowed` away; the caller interrupts it. `None`: none was marked.
    pub fn call(&self, allowed: u32) -> Option<usize> {
        fence(Ordering::SeqCst);
        loop {
            let marked = self.marked() & allowed;
            if marked == 0 {
                return None;
            }
            let cpu = marked.trailing_zeros();
            if self.0.fetch_and(!(1 << cpu), Ordering::SeqCst) & 1 << cpu != 0 {
                return Some(cpu as usize);
            }
        }
    }
}

/// How many tasks stand in a queue, for those who look without its lock.
#[derive(Default)]
pub struct Waiting(AtomicU32);

impl Waiting {
    /// None.
    #[cfg(not(any(loom, shuttle)))]
    pub const fn new() -> Waiting {
        Waiting(AtomicU32::new(0))
    }
    /// None.
    #[cfg(any(loom, shuttle))]
    pub fn new() -> Waiting {
        Waiting(AtomicU32::new(0))
    }

    /// So many.
    #[inline]
    pub fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
    /// One more. Under the lock of the queue.
    #[inline]
    pub fn more(&self) {
        self.0.store(self.count() + 1, Ordering::Relaxed);
    }
    /// One less. Under the lock of the queue.
    #[inline]
    pub fn less(&self) {
        self.0.store(self.count() - 1, Ordering::Relaxed);
    }
}
