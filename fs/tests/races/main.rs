//! The races of SEMANTICS A28, each a deterministic test under its name: ext4 on a disk in memory behind a gate, tasks stopped
//! at anchors, no sleeps and no luck. Each test ends with an orderly unmount and `e2fsck -fn`.
//!
//! | file | races |
//! |---|---|
//! | `truncate` | truncate and plain fallocate against write-through |
//! | `ranges` | punch, zero, collapse and insert against write-through |
//! | `readers` | reads, reclaim and conversion |
//! | `overlap` | overlapping writers, appends, depth |
//! | `completion` | contexts, queues, workers |
//! | `log` | commits against writes and their finishes |
#![cfg(not(any(loom, shuttle)))]
mod calls;
mod completion;
mod log;
mod overlap;
mod ranges;
mod readers;
mod stage;
mod truncate;
