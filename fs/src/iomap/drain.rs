//! The drain count: I/Os in flight that outlive the locks they were started under (DIO-6, DIO-8).

/// In-flight direct I/Os and write-throughs of one inode, counted apart.
pub struct DrainCount {
    _ino: u64,
}

impl DrainCount {
    /// Nothing in flight. `ino` is for traces.
    pub fn new(ino: u64) -> Self {
        DrainCount { _ino: ino }
    }
}
