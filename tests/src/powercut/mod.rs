//! The power cut: that nothing that was acknowledged is lost, and that every state a cut may leave is recovered.
//!
//! A workload is played on Sluice's ext4, on a disk with a volatile write cache that records every request, every flush and every
//! outcome: by this process on a disk in memory, or by the booted kernel on a block server. At many places of the record the power is cut: what was flushed is there, of the rest any part. Each such state is
//! mounted, compared with what was promised, unmounted, and checked by `e2fsck`.
//!
//! ```text
//!   workload ──▶ player ──▶ ext4 ──▶ disk ──▶ record ──▶ states ──▶ check ──▶ verdict
//!                   └── steps, outcomes ────────┘                     ▲
//!                                               └──▶ history ──▶ oracle
//! ```
//!
//! | file | contents |
//! |---|---|
//! | `user::step` (`op`), `workloads` | what is done, and in what mixes |
//! | `player` | doing it, with marks in the record |
//! | `guest` | having the booted kernel do it, with the same marks |
//! | `disk`, `record`, `store` | the disk, what happened on it, its bytes |
//! | `image`, `fsck` | `mke2fs` and `e2fsck` |
//! | `states` | what a cut may leave |
//! | `oracle` | what may be found then |
//! | `found`, `check` | finding it, and the verdict |
//! | `server`, `booted` | the same states, recovered by the kernel in QEMU |
//! | `case`, `campaign` | one run and its states; many, on all CPUs |
//! | `watch` | the end of what does not end |
//! | `minimise` | the smallest state that fails |
//! | `keep`, `timeline` | a failure for later; one cut as a picture |
//!
//! # What it does not do
//!
//! The order of threads is the host's: a seed gives the same steps and the same choices, but requests may come in another order. So a
//! state that fails is kept as an image, the smallest that fails. Metadata is not torn within blocks where there is no journal.
pub mod booted;
pub mod campaign;
pub mod case;
pub mod check;
pub mod disk;
pub mod found;
pub mod fsck;
pub mod guest;
pub mod image;
pub mod keep;
pub mod minimise;
pub mod oracle;
pub mod player;
pub mod record;
pub mod server;
pub mod states;
pub mod store;
pub mod timeline;
pub mod watch;
pub mod workloads;
pub use user::step as op;
