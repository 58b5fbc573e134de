//! What a workload of the power cut does, and the bytes it writes. `/bin/play` is told its steps in the form that [`Op`] is shown in.
use crate::range::Range;
use std::fmt::{self, Display, Formatter};
use std::str::{FromStr, SplitWhitespace};

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
    /// Through an `O_DIRECT` file. Whole sectors.
    Direct,
    /// Stored through a shared mapping, into bytes that the file has already; else it fails.
    Mapped,
}

impl How {
    /// Those that make a file longer where they have to: all but the last one.
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
    /// Its word in a line.
    fn word(self) -> &'static str {
        match self {
            How::Buffered => "buffered",
            How::Dsync => "dsync",
            How::Through => "through",
            How::ThroughDsync => "through-dsync",
            How::ThroughSync => "through-sync",
            How::Aio => "aio",
            How::AioDsync => "aio-dsync",
            How::Direct => "direct",
            How::Mapped => "mapped",
        }
    }
    /// The `RWF_*` bits.
    pub fn rwf(self) -> u32 {
        match self {
            How::Buffered | How::Direct | How::Mapped => 0,
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
    /// fallocate in any mode.
    Range {
        file: FileId,
        range: Range,
        pos: u64,
        len: u64,
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

impl Display for Op {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Op::Create { path, file } => write!(f, "create {path} {file}"),
            Op::Mkdir { path } => write!(f, "mkdir {path}"),
            Op::Unlink { path } => write!(f, "unlink {path}"),
            Op::Rmdir { path } => write!(f, "rmdir {path}"),
            Op::Rename { from, to } => write!(f, "rename {from} {to}"),
            Op::Link { file, to } => write!(f, "link {file} {to}"),
            Op::Write { file, pos, len, how } => write!(f, "write {file} {pos} {len} {}", how.word()),
            Op::Truncate { file, size } => write!(f, "truncate {file} {size}"),
            Op::Range { file, range, pos, len } => write!(f, "range {file} {} {pos} {len}", range.word()),
            Op::Fsync { file, data_only } => write!(f, "fsync {file} {data_only}"),
            Op::SyncDir { path } => write!(f, "syncdir {path}"),
            Op::Sync => f.write_str("sync"),
            Op::Unmount => f.write_str("unmount"),
            Op::Close { file } => write!(f, "close {file}"),
            Op::Flush => f.write_str("flush"),
            Op::Commit => f.write_str("commit"),
            Op::Settle => f.write_str("settle"),
        }
    }
}

impl FromStr for Op {
    type Err = String;

    fn from_str(line: &str) -> Result<Op, String> {
        let mut words = Words(line.split_whitespace());
        let op = match words.text()?.as_str() {
            "create" => Op::Create { path: words.text()?, file: words.value()? },
            "mkdir" => Op::Mkdir { path: words.text()? },
            "unlink" => Op::Unlink { path: words.text()? },
            "rmdir" => Op::Rmdir { path: words.text()? },
            "rename" => Op::Rename { from: words.text()?, to: words.text()? },
            "link" => Op::Link { file: words.value()?, to: words.text()? },
            "write" => Op::Write { file: words.value()?, pos: words.value()?, len: words.value()?, how: words.how()? },
            "truncate" => Op::Truncate { file: words.value()?, size: words.value()? },
            "range" => {
                Op::Range { file: words.value()?, range: words.value()?, pos: words.value()?, len: words.value()? }
            }
            "fsync" => Op::Fsync { file: words.value()?, data_only: words.value()? },
            "syncdir" => Op::SyncDir { path: words.text()? },
            "sync" => Op::Sync,
            "unmount" => Op::Unmount,
            "close" => Op::Close { file: words.value()? },
            "flush" => Op::Flush,
            "commit" => Op::Commit,
            "settle" => Op::Settle,
            other => return Err(format!("{other} is no step")),
        };
        words.end().map(|()| op)
    }
}

/// The words of a line, in turn.
struct Words<'a>(SplitWhitespace<'a>);

impl Words<'_> {
    fn text(&mut self) -> Result<String, String> {
        self.0.next().map(str::to_owned).ok_or_else(|| "the line is too short".to_owned())
    }
    fn value<T: FromStr>(&mut self) -> Result<T, String> {
        let text = self.text()?;
        text.parse().map_err(|_| format!("{text} does not belong there"))
    }
    fn how(&mut self) -> Result<How, String> {
        let text = self.text()?;
        How::ALL
            .into_iter()
            .chain([How::Mapped])
            .find(|how| how.word() == text)
            .ok_or_else(|| format!("{text} is no way to write"))
    }
    fn end(&mut self) -> Result<(), String> {
        self.0.next().map_or(Ok(()), |word| Err(format!("{word} is one word too much")))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_read_as_it_is_shown() {
        let path = || "/d/a".to_owned();
        let mut ops = vec![
            Op::Create { path: path(), file: 7 },
            Op::Mkdir { path: path() },
            Op::Unlink { path: path() },
            Op::Rmdir { path: path() },
            Op::Rename { from: path(), to: "/b".into() },
            Op::Link { file: 7, to: path() },
            Op::Truncate { file: 7, size: 4097 },
            Op::Fsync { file: 7, data_only: true },
            Op::SyncDir { path: "/".into() },
            Op::Close { file: 7 },
        ];
        ops.extend([Op::Sync, Op::Unmount, Op::Flush, Op::Commit, Op::Settle]);
        ops.extend(Range::ALL.map(|range| Op::Range { file: 7, range, pos: 4096, len: 8192 }));
        ops.extend(How::ALL.into_iter().chain([How::Mapped]).map(|how| Op::Write { file: 7, pos: 1, len: 2, how }));
        for op in ops {
            assert_eq!(op.to_string().parse(), Ok(op));
        }
    }

    #[test]
    fn what_is_no_step_is_refused() {
        for line in
            ["", "nothing", "write 1 2 3 somehow", "write 1 2", "sync now", "truncate a 0", "range 1 shrink 0 1"]
        {
            assert!(line.parse::<Op>().is_err(), "{line}");
        }
    }
}
