//! Locks with ranks, and wait queues.
//!
//! | type | may sleep | in hard IRQ | what it protects |
//! |---|---|---|---|
//! | [`SpinLock`] | no | no | short sections between tasks |
//! | [`IrqLock`] | no | yes | leaf data that interrupt handlers touch |
//! | [`Mutex`], [`RwLock`] | yes | no | long sections: inode, invalidate, extent locks |
//! | [`WaitQueue`] | yes | wake only | a condition that another task or an interrupt makes true |
//! | [`PollQueue`] | yes | wake only | the same, for who waits for several at once |
//! | [`Once`] | yes | look only | a value made at its first use |
//!
//! Every sleeping lock is made with its [`Rank`]; debug builds stop on a task that takes a rank at or below one it holds
//! (`docs/LOCKS.md`). There are no const constructors and no locks in statics: a checker makes each lock anew in each run.
mod mutex;
mod once;
mod poll;
pub mod rank;
mod rwlock;
mod spin;
mod wait;

pub use alloc::sync::{Arc, Weak};
pub use hal::sync::atomic;
pub use mutex::{Mutex, MutexGuard};
pub use once::Once;
pub use poll::{Listener, PollQueue};
pub use rank::Rank;
pub(crate) use rank::RankStack;
pub use rwlock::{ReadGuard, RwLock, WriteGuard};
pub use spin::{IrqGuard, IrqLock, SpinGuard, SpinLock};
pub use wait::WaitQueue;
