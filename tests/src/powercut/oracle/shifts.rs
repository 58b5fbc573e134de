//! Where bytes stand when blocks of a file have moved: collapse and insert range (TRC-8, decision 12).
//!
//! A shift is a change of metadata, and such changes become durable in their order. So a cut leaves the first few shifts of a file done
//! and the others not, and every byte that was ever written is looked for at the place that it has then:
//!
//! ```text
//! done by the cut      what was written before it moves with it; of a collapsed range it goes
//! not done             what was written behind it went into blocks that are still at their old places, or into ones that are nobody's
//! ```
//!
//! A shift of more extents than one transaction takes is done in several. Then a cut may leave it half done, in one of the ways of
//! [`Half`], and in no other.
use user::range::Range;

/// Blocks of a file whose extents one transaction surely moves: more nodes of the tree than that would be leaves of a few extents each.
const MOVED_AT_ONCE: u64 = 4096;
/// Blocks of a range whose extents one transaction surely frees.
const FREED_AT_ONCE: u64 = 32;

/// A collapse or an insertion that has not failed.
#[derive(Clone, Copy)]
pub struct Shift {
    /// Which of the two.
    pub range: Range,
    /// First byte of the range.
    pub pos: u64,
    /// Bytes of the range.
    pub len: u64,
    /// The size of the file after it.
    pub size: u64,
    /// Whether it has to be there.
    pub durable: bool,
}

/// What is done to the positions of bytes.
#[derive(Clone, Copy)]
pub struct Move {
    at: u64,
    len: u64,
    /// Whether `len` bytes come in at `at`, or go out.
    comes: bool,
}

impl Move {
    /// Bytes go.
    pub fn out(at: u64, len: u64) -> Move {
        Move { at, len, comes: false }
    }
    /// Bytes that nobody has written come.
    pub fn into(at: u64, len: u64) -> Move {
        Move { at, len, comes: true }
    }
    /// What makes it undone.
    fn inverse(self) -> Move {
        Move { comes: !self.comes, ..self }
    }
}

impl Shift {
    fn forward(&self) -> Move {
        Move { at: self.pos, len: self.len, comes: self.range == Range::Insert }
    }

    /// The size of the file before it.
    fn size_before(&self) -> u64 {
        if self.range == Range::Insert { self.size - self.len } else { self.size + self.len }
    }
}

/// A part of what a change has written.
#[derive(Clone, Copy)]
pub struct Piece {
    /// First byte.
    pub start: u64,
    /// The byte behind the last; `u64::MAX` is the end of all files.
    pub end: u64,
    /// How far it stands from where it was written.
    pub moved: i64,
}

impl Piece {
    fn go(self, by: i64) -> Piece {
        let end = if self.end == u64::MAX { u64::MAX } else { self.end.saturating_add_signed(by) };
        Piece { start: self.start.saturating_add_signed(by), end, moved: self.moved + by }
    }

    /// What is left of it after a move: what stands before the place, and what stands behind.
    fn parts(self, by: Move) -> impl Iterator<Item = Piece> {
        let (resumes, distance) = if by.comes { (by.at, by.len as i64) } else { (by.at + by.len, -(by.len as i64)) };
        let before = Piece { end: self.end.min(by.at), ..self };
        let behind = Piece { start: self.start.max(resumes), ..self };
        [Some(before), Some(behind)]
            .into_iter()
            .flatten()
            .zip([0, distance])
            .filter(|(piece, _)| piece.start < piece.end)
            .map(|(piece, distance)| piece.go(distance))
    }
}

/// A state in which a cut may leave the shifts of a file.
#[derive(Clone)]
pub struct Frame {
    /// How many are done.
    pub done: usize,
    /// What the next one has done.
    half: Vec<Move>,
    /// The size, where that is certain because the next one is half done.
    pub size: Option<u64>,
}

impl Frame {
    /// The first `done` are done.
    pub fn after(done: usize) -> Frame {
        Frame { done, half: Vec::new(), size: None }
    }

    /// Where a change stands that came behind the first `after` of `shifts`.
    pub fn place(&self, shifts: &[Shift], after: usize, whole: Piece) -> Vec<Piece> {
        let forward = shifts.iter().take(self.done).skip(after).map(Shift::forward);
        let back = shifts.iter().take(after).skip(self.done).rev().map(|shift| shift.forward().inverse());
        let moves = forward.chain(back).chain(self.half.iter().copied());
        moves.fold(vec![whole], |pieces, by| pieces.into_iter().flat_map(|piece| piece.parts(by)).collect())
    }
}

/// A shift that is half done: the first shift that is not durable, perhaps.
pub struct Half<'a> {
    /// The shift.
    pub shift: &'a Shift,
    /// How many are done before it.
    pub done: usize,
    /// Bytes of a block.
    pub block: u64,
}

impl Half<'_> {
    /// While the range of a collapse is freed, from its end: a part at its end reads as zeros. `wrong` is the first byte that is not as
    /// if nothing had been done.
    pub fn freed(&self, wrong: u64) -> Option<Frame> {
        let Shift { range, pos, len, .. } = *self.shift;
        let from = wrong / self.block * self.block;
        let fits = range == Range::Collapse && len / self.block > FREED_AT_ONCE && pos < from && from < pos + len;
        let part = pos + len - from.min(pos + len);
        fits.then(|| self.frame(vec![Move::out(from, part), Move::into(from, part)], self.shift.size_before()))
    }

    /// Whether its extents may be moved in several transactions.
    pub fn is_long(&self) -> bool {
        self.shift.size.max(self.shift.size_before()) / self.block > MOVED_AT_ONCE
    }

    /// While extents are moved, the zeros stand at `at`, further behind than the range.
    pub fn moved(&self, at: u64) -> Frame {
        let len = self.shift.len;
        match self.shift.range {
            Range::Insert => self.frame(vec![Move::into(at, len)], self.shift.size),
            _ => self.frame(vec![Move::out(self.shift.pos, len), Move::into(at, len)], self.shift.size_before()),
        }
    }

    /// The states between which it is on its way: of the bytes before the zeros, and of those behind them.
    pub fn ends(&self) -> (Frame, Frame) {
        let (old, new) = (Frame::after(self.done), Frame::after(self.done + 1));
        if self.shift.range == Range::Insert { (old, new) } else { (new, old) }
    }

    fn frame(&self, half: Vec<Move>, size: u64) -> Frame {
        Frame { done: self.done, half, size: Some(size) }
    }
}
