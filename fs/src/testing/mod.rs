//! What tests of `fs` share: a file system in memory over a fake disk.
//!
//! | file | contents |
//! |---|---|
//! | `mem_fs` | [`MemFs`]: extents with UNWRITTEN state, a sequence number, two sizes; nothing on disk but data |
//! | `mem_file` | [`MemFile`]: one file of it with calls for tests |
//! | `user` | [`User`]: a caller without privileges |
mod mem_file;
mod mem_fs;
mod user;

pub use mem_file::MemFile;
pub use mem_fs::{Block, MemFs};
pub use user::User;
