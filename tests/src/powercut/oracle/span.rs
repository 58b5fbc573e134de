//! When each step began and ended, as seen at a cut.
use crate::powercut::op::{FileId, Op};
use crate::powercut::record::{Event, Mark, Recording};

/// The steps of a workload with their places in the record.
pub struct History {
    ops: Vec<Op>,
    spans: Vec<Span>,
}

/// Places in the record; `None`: never.
#[derive(Clone, Copy, Default)]
struct Span {
    began: Option<usize>,
    accepted: Option<usize>,
    returned: Option<(usize, Result<usize, base::Errno>)>,
}

impl History {
    /// Of these steps, by the marks in the record.
    pub fn new(ops: Vec<Op>, record: &Recording) -> History {
        let mut spans = vec![Span::default(); ops.len()];
        for (at, event) in record.events.iter().enumerate() {
            if let Event::Step(step, mark) = *event {
                match mark {
                    Mark::Began => spans[step].began = Some(at),
                    Mark::Accepted => spans[step].accepted = Some(at),
                    Mark::Returned(result) => spans[step].returned = Some((at, result)),
                }
            }
        }
        History { ops, spans }
    }

    /// The steps.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// What was known when the power went off after the first `at` events.
    pub fn seen(&self, at: usize) -> Seen<'_> {
        Seen { history: self, at }
    }
}

/// A history up to a cut.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    history: &'a History,
    at: usize,
}

impl<'a> Seen<'a> {
    /// A step.
    pub fn op(&self, step: usize) -> &'a Op {
        &self.history.ops[step]
    }
    /// All steps that had begun, in order.
    pub fn begun(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        (0..self.history.ops.len()).filter(|&step| self.began(step).is_some())
    }
    /// How many steps had returned.
    pub fn returned_count(&self) -> usize {
        (0..self.history.ops.len()).filter(|&step| self.returned(step).is_some()).count()
    }
    /// The place where it began.
    pub fn began(&self, step: usize) -> Option<usize> {
        self.history.spans[step].began.filter(|&at| at < self.at)
    }
    /// The outcome, if there was one.
    pub fn returned(&self, step: usize) -> Option<Result<usize, base::Errno>> {
        self.history.spans[step].returned.filter(|(at, _)| *at < self.at).map(|(_, result)| result)
    }
    /// How many bytes a write has copied, or would have been told it had: that was settled when it was accepted, however late its outcome
    /// comes.
    pub fn copied(&self, step: usize) -> Option<u64> {
        self.history.spans[step].returned.and_then(|(_, result)| result.ok()).map(|n| n as u64)
    }
    /// Whether it has failed, or would have: what fsync covers may get its outcome after the fsync (SYN-3).
    pub fn fails(&self, step: usize) -> bool {
        matches!(self.history.spans[step].returned, Some((_, Err(_))))
    }
    /// Whether it has succeeded.
    pub fn succeeded(&self, step: usize) -> bool {
        matches!(self.returned(step), Some(Ok(_)))
    }

    /// Whether a step that commits had begun and not returned.
    pub fn commit_in_flight(&self) -> bool {
        self.begun().filter(|&step| self.returned(step).is_none()).any(|step| match self.op(step) {
            Op::Fsync { .. } | Op::SyncDir { .. } | Op::Sync | Op::Unmount | Op::Commit => true,
            Op::Write { how, .. } => how.durable(),
            _ => false,
        })
    }

    /// Whether `a` was in the cache, and ordered, before `b` began (ORD-2, SYN-1).
    pub fn before(&self, a: usize, b: usize) -> bool {
        let span = &self.history.spans[a];
        let settled = span.accepted.into_iter().chain(span.returned.map(|(at, _)| at)).min();
        match (settled, self.began(b)) {
            (Some(settled), Some(began)) => settled < began,
            _ => false,
        }
    }

    /// Changes of names that were made or may have been, in order.
    pub fn changes(&self) -> Vec<usize> {
        let made = |&step: &usize| self.op(step).is_of_names() && !matches!(self.returned(step), Some(Err(_)));
        self.begun().filter(made).collect()
    }

    /// How many of `changes` have to be there.
    pub fn durable_changes(&self, changes: &[usize]) -> usize {
        let steps = self.begun().filter(|&step| self.succeeded(step));
        let covered = |by: usize, change: usize| match (self.op(by), self.op(change)) {
            (Op::Sync | Op::Unmount, _) => self.before(change, by),
            (Op::SyncDir { path }, op) => self.before(change, by) && touches(op, path),
            (Op::Fsync { file, .. }, op) => names(op, *file),
            (Op::Write { file, how, .. }, op) if how.durable() => names(op, *file),
            _ => false,
        };
        let last = |by: usize| changes.iter().rposition(|&change| covered(by, change)).map_or(0, |at| at + 1);
        steps.map(last).max().unwrap_or(0)
    }

    /// Whether a step on the contents of `file` is durable.
    pub fn is_durable(&self, step: usize, file: FileId) -> bool {
        if let Op::Write { how, .. } = self.op(step)
            && how.durable()
            && self.succeeded(step)
        {
            return true;
        }
        // The last one first: of a long scenery it is the sync at the end that counts.
        self.begun().rev().filter(|&by| self.succeeded(by) && self.before(step, by)).any(|by| match self.op(by) {
            Op::Sync | Op::Unmount => true,
            Op::Fsync { file: of, .. } => *of == file,
            // A durable write needs the size that it was written under, and blocks that were moved to where it has written.
            Op::Write { file: of, how, pos, len } if *of == file && how.durable() => match self.op(step) {
                Op::Truncate { .. } => true,
                Op::Range { range, pos: moved, .. } => range.shifts() && pos + len > *moved,
                _ => false,
            },
            _ => false,
        })
    }
}

/// The directory of a path.
fn parent(path: &str) -> &str {
    path.rfind('/').map_or("/", |at| if at == 0 { "/" } else { &path[..at] })
}

/// Whether an operation changes an entry of the directory `dir`.
fn touches(op: &Op, dir: &str) -> bool {
    match op {
        Op::Create { path, .. } | Op::Mkdir { path } | Op::Unlink { path } | Op::Rmdir { path } => parent(path) == dir,
        Op::Rename { from, to } => parent(from) == dir || parent(to) == dir,
        Op::Link { to, .. } => parent(to) == dir,
        _ => false,
    }
}

/// Whether an operation gives `file` its first name.
fn names(op: &Op, file: FileId) -> bool {
    matches!(op, Op::Create { file: of, .. } if *of == file)
}
