//! Sizes and bytes of one file.
use super::span::Seen;
use crate::powercut::op::{FileId, How, Op, STALE, byte_at};

/// The unit in which contents are looked at: bytes of one sector have one set of allowed writers, but for the ends of writes.
const SECTOR: u64 = 512;

/// A write; or a truncate: a write of zeros from its size to the end of all files; or an allocation: a write of nothing that ends there.
struct Change {
    step: usize,
    start: u64,
    end: u64,
    zeros: bool,
    durable: bool,
}

/// What a file may hold at a cut.
pub struct Content<'a> {
    seen: &'a Seen<'a>,
    changes: Vec<Change>,
    block_size: u64,
}

impl<'a> Content<'a> {
    /// Of `file`.
    pub fn of(seen: &'a Seen<'a>, file: FileId, block_size: u64) -> Content<'a> {
        let change = |step: usize| {
            let (start, end, zeros) = match *seen.op(step) {
                Op::Write { file: of, pos, len, how } if of == file => {
                    // An outcome says how much was written; a failure does not say how little.
                    let len = seen.copied(step).unwrap_or(len);
                    debug_assert!(how != How::Direct || pos % SECTOR == 0);
                    (pos, pos + len, false)
                }
                Op::Truncate { file: of, size } if of == file => (size, u64::MAX, true),
                Op::Allocate { file: of, len, keep_size: false } if of == file => (len, len, false),
                _ => return None,
            };
            Some(Change { step, start, end, zeros, durable: seen.is_durable(step, file) && !seen.fails(step) })
        };
        Content { seen, changes: seen.begun().filter_map(change).collect(), block_size }
    }

    /// Writes and truncates that had begun.
    pub fn changes(&self) -> usize {
        self.changes.len()
    }

    /// Whether anything of the file is durable.
    pub fn has_durable(&self) -> bool {
        self.changes.iter().any(|change| change.durable)
    }

    /// Whether a file may look like this. Errors: what was promised and what was found.
    pub fn check(&self, found: &[u8]) -> Result<(), String> {
        self.check_size(found.len() as u64)?;
        let mut at = 0;
        let mut ends: Vec<u64> = self.changes.iter().flat_map(|c| [c.start, c.end]).collect();
        ends.sort_unstable();
        while at < found.len() as u64 {
            let sector_end = (at / SECTOR + 1) * SECTOR;
            let next = ends[ends.partition_point(|&end| end <= at)..].first().copied().unwrap_or(u64::MAX);
            let end = sector_end.min(next).min(found.len() as u64);
            self.check_bytes(at, &found[at as usize..end as usize])?;
            at = end;
        }
        Ok(())
    }

    /// Bytes that the same changes cover.
    fn check_bytes(&self, pos: u64, bytes: &[u8]) -> Result<(), String> {
        let covering: Vec<&Change> = self.changes.iter().filter(|c| c.start <= pos && pos < c.end).collect();
        let over = |step: Option<usize>| {
            let later = |c: &&&Change| c.durable && step.is_none_or(|step| self.seen.before(step, c.step));
            covering.iter().find(later).map(|c| c.step)
        };
        let allowed: Vec<&&Change> = covering.iter().filter(|c| over(Some(c.step)).is_none()).collect();
        let zero = over(None).is_none() || allowed.iter().any(|c| c.zeros);
        let writers: Vec<usize> = allowed.iter().filter(|c| !c.zeros).map(|c| c.step).collect();
        let fits = |at: u64, byte: u8| (byte == 0 && zero) || writers.iter().any(|&step| byte_at(step, at) == byte);
        let wrong = (pos..).zip(bytes).find(|&(at, &byte)| !fits(at, byte));
        wrong.map_or(Ok(()), |(at, &byte)| Err(self.tell(at, byte, &writers, zero)))
    }

    fn tell(&self, at: u64, byte: u8, writers: &[usize], zero: bool) -> String {
        let mut promised: Vec<String> = writers.iter().map(|&step| self.name(step)).collect();
        if zero {
            promised.push("zeros".into());
        }
        let from = self.changes.iter().find(|c| !c.zeros && c.start <= at && at < c.end && byte_at(c.step, at) == byte);
        let what = match (byte, from) {
            (0, _) => "zeros".to_owned(),
            (STALE, _) => "what the block held before it was the file's".to_owned(),
            (_, Some(change)) => format!("what was written by {}", self.name(change.step)),
            _ => format!("{byte:#04x}, which nobody wrote there"),
        };
        format!("byte {at} must be from {}, but is {what}", promised.join(" or "))
    }

    fn name(&self, step: usize) -> String {
        let durable = self.changes.iter().any(|c| c.step == step && c.durable);
        format!("step {step} ({:?}{})", self.seen.op(step), if durable { ", durable" } else { "" })
    }

    /// Sizes by epoch: each truncate begins one, and what is durable in an epoch ends those before.
    fn check_size(&self, found: u64) -> Result<(), String> {
        let starts: Vec<usize> = (0..self.changes.len()).filter(|&i| self.changes[i].zeros).collect();
        let first_of = |epoch: usize| if epoch == 0 { 0 } else { starts[epoch - 1] };
        let mut ranges = Vec::new();
        for epoch in 0..=starts.len() {
            let end = starts.get(epoch).copied().unwrap_or(self.changes.len());
            let part = &self.changes[first_of(epoch)..end];
            let size_of = |c: &Change| if c.zeros { c.start } else { c.end };
            let base = part.iter().filter(|c| c.zeros).map(|c| c.start).max().unwrap_or(0);
            let durable = part.iter().filter(|c| c.durable).map(size_of).max();
            let least = base.max(durable.unwrap_or(0));
            let most = part.iter().map(size_of).max().unwrap_or(0).max(base);
            if durable.is_some() {
                ranges.clear();
            }
            let exact = found == base || part.iter().any(|c| size_of(c) == found);
            if found >= least && found <= most && (exact || found.is_multiple_of(self.block_size)) {
                ranges.push((least, most, true));
            } else {
                ranges.push((least, most, false));
            }
        }
        if ranges.iter().any(|(_, _, fits)| *fits) {
            return Ok(());
        }
        let ranges: Vec<String> = ranges.iter().map(|(least, most, _)| format!("{least}..={most}")).collect();
        Err(format!("the size must be in {}, but is {found}", ranges.join(" or ")))
    }
}
