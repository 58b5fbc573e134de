//! Memory policy: fallible allocation with a second try after reclaim, and failures that a test plans (HK-4).
//!
//! Whoever keeps memory that can be had again (the page cache) registers a [`Shrinker`]. A page allocation that fails asks
//! the shrinkers and tries once more; then it is `ENOMEM`, which every caller has to bring to an orderly end.
//!
//! # Who may take the last frame
//!
//! The kernel promises programs more memory than there is, and must live when they take it at its word. So frames are kept back
//! ([`set_reserve`]), in three steps:
//!
//! | free frames | who still gets some |
//! |---|---|
//! | above the reserve | everybody |
//! | below it | the page cache and the kernel; not the memory of programs, nor what they make the kernel build (processes, mappings, descriptors) |
//! | below half of it | the kernel: its heap, page tables, stacks, the journal |
//!
//! Clean pages of files are given up before anybody is refused.
use crate::Page;
use crate::errno::{Errno, Result};
use crate::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

/// Pages asked back before a failed allocation is tried again.
const RECLAIM_PAGES: usize = 32;

/// Keeps memory that others may need more.
pub trait Shrinker: Send + Sync {
    /// Lets go up to `pages` pages and says how many. Task context; any lock of the file system may be held by the caller, so
    /// it must only try locks, and it must not wait for I/O (LOCK-6).
    fn reclaim(&self, pages: usize) -> usize;
}

/// Not a lock of `base`: it is held for moments only, never while a shrinker runs.
static SHRINKERS: spin::Mutex<Vec<(u64, Weak<dyn Shrinker>)>> = spin::Mutex::new(Vec::new());

/// Registers a shrinker for as long as it lives. Task context.
pub fn register_shrinker(shrinker: &Arc<dyn Shrinker>) {
    let mut all = SHRINKERS.lock();
    all.retain(|(_, s)| s.strong_count() > 0);
    all.push((scope(), Arc::downgrade(shrinker)));
}

/// Asks the shrinkers for `pages` pages; says how many came back. Task context.
pub fn reclaim(pages: usize) -> usize {
    let mut got = 0;
    for at in 0.. {
        let next = SHRINKERS.lock().get(at).map(|(s, w)| (*s == scope()).then(|| w.upgrade()).flatten());
        let Some(shrinker) = next else { break };
        got += shrinker.map_or(0, |s| s.reclaim(pages - got));
        if got >= pages {
            break;
        }
    }
    got
}

/// Frames that programs leave to the kernel; 0: none are kept back.
static RESERVE: AtomicU64 = AtomicU64::new(0);

/// Keeps the last `frames` free frames back from programs, and half of them from the page cache. The boot calls it.
pub fn set_reserve(frames: u64) {
    RESERVE.store(frames, Ordering::Relaxed);
}

/// Makes sure that a program may take a little more memory: more than the reserve is free, if need be after reclaim. Whatever makes the
/// kernel keep something for a program until it lets go asks here first. Errors: `ENOMEM`. Task context.
pub fn room_for_programs() -> Result<()> {
    let reserve = RESERVE.load(Ordering::Relaxed);
    while reserve != 0 && hal::mem::stats().free_frames <= reserve {
        if reclaim(RECLAIM_PAGES) == 0 {
            return Err(Errno::ENOMEM);
        }
    }
    Ok(())
}

/// Whether so little is free that the page cache must give up folios before it takes more. Any context.
pub fn is_short() -> bool {
    let reserve = RESERVE.load(Ordering::Relaxed);
    reserve != 0 && hal::mem::stats().free_frames <= reserve / 2
}

/// A zeroed page frame for a program. Errors: `ENOMEM`: what is left is the kernel's. Task context; reclaims if memory is short.
pub fn alloc_user_page() -> Result<Page> {
    room_for_programs()?;
    alloc_page_zeroed()
}

/// A zeroed page frame for the kernel. Errors: `ENOMEM`. Task context; reclaims if memory is short.
pub fn alloc_page_zeroed() -> Result<Page> {
    alloc(Page::alloc_zeroed)
}

