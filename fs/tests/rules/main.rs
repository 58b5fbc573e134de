//! The rules of SEMANTICS A4 to A19 that cannot be seen from ring 3, or not for sure: each test names its rules. Played on the
//! stage of the races: ext4 on a disk in memory behind a gate, tasks stopped at anchors, no sleeps. Each test ends with an
//! orderly unmount and `e2fsck -fn`, after a scrub that compares what is cached with what the disk has.
//!
//! | file | rules |
//! |---|---|
//! | `submission` | A4, A5: what is sent, when, and what is zero around it |
//! | `locks` | A6: which locks are held where |
//! | `completion` | A7, A8: the context, the finish, the queues |
//! | `stable` | A9: bytes in flight do not change |
//! | `cache` | A10, A16: states of a folio, readers, writeback, eviction |
//! | `errors`, `sweep` | A11: outcomes; each bio and each allocation fails in turn |
//! | `sizes` | A12: extents and the two sizes |
//! | `truncate`, `ranges` | A14; with punch and its kin, what seeks and reports of extents tell |
//! | `direct` | A15 |
//! | `mmap` | A17, A18: stores through mappings, ranges synced |
//! | `durability` | A13, A18: what survives a cut, who flushes; order of outcomes |
//! | `life` | A19: freeze, remount, shutdown |
//! | `now` | A24: write-throughs that must not sleep |
//! | `source` | user space: sources that end, fault and tell; callers; mappings |
#![cfg(not(any(loom, shuttle)))]
mod cache;
#[path = "../races/calls.rs"]
mod calls;
mod completion;
mod direct;
mod durability;
mod errors;
mod life;
mod locks;
mod mmap;
mod now;
mod ranges;
mod sizes;
mod source;
mod stable;
#[path = "../races/stage.rs"]
mod stage;
mod submission;
mod sweep;
mod truncate;
