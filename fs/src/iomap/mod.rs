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
//! | `ioend` | what runs when I/O has ended |
mod drain;
mod types;

pub use drain::DrainCount;
pub use types::{Iomap, IomapKind, IomapOps};
