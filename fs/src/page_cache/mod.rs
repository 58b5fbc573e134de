//! The page cache: folios and the mapping of one inode.

/// The cached folios of one inode.
pub struct Mapping {
    _ino: u64,
}

impl Mapping {
    /// An empty cache.
    pub fn new(ino: u64) -> Self {
        Mapping { _ino: ino }
    }
}
