//! Typed events in a ring, cheap enough to stay on.
//!
//! # The ring
//!
//! A fixed number of slots; event number `n` goes to slot `n % SLOTS` and overwrites what stood there. A writer takes its
//! number with one atomic addition, so writers (tasks, interrupts, other CPUs) never share a slot unless the ring goes round
//! while one of them is writing. Each slot carries the number of its event, zero while it is being written: a reader that
//! finds another number before or after reading the words drops the event. Nothing waits, nothing is locked.
//!
//! There is one ring for each CPU that runs tasks, which today is one.
use arrayvec::ArrayString;
use core::sync::atomic::{AtomicU64, Ordering, fence};

/// Events that are kept; a power of two.
pub const SLOTS: usize = 8192;
/// Tasks whose names are kept: the latest ones.
const NAMES: usize = 256;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $variant:ident => $name:literal,)*) => {
        /// What happened. The two words of an event are described with each kind.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub enum Kind { $($(#[doc = $doc])* $variant,)* }

        impl Kind {
            /// Every kind, in the order of its number.
            pub const ALL: &[Kind] = &[$(Kind::$variant,)*];
            /// The name in exports, such as `wt.submit`.
            pub fn name(self) -> &'static str {
                match self { $(Kind::$variant => $name,)* }
            }
        }
    };
}
kinds! {
    /// A write-through context was made. (inode, position)
    WtSubmit => "wt.submit",
    /// (sector, bytes)
    BioSubmit => "bio.submit",
    /// (sector, status: 0 or errno)
    BioEnd => "bio.end",
    /// The finish began. (inode, position)
    WtFinish => "wt.finish",
    /// F1, extents converted. (inode, position)
    WtConvert => "wt.convert",
    /// F4. (inode, count that remains)
    WtDropDrain => "wt.drop_drain",
    /// F6, the outcome is visible. (inode, result)
    WtDone => "wt.done",
    /// A task sleeps in drain. (inode, count)
    DrainWait => "drain.wait",
    /// (inode, 0)
    DrainDone => "drain.done",
    /// (inode, new size)
    TruncateBegin => "truncate.begin",
    /// (inode, new size)
    TruncateEnd => "truncate.end",
    /// (number, first argument)
    Syscall => "syscall",
    /// (number, result)
    SyscallRet => "syscall.ret",
    /// A disk's interrupt. (what it has interrupted for: 0 its queue, 0)
    Irq => "irq",
    /// Written by a program through `/proc/sluice/trace`. (value, 0)
    Mark => "mark",
    /// A task was started. (its id, 0)
    TaskStart => "task.start",
}

/// One recorded event.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Its number since boot, from 1.
    pub number: u64,
    /// When, on the clock of [`crate::time::now_ns`].
    pub time_ns: u64,
    /// The task that ran; in an interrupt, the one it interrupted. See [`thread_name`].
    pub thread: u64,
    /// What happened.
    pub kind: Kind,
    /// First word.
    pub a: u64,
    /// Second word.
    pub b: u64,
}

struct Slot {
    number: AtomicU64,
    time_ns: AtomicU64,
    /// Thread in the upper 48 bits, kind in the lower 16.
    what: AtomicU64,
    a: AtomicU64,
    b: AtomicU64,
}

static TAKEN: AtomicU64 = AtomicU64::new(0);
static RING: [Slot; SLOTS] = [const {
    Slot {
        number: AtomicU64::new(0),
        time_ns: AtomicU64::new(0),
        what: AtomicU64::new(0),
        a: AtomicU64::new(0),
        b: AtomicU64::new(0),
    }
}; SLOTS];

/// Records an event with two words. Any context; no allocation, no lock.
#[inline]
pub fn record(kind: Kind, a: u64, b: u64) {
    let number = TAKEN.fetch_add(1, Ordering::Relaxed) + 1;
    let slot = &RING[number as usize % SLOTS];
    slot.number.store(0, Ordering::Relaxed);
    // A reader that sees one of the words below sees the zero as well.
    fence(Ordering::Release);
    slot.time_ns.store(crate::time::now_ns(), Ordering::Relaxed);
    slot.what.store(crate::sched::current_id() << 16 | kind as u64, Ordering::Relaxed);
    slot.a.store(a, Ordering::Relaxed);
    slot.b.store(b, Ordering::Relaxed);
    slot.number.store(number, Ordering::Release);
}

/// The number of the latest event; [`since`] it there is nothing yet.
pub fn latest() -> u64 {
    TAKEN.load(Ordering::Relaxed)
}

/// The events that the ring still has, oldest first.
pub fn snapshot() -> impl Iterator<Item = Event> {
    since(0)
}

