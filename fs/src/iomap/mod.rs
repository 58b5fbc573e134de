//! iomap: from file ranges to device ranges, split by operation.
//!
//! | file | operation |
//! |---|---|
//! | `types` | the mapping of a range and the trait a file system implements |
//! | `drain` | the count of I/Os in flight that truncate waits for |
//! | `read` | filling folios, readahead |
//! | `buffered_write` | copy into the cache, dirty |
//! | `writethrough` | copy into the cache and send at once |
//! | `direct` | around the cache |
//! | `writeback` | dirty folios to the device |
//! | `ioctx`, `ctx` | one I/O in flight: references, first error, who finishes |
//! | `ioend` | the order of the finish steps F1 to F6 |
//! | `shared_flush` | device flushes shared by all that wait for one |
mod ctx;
mod drain;
mod shared_flush;
mod types;

pub use ctx::{CtxRefs, Done, FirstError};
pub use drain::{DrainCount, DrainGuard, DrainKind};
pub use shared_flush::{SharedFlush, Ticket, WrittenMark};
pub use types::{Iomap, IomapKind, IomapOps};
