//! iomap: from file ranges to device ranges, split by operation.
//!
//! | file | operation |
//! |---|---|
//! | `types` | the mapping of a range and the trait a file system implements |
//! | `drain` | the count of I/Os in flight that truncate waits for |
//! | `range_lock` | order among writes that share the inode lock |
//! | `read` | buffered reads |
//! | `readahead`, `read_batch`, `extents` | filling folios: windows, their bios, what stands under them |
//! | `fault`, `store` | folios for page faults; stores through shared mappings |
//! | `buffered_write` | copy into the cache, dirty |
//! | `zero` | the gap behind the end of a file, the tail of a truncate |
//! | `writethrough` | copy into the cache and send at once |
//! | `direct` | around the cache |
//! | `writeback`, `writeback_end` | dirty folios to the device, and what runs when they are there |
//! | `flusher` | writeback in the background, throttling, sync of a super block |
//! | `ioctx`, `ctx` | one I/O in flight: references, first error, who finishes |
//! | `ioend` | the order of the finish steps F1 to F6 |
//! | `shared_flush` | device flushes shared by all that wait for one |
#[cfg(all(test, not(loom), not(shuttle)))]
mod buffered_tests;
mod buffered_write;
mod ctx;
mod direct;
mod drain;
mod extents;
mod fault;
mod flusher;
mod ioctx;
mod ioend;
mod range_lock;
mod read;
mod read_batch;
mod readahead;
mod request;
mod shared_flush;
mod store;
mod sync;
mod types;
mod writeback;
mod writeback_end;
mod writethrough;
mod zero;

pub use buffered_write::{buffered_write, prepare_folio};
pub use ctx::{CtxRefs, Done, FirstError};
pub use direct::{direct_read, direct_write};
pub use drain::{DrainCount, DrainGuard, DrainKind};
pub use fault::{FolioLookup, fault_folio, with_cached_folios, with_valid_folio};
pub use flusher::{balance_dirty, flush_cache, run_flusher, sync_data};
pub use ioend::{IoKind, Owed};
pub use range_lock::{RangeGuard, RangeLock};
pub use read::buffered_read;
pub use request::{InodeLock, WriteRequest};
pub use shared_flush::{SharedFlush, Ticket, WrittenMark};
pub use store::{StorePermit, prepare_store};
pub use sync::{RangeSync, sync_file_range, sync_range};
pub use types::{Iomap, IomapKind, IomapOps, raised_disk_size};
pub use writeback::{wait_range, write_and_check, write_and_wait, write_range};
pub use writethrough::writethrough_write;
pub use zero::{protect_edges, protect_old_end, zero_gap, zero_range, zero_tail};
