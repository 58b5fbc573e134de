//! What a workload does, and the bytes it writes.

/// A file, by the order of creation; it keeps its number under every name.
pub type FileId = usize;

/// How bytes are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// To the cache.
    Buffered,
    /// With `RWF_DSYNC`.
    Dsync,
    /// With `RWF_WRITETHROUGH`.
    Through,
    /// Write-through and `RWF_DSYNC`.
    ThroughDsync,
    /// Write-through and `RWF_SYNC`.
    ThroughSync,
    /// Asynchronous write-through.
    Aio,
    /// Asynchronous write-through and `RWF_DSYNC`.
    AioDsync,
    /// Through an `O_DIRECT` file. Whole blocks.
    Direct,
}

impl How {
    /// All of them.
    pub const ALL: [How; 8] = [
        How::Buffered,
        How::Dsync,
        How::Through,
        How::ThroughDsync,
        How::ThroughSync,
        How::Aio,
        How::AioDsync,
        How::Direct,
    ];

    /// Whether success means durable (DUR-1).
    pub fn durable(self) -> bool {
        matches!(self, How::Dsync | How::ThroughDsync | How::ThroughSync | How::AioDsync)
    }
    /// Whether the outcome comes as an event.
    pub fn is_aio(self) -> bool {
        matches!(self, How::Aio | How::AioDsync)
    }
    /// The `RWF_*` bits.
    pub fn rwf(self) -> u32 {
        match self {
            How::Buffered | How::Direct => 0,
            How::Dsync => 0x2,
            How::Through | How::Aio => 0x200,
            How::ThroughDsync | How::AioDsync => 0x202,
            How::ThroughSync => 0x204,
        }
    }
}

/// One step of a workload.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Op {
    Create {
        path: String,
        file: FileId,
    },
    Mkdir {
        path: String,
    },
    Unlink {
        path: String,
    },
    Rmdir {
        path: String,
    },
    Rename {
        from: String,
        to: String,
    },
    Link {
        file: FileId,
        to: String,
    },
    Write {
        file: FileId,
        pos: u64,
        len: u64,
        how: How,
    },
    Truncate {
        file: FileId,
        size: u64,
    },
    /// fsync, or fdatasync.
    Fsync {
        file: FileId,
        data_only: bool,
    },
    /// fsync of a directory.
    SyncDir {
        path: String,
    },
    /// sync, or the end of an unmount.
    Sync,
    Unmount,
    /// Lets go of the open file: unlinked ones lose their blocks.
    Close {
        file: FileId,
    },
    /// The flusher writes back what is dirty.
    Flush,
    /// The committer commits what was changed.
    Commit,
    /// Waits for all events.
    Settle,
}

impl Op {
    /// Whether it changes names.
    pub fn is_of_names(&self) -> bool {
        use Op::{Create, Link, Mkdir, Rename, Rmdir, Unlink};
        matches!(self, Create { .. } | Mkdir { .. } | Unlink { .. } | Rmdir { .. } | Rename { .. } | Link { .. })
    }
}

/// The directory of a path.
pub fn parent(path: &str) -> &str {
    path.rfind('/').map_or("/", |at| if at == 0 { "/" } else { &path[..at] })
}

/// What free blocks hold before the first write: seen in a file it is somebody's old data.
pub const STALE: u8 = b'S';

/// What step `step` writes to byte `pos` of a file: never 0 and never [`STALE`]. Each sector begins with the same bytes only by chance.
pub fn byte_at(step: usize, pos: u64) -> u8 {
    let mixed = (step as u64).wrapping_mul(0x9e37_79b9).wrapping_add((pos >> 9).wrapping_mul(0x85eb_ca6b));
    let byte = ((mixed ^ mixed >> 15).wrapping_add(pos & 7) % 255) as u8 + 1;
    if byte == STALE { 0xfe } else { byte }
}

/// What step `step` writes from `pos` on.
pub fn bytes_at(step: usize, pos: u64, len: u64) -> Vec<u8> {
    (pos..pos + len).map(|at| byte_at(step, at)).collect()
}
