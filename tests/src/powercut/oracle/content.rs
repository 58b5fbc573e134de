//! Sizes and bytes of one file.
use super::shifts::{Frame, Half, Piece, Shift};
use super::sizes::{self, Size};
use super::span::Seen;
use crate::powercut::op::{FileId, How, Op, STALE, byte_at};
use std::ops::ControlFlow;
use user::range::Range;

/// The unit in which contents are looked at: bytes of one sector have one set of allowed writers, but for the ends of writes.
const SECTOR: u64 = 512;

/// A write, or a range that becomes zeros: that of a truncate goes from its size to the end of all files. An allocation covers nothing.
struct Change {
    step: usize,
    start: u64,
    end: u64,
    zeros: bool,
    size: Size,
    durable: bool,
    /// How many shifts came before.
    after: usize,
}

/// What a file may hold at a cut.
pub struct Content<'a> {
    seen: &'a Seen<'a>,
    changes: Vec<Change>,
    shifts: Vec<Shift>,
    block_size: u64,
}

/// A part of a change with where it stands.
type Placed<'a> = (&'a Change, Piece);
/// Is told of each wrong byte; says whether to go on.
type Told<'a> = &'a mut dyn FnMut(Wrong) -> ControlFlow<()>;

/// A byte that should not be.
struct Wrong {
    at: u64,
    byte: u8,
    /// Where it was written, if it was.
    from: Option<usize>,
    writers: Vec<usize>,
    zero: bool,
}

