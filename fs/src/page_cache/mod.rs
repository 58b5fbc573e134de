//! The page cache: folios, the mapping of one inode, and the memory policy over all of them.
//!
//! | file | contents |
//! |---|---|
//! | `state` | the state word of a folio: flags and the bits of its sectors, pure |
//! | `folio` | a folio, its lock and its waits |
//! | `transitions` | dirty, writeback, redirty: the changes of state that search tags follow (FS-1 to FS-13) |
//! | `tree` | the radix tree with search tags, pure |
//! | `mapping` | the folios of one inode: find, create, scan |
//! | `remove` | truncation, invalidation |
//! | `rmap` | what user mappings must do for the cache |
//! | `cache` | the whole cache: figures, limits, throttling |
//! | `clock` | eviction |
//!
//! What it does not do: it knows neither extents nor devices. Filling and writing back stand in [`crate::iomap`].
//!
//! # Who is ordered by what
//!
//! | | read (hit) | read (fill) | buffered write | write-through | writeback | truncate | eviction |
//! |---|---|---|---|---|---|---|---|
//! | read (hit) | - | uptodate bits | size after data | size after data | - | size, then attached | holds an `Arc` |
//! | read (fill) | | folio lock | folio lock | folio lock | - | invalidate lock | folio lock |
//! | buffered write | | | inode lock | `wt` mark | folio lock | inode lock | folio lock |
//! | write-through | | | | `wt` mark | writeback flag | drain, inode lock | writeback flag |
//! | writeback | | | | | writeback flag | writeback flag | writeback flag |
//! | truncate | | | | | | inode lock | folio lock |
//!
//! # Locks
//!
//! A folio lock (`Rank::Folio`) may be held across sleeps: device reads into the folio, waits for its writeback. The ends of I/O never need
//! it. Under it the tree lock of the mapping is a leaf spin lock: flags and search tags change together under that
//! (FOL-3). The lock of the clock is a leaf as well, never taken inside the tree lock.
mod cache;
mod clock;
mod folio;
mod mapping;
mod remove;
mod rmap;
mod state;
#[cfg(test)]
mod tests;
mod transitions;
mod tree;

pub use cache::{CacheFigures, CacheLimits, PageCache};
pub use folio::{Folio, FolioGuard, LockedFolio};
pub use mapping::Mapping;
pub use rmap::ReverseMap;
pub use state::State;
pub use tree::Tag;
