//! The journal: jbd2's format, as `mke2fs`, Linux and `e2fsck` read and write it.
//!
//! # What it is for
//!
//! A change of metadata touches several blocks, and a power cut must leave all of it or none. So the blocks of a transaction
//! go to the log first, then a commit block that says that they are complete, and only then, at some later time, to where they
//! belong. A mount after a cut copies what is complete in the log to its place. File data never goes through the log: its
//! blocks are UNWRITTEN until it is on the device (EXT-1), so that a commit waits for no data and no finish waits for a commit.
//!
//! # The log on the disk
//!
//! ```text
//!   block 0        1                                                          maxlen
//!   │ superblock   │ ... free ... │ D b b b R C │ D b b C │ ... free ...      │     D descriptor: which block each b belongs to
//!                                 ▲ start, sequence       ▲ head                    R revoked: older copies must not come back
//!                                   (in the superblock)     (in memory)             C commit: the transaction is complete
//! ```
//! `start` is 0 when nothing has to be replayed. Each transaction has the number after the one before it; recovery goes on until
//! the next number is not there. Every block has a checksum that starts from the number, so that leftovers of an earlier round do
//! not pass for new blocks.
//!
//! # Order of a commit (CRA-1, DUR-5)
//!
//! | # | step | why there |
//! |---|---|---|
//! | 1 | the transaction closes: no handle is open, its blocks are copied | the copies are one state of the file system; handles go on at once in the next transaction |
//! | 2 | descriptors and copies are written, the superblock too if the log was empty | |
//! | 3 | flush | the copies, and all data that ended before step 1, are durable before the block that vouches for them |
//! | 4 | commit block | |
//! | 5 | flush | now it is durable |
//!
//! # Checkpoint
//!
//! The copies stay in memory until they were written to their places. When the log is half full, or too many copies wait, all of
//! them are written, the device is flushed, and the log is empty again: `start` becomes 0 with the next number. Since the *copies*
//! are written and never the blocks in memory, a block that is being changed again holds nothing up.
//!
//! # Revoking
//!
//! A metadata block that is freed may become file data, which recovery must not overwrite with an old copy. Freed blocks are
//! handed out again only after the transaction that freed them has committed (CRA-3), and that transaction revokes those of
//! them that have a copy in the log. So a block that is logged again later is never meant by an older revoke record.
//!
//! | file | contents |
//! |---|---|
//! | `format` | blocks of the log, checked |
//! | `area` | where the blocks of the log are on the device |
//! | `recover` | what a mount does with a log that is not empty |
//! | `scan` | reading the log from its start, transaction by transaction |
//! | `log` | writing transactions, emptying the log |
//!
//! # What it does not do
//!
//! No journal on a device of its own, no fast commits, no journalled file data; a journal with an unknown feature is refused by
//! its name.
mod area;
mod format;
mod log;
mod recover;
mod scan;

pub(super) use format::Style;
pub(super) use log::{Copy, Journal};
pub(super) use recover::open;
