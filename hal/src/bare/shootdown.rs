//! Translations of user addresses that other CPUs may have cached: all of them must forget, before a frame is used otherwise.
//!
//! Each CPU shows in its area which root table it has loaded, and which one it is about to load. Who changes an entry looks at
//! these words afterwards and asks the CPUs that have the root: one request at a time, one interrupt for each CPU, whatever the
//! number of pages. They answer from the interrupt, the asker waits for all of them.
//!
//! # Why no CPU keeps an old translation
//!
//! ```text
//!   who changes an entry                     who loads the root
//!   C1  change the entry                     L1  show the root as the one to come
//!   C2  fence (SeqCst)                       L2  write CR3: forgets all that is cached, is a fence
//!   C3  look at what the CPUs show           L3  show it as loaded, and none to come
//! ```
//!
//! If C3 does not see L1, L2 comes after C1: that CPU can only find the new entry. A CPU that leaves a root shows it as
//! loaded until CR3 has another: when nobody shows a root, no CPU walks its tables, and they can be freed.
//!
//! # Why it ends
//!
//! Who asks waits with interrupts on and holds no `IrqLock`. So it answers others meanwhile, and no CPU that has interrupts
//! off waits for it. One that asks with interrupts off nevertheless answers by itself in the loop.
//!
//! # What is not needed
//!
//! Mappings of the kernel's half are only ever added, and what isn't present isn't cached. An entry that gives more rights
//! than before needs no telling either: a fault drops what the CPU had cached, and the kernel finds the rights given.
use super::paging::{self, load_root};
use super::percpu::this_cpu;
use super::sync::SpinLock;
use super::{irq, smp};
use core::ops::Range;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use x86_64::instructions::tlb;

/// More pages than this are forgotten by forgetting everything.
const MOST_PAGES: u64 = 32;
const PAGE: u64 = crate::PAGE_SIZE as u64;

/// The request; valid while a bit of `WAITING` is set.
static ROOT: AtomicU64 = AtomicU64::new(0);
static FROM: AtomicU64 = AtomicU64::new(0);
static TO: AtomicU64 = AtomicU64::new(0);
/// The CPUs that have not answered yet.
static WAITING: AtomicU32 = AtomicU32::new(0);
static TURN: SpinLock<()> = SpinLock::new(());

/// All CPUs forget what they have cached of `range` under the tables at `root`. The entries have been changed. Task context,
/// no `IrqLock` held.
#[inline]
pub(super) fn flush(root: u64, range: Range<u64>) {
    if this_cpu().active_root.load(Ordering::Relaxed) == root {
        forget(range.clone());
    }
    if smp::online() > 1 {
        ask(root, range);
    }
}

/// No CPU has the tables at `root` loaded when this returns. Task context, no `IrqLock` held.
pub(super) fn unload(root: u64) {
    irq::with_disabled(|| unload_here(root));
    if smp::online() > 1 {
        ask(root, 0..0);
    }
}

fn unload_here(root: u64) {
    if this_cpu().active_root.load(Ordering::Relaxed) == root {
        // SAFETY: the kernel's own tables stay for ever.
        unsafe { load_root(paging::kernel_root()) };
    }
}

fn forget(range: Range<u64>) {
    if (range.end - range.start) / PAGE > MOST_PAGES {
        tlb::flush_all();
    } else {
        range.step_by(PAGE as usize).for_each(paging::flush);
    }
}

#[cold]
fn ask(root: u64, range: Range<u64>) {
    // C2. The entry's change is before it, the loads of what CPUs show after it.
    fence(Ordering::SeqCst);
    let users = smp::others().filter(|&cpu| smp::has_root(cpu, root)).fold(0, |mask, cpu| mask | 1 << cpu);
    if users == 0 {
        return;
    }
    debug_assert!(!irq::in_interrupt(), "an interrupt handler must not wait for other CPUs");
    let turn = wait_for(|| TURN.try_lock());
    ROOT.store(root, Ordering::Relaxed);
    FROM.store(range.start, Ordering::Relaxed);
    TO.store(range.end, Ordering::Relaxed);
    WAITING.store(users, Ordering::Release);
    (0..smp::MAX_CPUS).filter(|cpu| users & 1 << cpu != 0).for_each(smp::send_flush);
    wait_for(|| (WAITING.load(Ordering::Acquire) == 0).then_some(()));
    drop(turn);
}

fn wait_for<T>(mut done: impl FnMut() -> Option<T>) -> T {
    let mut patience = super::sync::Patience::new(super::watchdog::Kind::Answer);
    loop {
        if let Some(value) = done() {
            return value;
        }
        if !irq::enabled() {
            answer();
        }
        patience.spin();
    }
}

/// Does what another CPU asks for, if one asks. Interrupts are off.
pub(super) fn answer() {
    let me = 1 << smp::cpu();
    if WAITING.load(Ordering::Acquire) & me == 0 {
        return;
    }
    let (root, range) = (ROOT.load(Ordering::Relaxed), FROM.load(Ordering::Relaxed)..TO.load(Ordering::Relaxed));
    if range.is_empty() {
        unload_here(root);
    } else if this_cpu().active_root.load(Ordering::Relaxed) == root {
        forget(range);
    }
    WAITING.fetch_and(!me, Ordering::Release);
}
