//! What tests of `fs` share: a file system in memory over a fake disk.
//!
//! | file | contents |
//! |---|---|
//! | `mem_fs` | [`MemFs`]: extents with UNWRITTEN state, a sequence number, two sizes; nothing on disk but data |
//! | `mem_file` | [`MemFile`]: one file of it with calls for tests |
mod mem_file;
mod mem_fs;

pub use mem_file::MemFile;
pub use mem_fs::{Block, MemFs};