impl<'a> Content<'a> {
    /// Of `file`.
    pub fn of(seen: &'a Seen<'a>, file: FileId, block_size: u64) -> Content<'a> {
        let mut content = Content { seen, changes: Vec::new(), shifts: Vec::new(), block_size };
        let mut size = 0;
        for step in seen.begun() {
            let durable = seen.is_durable(step, file) && !seen.fails(step);
            let (start, end, zeros, raised) = match *seen.op(step) {
                Op::Write { file: of, pos, len, how } if of == file => {
                    // An outcome says how much was written; a failure does not say how little.
                    let len = seen.copied(step).unwrap_or(len);
                    debug_assert!(how != How::Direct || pos % SECTOR == 0);
                    (pos, pos + len, false, Size::Raised(pos + len))
                }
                Op::Truncate { file: of, size } if of == file => (size, u64::MAX, true, Size::Set(size)),
                // Nothing has changed then: the disk was full, or what was dirty could not be written.
                Op::Range { file: of, range, .. } if of == file && range.shifts() && seen.fails(step) => continue,
                Op::Range { file: of, range, pos, len } if of == file => {
                    if range.shifts() {
                        let after = range.size_after(size, pos, len);
                        content.shifts.push(Shift { range, pos, len, size: after, durable });
                        size = after;
                        continue;
                    }
                    let zeros = !matches!(range, Range::Allocate | Range::AllocateKeep);
                    (pos, if zeros { pos + len } else { pos }, zeros, Size::Raised(range.size_after(0, pos, len)))
                }
                _ => continue,
            };
            if !seen.fails(step) {
                size = raised.after(size);
            }
            content.changes.push(Change {
                step,
                start,
                end,
                zeros,
                size: raised,
                durable,
                after: content.shifts.len(),
            });
        }
        content
    }

    /// Changes that had begun.
    pub fn changes(&self) -> usize {
        self.changes.len() + self.shifts.len()
    }

    /// Whether anything of the file is durable.
    pub fn has_durable(&self) -> bool {
        self.changes.iter().any(|change| change.durable) || self.shifts.iter().any(|shift| shift.durable)
    }

    /// Whether a file may look like this. Errors: what was promised and what was found.
    pub fn check(&self, found: &[u8]) -> Result<(), String> {
        let least = self.shifts.iter().rposition(|shift| shift.durable).map_or(0, |last| last + 1);
        let mut why = String::new();
        for done in (least..=self.shifts.len()).rev() {
            match self.check_frame(&Frame::after(done), found) {
                Ok(()) => return Ok(()),
                // What all that was done has promised tells most.
                Err(error) if why.is_empty() => why = error,
                Err(_) => {}
            }
        }
        let halves = (least..self.shifts.len()).map(|done| self.half(done));
        if halves.into_iter().any(|half| self.is_half(&half, found)) {
            return Ok(());
        }
        let also = match self.shifts.len() - least {
            0 => String::new(),
            open => format!("; nor is that what a cut may leave that has lost some of the last {open} shifts"),
        };
        Err(format!("{why}{also}"))
    }

    fn check_frame(&self, frame: &Frame, found: &[u8]) -> Result<(), String> {
        self.check_size(frame, found.len() as u64)?;
        self.first_wrong(frame, found).map_or(Ok(()), |wrong| Err(self.tell(&wrong)))
    }

    fn half(&self, done: usize) -> Half<'_> {
        Half { shift: &self.shifts[done], done, block: self.block_size }
    }

    /// Whether a shift has been done in part.
    fn is_half(&self, half: &Half<'_>, found: &[u8]) -> bool {
        let fits = |frame: Frame| self.check_frame(&frame, found).is_ok();
        let wrong = self.first_wrong(&Frame::after(half.done), found);
        if wrong.and_then(|wrong| half.freed(wrong.at)).is_some_and(fits) {
            return true;
        }
        if !half.is_long() {
            return false;
        }
        // Where the zeros may be that wander: what stands before them is right, and so is what stands behind them.
        let (front, back) = half.ends();
        let block = self.block_size;
        let last = self.first_wrong(&front, found).map_or(found.len() as u64, |wrong| wrong.at / block * block);
        let wrong_end = self.last_wrong(&back, found).map_or(0, |wrong| wrong.at + 1);
        let first = wrong_end.saturating_sub(half.shift.len).next_multiple_of(block).max(half.shift.pos + block);
        (first..=last).step_by(block as usize).any(|at| fits(half.moved(at)))
    }

    fn check_size(&self, frame: &Frame, found: u64) -> Result<(), String> {
        if let Some(size) = frame.size {
            return if found == size { Ok(()) } else { Err(format!("the size must be {size}, but is {found}")) };
        }
        // A size comes to the disk with the shifts before it, and not without them.
        let base = frame.done.checked_sub(1).map_or((0, false), |last| (self.shifts[last].size, true));
        let changes = self.changes.iter().filter(|change| change.after == frame.done);
        sizes::check(found, base, changes.map(|change| (change.size, change.durable)), self.block_size)
    }

    fn first_wrong(&self, frame: &Frame, found: &[u8]) -> Option<Wrong> {
        let mut first = None;
        let _ = self.compare(frame, found, &mut |wrong| {
            first = Some(wrong);
            ControlFlow::Break(())
        });
        first
    }

    fn last_wrong(&self, frame: &Frame, found: &[u8]) -> Option<Wrong> {
        let mut last = None;
        let _ = self.compare(frame, found, &mut |wrong| {
            last = Some(wrong);
            ControlFlow::Continue(())
        });
        last
    }

    /// Tells the wrong bytes: of those that the same changes cover and that lie in one sector, the first one.
    fn compare(&self, frame: &Frame, found: &[u8], told: Told<'_>) -> ControlFlow<()> {
        let mut placed: Vec<Placed<'_>> = Vec::new();
        for change in self.changes.iter().filter(|change| change.start < change.end) {
            let whole = Piece { start: change.start, end: change.end, moved: 0 };
            placed.extend(frame.place(&self.shifts, change.after, whole).into_iter().map(|piece| (change, piece)));
        }
        placed.sort_by_key(|(_, piece)| piece.start);
        let mut rest = placed.into_iter().peekable();
        let mut inside: Vec<Placed<'_>> = Vec::new();
        let block = self.block_size as usize;
        for (start, bytes) in (0u64..).step_by(block).zip(found.chunks(block)) {
            inside.retain(|(_, piece)| piece.end > start);
            inside.extend(std::iter::from_fn(|| rest.next_if(|(_, piece)| piece.start < start + self.block_size)));
            self.compare_block(start, bytes, &inside, told)?;
        }
        ControlFlow::Continue(())
    }

    /// One block, of which `inside` has all changes.
    fn compare_block(&self, start: u64, bytes: &[u8], inside: &[Placed<'_>], told: Told<'_>) -> ControlFlow<()> {
        let zeroed = self.zeroed(start, inside);
        if zeroed.is_some() && bytes.iter().all(|&byte| byte == 0) {
            return ControlFlow::Continue(());
        }
        let inside = inside.iter().filter(|(change, _)| zeroed != Some(change.step));
        let (mut at, stop) = (start, start + bytes.len() as u64);
        while at < stop {
            let ends = inside.clone().flat_map(|(_, piece)| [piece.start, piece.end]);
            let sector_end = (at / SECTOR + 1) * SECTOR;
            let end = ends.filter(|&end| end > at).min().unwrap_or(stop).min(sector_end).min(stop);
            let covering: Vec<_> = inside.clone().filter(|(_, piece)| piece.start <= at && at < piece.end).collect();
            let part = &bytes[(at - start) as usize..(end - start) as usize];
            self.compare_covered(at, part, &covering).map_or(ControlFlow::Continue(()), &mut *told)?;
            at = end;
        }
        ControlFlow::Continue(())
    }

    /// The step that has zeroed the whole block at `start`, behind all that was done to it and perhaps not durably: the block is all zeros
    /// or as if that had not been (TRC-6, TRC-7). A later write may have brought some of the zeros along.
    fn zeroed(&self, start: u64, inside: &[Placed<'_>]) -> Option<usize> {
        let is_whole = |piece: &Piece| piece.start <= start && start + self.block_size <= piece.end;
        let (last, _) = inside.iter().find(|(change, piece)| {
            let behind =
                |(other, _): &Placed<'_>| other.step == change.step || self.seen.before(other.step, change.step);
            change.zeros && !change.durable && is_whole(piece) && inside.iter().all(behind)
        })?;
        Some(last.step)
    }

    /// The first wrong one of bytes that the same changes cover.
    fn compare_covered(&self, pos: u64, bytes: &[u8], covering: &[&Placed<'_>]) -> Option<Wrong> {
        let over = |step: Option<usize>| {
            let later = |change: &Change| step.is_none_or(|step| self.seen.before(step, change.step));
            covering.iter().any(|(change, _)| change.durable && later(change))
        };
        let allowed: Vec<_> = covering.iter().filter(|(change, _)| !over(Some(change.step))).collect();
        let zero = !over(None) || allowed.iter().any(|(change, _)| change.zeros);
        let writes = |change: &Change, piece: &Piece, at: u64, byte: u8| {
            !change.zeros && byte_at(change.step, at.wrapping_add_signed(-piece.moved)) == byte
        };
        let fits = |at: u64, byte: u8| {
            (byte == 0 && zero) || allowed.iter().any(|(change, piece)| writes(change, piece, at, byte))
        };
        let (at, &byte) = (pos..).zip(bytes).find(|&(at, &byte)| !fits(at, byte))?;
        let from =
            covering.iter().find(|(change, piece)| writes(change, piece, at, byte)).map(|(change, _)| change.step);
        let writers = allowed.iter().filter(|(change, _)| !change.zeros).map(|(change, _)| change.step).collect();
        Some(Wrong { at, byte, from, writers, zero })
    }

    fn tell(&self, wrong: &Wrong) -> String {
        let mut promised: Vec<String> = wrong.writers.iter().map(|&step| self.name(step)).collect();
        if wrong.zero {
            promised.push("zeros".into());
        }
        let what = match (wrong.byte, wrong.from) {
            (0, _) => "zeros".to_owned(),
            (STALE, _) => "what the block held before it was the file's".to_owned(),
            (_, Some(step)) => format!("what was written by {}", self.name(step)),
            (byte, None) => format!("{byte:#04x}, which nobody wrote there"),
        };
        format!("byte {} must be from {}, but is {what}", wrong.at, promised.join(" or "))
    }

    fn name(&self, step: usize) -> String {
        let durable = self.changes.iter().any(|change| change.step == step && change.durable);
        format!("step {step} ({:?}{})", self.seen.op(step), if durable { ", durable" } else { "" })
    }
}