fn alloc(mut one: impl FnMut() -> Option<Page>) -> Result<Page> {
    may_allocate()?;
    one().or_else(|| (reclaim(RECLAIM_PAGES) > 0).then(&mut one).flatten()).ok_or(Errno::ENOMEM)
}

/// Stands before every fallible allocation: fails where a test has planned it. Errors: `ENOMEM`.
#[inline(always)]
pub fn may_allocate() -> Result<()> {
    #[cfg(feature = "lab")]
    return lab::may_allocate();
    #[cfg(not(feature = "lab"))]
    Ok(())
}

fn scope() -> u64 {
    #[cfg(feature = "lab")]
    return crate::lab::scope();
    #[cfg(not(feature = "lab"))]
    0
}

#[cfg(feature = "lab")]
pub use lab::{FailAllocation, fail_allocation};

#[cfg(feature = "lab")]
mod lab {
    //! Planned failures (HK-4).
    use super::{Errno, Result, Vec, scope};
    use core::sync::atomic::{AtomicUsize, Ordering};

    struct Plan {
        scope: u64,
        /// Allocations that still succeed; then `failures` fail.
        pass: u64,
        failures: u64,
    }
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    static PLANS: spin::Mutex<Vec<Plan>> = spin::Mutex::new(Vec::new());

    /// The plan holds, for the tasks of one scope, while this lives.
    #[must_use = "dropping it ends the plan"]
    pub struct FailAllocation(u64);

    /// The `n`-th fallible allocation (from 1) of this scope fails, and `failures - 1` after it. One plan a scope.
    pub fn fail_allocation(n: u64, failures: u64) -> FailAllocation {
        let scope = scope();
        PLANS.lock().push(Plan { scope, pass: n.saturating_sub(1), failures });
        COUNT.fetch_add(1, Ordering::SeqCst);
        FailAllocation(scope)
    }

    impl FailAllocation {
        /// Whether all planned failures have happened.
        pub fn is_spent(&self) -> bool {
            PLANS.lock().iter().all(|p| p.scope != self.0 || p.failures == 0)
        }
    }

    impl Drop for FailAllocation {
        fn drop(&mut self) {
            PLANS.lock().retain(|p| p.scope != self.0);
            COUNT.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[inline(always)]
    pub(super) fn may_allocate() -> Result<()> {
        if COUNT.load(Ordering::Relaxed) == 0 { Ok(()) } else { ask_plans() }
    }

    #[cold]
    fn ask_plans() -> Result<()> {
        let scope = scope();
        let mut plans = PLANS.lock();
        let Some(plan) = plans.iter_mut().find(|p| p.scope == scope) else { return Ok(()) };
        if plan.pass > 0 {
            plan.pass -= 1;
            return Ok(());
        }
        if plan.failures == 0 {
            return Ok(());
        }
        plan.failures -= 1;
        Err(Errno::ENOMEM)
    }
}

#[cfg(all(test, feature = "lab", not(loom), not(shuttle)))]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn the_planned_allocation_fails_and_no_other() {
        let plan = fail_allocation(2, 1);
        assert!(alloc_page_zeroed().is_ok());
        assert_eq!(alloc_page_zeroed().err(), Some(Errno::ENOMEM));
        assert!(plan.is_spent());
        assert!(alloc_page_zeroed().is_ok());
    }

    #[test]
    fn reclaim_is_asked_once_before_enomem() {
        struct Counts(AtomicUsize);
        impl Shrinker for Counts {
            fn reclaim(&self, pages: usize) -> usize {
                self.0.fetch_add(1, Ordering::Relaxed);
                pages / 2
            }
        }
        let counts = Arc::new(Counts(AtomicUsize::new(0)));
        let shrinker: Arc<dyn Shrinker> = counts.clone();
        register_shrinker(&shrinker);
        let mut tries = 0;
        let page = alloc(|| {
            tries += 1;
            if tries == 1 { None } else { Page::alloc_zeroed() }
        });
        assert!(page.is_ok() && tries == 2);
        assert_eq!(counts.0.load(Ordering::Relaxed), 1);
        assert_eq!(alloc(|| None).err(), Some(Errno::ENOMEM));
    }
}
