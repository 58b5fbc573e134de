//! Event counters: what `/proc/sluice/counters` shows and what tests compare.
use core::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $variant:ident => $name:literal,)*) => {
        /// A counted event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Counter { $($(#[doc = $doc])* $variant,)* }
        /// Every counter with its name, in the order of display.
        pub const ALL: &[(Counter, &str)] = &[$((Counter::$variant, $name),)*];
    };
}
counters! {
    /// Bios submitted to a device.
    Bios => "bios",
    /// Read bios.
    BioReads => "bio_reads",
    /// Write bios.
    BioWrites => "bio_writes",
    /// Flushes submitted to a device.
    Flushes => "flushes",
    /// Doorbell writes.
    Kicks => "kicks",
    /// Doorbell writes the device's event index made unnecessary.
    KicksSuppressed => "kicks_suppressed",
    /// Device interrupts.
    Interrupts => "interrupts",
    /// Work items run.
    WorkItems => "work_items",
    /// Sleeps in `drain` (DIO-6).
    DrainWaits => "drain_waits",
    /// Sleeps for a stable folio (STB-2).
    StableWaits => "stable_waits",
    /// Sleeps for a folio lock.
    FolioLockWaits => "folio_lock_waits",
    /// Write-through contexts started.
    WtStarted => "wt_started",
    /// Write-through contexts finished.
    WtFinished => "wt_finished",
    /// Metadata commits.
    Commits => "commits",
    /// Folios evicted.
    Evictions => "evictions",
    /// Task switches.
    Switches => "switches",
    /// System calls that do not exist here.
    UnknownSyscalls => "unknown_syscalls",
}

static VALUES: [AtomicU64; ALL.len()] = [const { AtomicU64::new(0) }; ALL.len()];

/// Adds `n` to a counter. Any context.
#[inline]
pub fn add(counter: Counter, n: u64) {
    VALUES[counter as usize].fetch_add(n, Ordering::Relaxed);
}
/// Adds one to a counter. Any context.
#[inline]
pub fn count(counter: Counter) {
    add(counter, 1);
}
/// The counter's value now.
pub fn get(counter: Counter) -> u64 {
    VALUES[counter as usize].load(Ordering::Relaxed)
}

macro_rules! gauges {
    ($($(#[doc = $doc:literal])* $variant:ident => $name:literal,)*) => {
        /// Something that exists now and must be gone when the system is quiet (CTX-9, HK-5).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Gauge { $($(#[doc = $doc])* $variant,)* }
        /// Every gauge with its name, in the order of display.
        pub const GAUGES: &[(Gauge, &str)] = &[$((Gauge::$variant, $name),)*];
    };
}
gauges! {
    /// Write-through contexts.
    LiveContexts => "live_contexts",
    /// I/Os that a drain waits for.
    DrainCounts => "drain_counts",
    /// Folios marked `wt`.
    WtFolios => "wt_folios",
    /// Holders of write-freeze protection.
    FreezeHolders => "freeze_holders",
    /// Byte ranges of inodes that are locked or waited for.
    RangeLocks => "range_locks",
}

static LEVELS: [AtomicU64; GAUGES.len()] = [const { AtomicU64::new(0) }; GAUGES.len()];

/// One more of them. Any context.
#[inline]
pub fn raise(gauge: Gauge) {
    LEVELS[gauge as usize].fetch_add(1, Ordering::Relaxed);
}
/// One less of them. Any context.
#[inline]
pub fn lower(gauge: Gauge) {
    let before = LEVELS[gauge as usize].fetch_sub(1, Ordering::Relaxed);
    debug_assert!(before > 0, "{gauge:?} falls below zero");
}
/// How many there are now.
pub fn level(gauge: Gauge) -> u64 {
    LEVELS[gauge as usize].load(Ordering::Relaxed)
}

static MOST_IN_FLIGHT: AtomicU64 = AtomicU64::new(0);

/// A disk has `requests` at once. Any context.
#[inline]
pub fn in_flight(requests: u64) {
    if requests > MOST_IN_FLIGHT.load(Ordering::Relaxed) {
        MOST_IN_FLIGHT.fetch_max(requests, Ordering::Relaxed);
    }
}
/// The most requests that a disk had at once, since the boot or [`forget_most_in_flight`].
pub fn most_in_flight() -> u64 {
    MOST_IN_FLIGHT.load(Ordering::Relaxed)
}
/// Begins anew, for a measurement.
pub fn forget_most_in_flight() {
    MOST_IN_FLIGHT.store(0, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_and_gauges_come_back() {
        let before = get(Counter::UnknownSyscalls);
        add(Counter::UnknownSyscalls, 2);
        count(Counter::UnknownSyscalls);
        assert_eq!(get(Counter::UnknownSyscalls) - before, 3);
        raise(Gauge::FreezeHolders);
        assert_eq!(level(Gauge::FreezeHolders), 1);
        lower(Gauge::FreezeHolders);
        assert_eq!(level(Gauge::FreezeHolders), 0);
    }
}
