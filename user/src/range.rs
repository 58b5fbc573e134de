//! What `fallocate` does to a range of a file: its modes, and the same done to a vector of bytes.
use linux_raw_sys::general as abi;
use std::str::FromStr;

/// A mode of `fallocate`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Range {
    Allocate,
    AllocateKeep,
    Punch,
    Zero,
    ZeroKeep,
    Collapse,
    Insert,
}

impl Range {
    /// All of them.
    pub const ALL: [Range; 7] = [
        Range::Allocate,
        Range::AllocateKeep,
        Range::Punch,
        Range::Zero,
        Range::ZeroKeep,
        Range::Collapse,
        Range::Insert,
    ];

    /// Its word in a program.
    pub fn word(self) -> &'static str {
        match self {
            Range::Allocate => "allocate",
            Range::AllocateKeep => "allocate-keep",
            Range::Punch => "punch",
            Range::Zero => "zero",
            Range::ZeroKeep => "zero-keep",
            Range::Collapse => "collapse",
            Range::Insert => "insert",
        }
    }

    /// The `FALLOC_FL_*` bits.
    pub fn bits(self) -> u32 {
        match self {
            Range::Allocate => abi::FALLOC_FL_ALLOCATE_RANGE,
            Range::AllocateKeep => abi::FALLOC_FL_KEEP_SIZE,
            Range::Punch => abi::FALLOC_FL_PUNCH_HOLE | abi::FALLOC_FL_KEEP_SIZE,
            Range::Zero => abi::FALLOC_FL_ZERO_RANGE,
            Range::ZeroKeep => abi::FALLOC_FL_ZERO_RANGE | abi::FALLOC_FL_KEEP_SIZE,
            Range::Collapse => abi::FALLOC_FL_COLLAPSE_RANGE,
            Range::Insert => abi::FALLOC_FL_INSERT_RANGE,
        }
    }

    /// Whether bytes behind it get other positions.
    pub fn shifts(self) -> bool {
        matches!(self, Range::Collapse | Range::Insert)
    }

    /// Whether a file of `size` bytes in blocks of `block` bytes takes it (TRC-8); else the answer is `EINVAL`.
    pub fn is_allowed(self, size: u64, block: u64, pos: u64, len: u64) -> bool {
        let reaches = if self == Range::Collapse { pos + len } else { pos };
        !self.shifts() || (pos.is_multiple_of(block) && len.is_multiple_of(block) && reaches < size)
    }

    /// The size of a file of `size` bytes after it.
    pub fn size_after(self, size: u64, pos: u64, len: u64) -> u64 {
        match self {
            Range::Allocate | Range::Zero => size.max(pos + len),
            Range::AllocateKeep | Range::Punch | Range::ZeroKeep => size,
            Range::Collapse => size - len,
            Range::Insert => size + len,
        }
    }

    /// Does it to a file that is a vector of bytes, where it is allowed.
    pub fn apply(self, file: &mut Vec<u8>, pos: u64, len: u64) {
        let size = self.size_after(file.len() as u64, pos, len) as usize;
        let (start, end) = (pos as usize, (pos + len) as usize);
        match self {
            Range::Collapse => drop(file.drain(start..end)),
            Range::Insert => drop(file.splice(start..start, std::iter::repeat_n(0, end - start))),
            Range::Allocate | Range::AllocateKeep => file.resize(size, 0),
            Range::Punch | Range::Zero | Range::ZeroKeep => {
                file.resize(size, 0);
                file[start.min(size)..end.min(size)].fill(0);
            }
        }
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(word: &str) -> Result<Range, String> {
        Range::ALL
            .into_iter()
            .find(|range| range.word() == word)
            .ok_or_else(|| format!("{word} is no mode of fallocate"))
    }
}