/// The events after number `number` that the ring still has, oldest first. Events that are overwritten meanwhile are left
/// out.
pub fn since(number: u64) -> impl Iterator<Item = Event> {
    let last = latest();
    let first = number.max(last.saturating_sub(SLOTS as u64)) + 1;
    (first..=last).filter_map(event)
}

fn event(number: u64) -> Option<Event> {
    let slot = &RING[number as usize % SLOTS];
    if slot.number.load(Ordering::Acquire) != number {
        return None;
    }
    let what = slot.what.load(Ordering::Relaxed);
    let event = Event {
        number,
        time_ns: slot.time_ns.load(Ordering::Relaxed),
        thread: what >> 16,
        kind: *Kind::ALL.get(what as usize & 0xffff)?,
        a: slot.a.load(Ordering::Relaxed),
        b: slot.b.load(Ordering::Relaxed),
    };
    fence(Ordering::Acquire);
    (slot.number.load(Ordering::Relaxed) == number).then_some(event)
}

/// The name of a task, kept beyond its end: id, then 16 bytes of name.
struct Name {
    id: AtomicU64,
    bytes: [AtomicU64; 2],
}
static THREAD_NAMES: [Name; NAMES] =
    [const { Name { id: AtomicU64::new(0), bytes: [const { AtomicU64::new(0) }; 2] } }; NAMES];

/// Keeps the name of task `id` for exports: its first 16 bytes, instead of the one it had. The task itself, or who starts it.
pub fn set_thread_name(id: u64, name: &str) {
    let mut bytes = [0; 16];
    let len = name.len().min(bytes.len());
    bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
    let word = |half: usize| u64::from_le_bytes(core::array::from_fn(|i| bytes[half * 8 + i]));
    let slot = &THREAD_NAMES[id as usize % NAMES];
    slot.id.store(0, Ordering::Relaxed);
    fence(Ordering::Release);
    slot.bytes[0].store(word(0), Ordering::Relaxed);
    slot.bytes[1].store(word(1), Ordering::Relaxed);
    slot.id.store(id, Ordering::Release);
}

/// The name of task `id`; `None` if it was long ago. Any context.
pub fn thread_name(id: u64) -> Option<ArrayString<16>> {
    let slot = &THREAD_NAMES[id as usize % NAMES];
    if id == 0 || slot.id.load(Ordering::Acquire) != id {
        return None;
    }
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&slot.bytes[0].load(Ordering::Relaxed).to_le_bytes());
    bytes[8..].copy_from_slice(&slot.bytes[1].load(Ordering::Relaxed).to_le_bytes());
    fence(Ordering::Acquire);
    let len = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    let name = core::str::from_utf8(&bytes[..len]).ok()?;
    (slot.id.load(Ordering::Relaxed) == id).then(|| ArrayString::from(name).ok()).flatten()
}

#[cfg(all(test, not(loom), not(shuttle)))]
mod tests {
    use super::*;
    use alloc::boxed::Box;
    use alloc::vec::Vec;

    /// Other tests record at the same time: ours are told by their first word.
    fn ours(from: u64, tag: u64) -> Vec<Event> {
        since(from).filter(|e| e.kind == Kind::Mark && e.a == tag).collect()
    }

    #[test]
    fn events_come_back_in_order_with_time_and_thread() {
        let from = latest();
        record(Kind::Mark, 0xfeed_0001, 1);
        record(Kind::Mark, 0xfeed_0001, 2);
        let events = ours(from, 0xfeed_0001);
        assert_eq!(events.iter().map(|e| e.b).collect::<Vec<_>>(), [1, 2]);
        assert!(events[0].number < events[1].number && events[0].time_ns <= events[1].time_ns);
        assert!(events.iter().all(|e| e.thread == crate::sched::current_id()));
    }

    #[test]
    fn the_ring_keeps_the_latest() {
        let from = latest();
        (0..2 * SLOTS as u64).for_each(|i| record(Kind::Mark, 0xfeed_0002, i));
        let events = ours(from, 0xfeed_0002);
        assert!(events.len() <= SLOTS);
        assert_eq!(events.last().map(|e| e.b), Some(2 * SLOTS as u64 - 1));
        assert!(events.windows(2).all(|w| w[0].b < w[1].b));
    }

    #[test]
    fn names_outlive_their_tasks() {
        let task = crate::sched::spawn("a-rather-long-name", Box::new(|| {})).unwrap();
        task.join();
        assert_eq!(thread_name(task.id()).unwrap().as_str(), "a-rather-long-na");
        set_thread_name(task.id(), "another");
        assert_eq!(thread_name(task.id()).unwrap().as_str(), "another");
        assert_eq!(Kind::WtSubmit.name(), "wt.submit");
    }
}
