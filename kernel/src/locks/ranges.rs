//! Locks of byte ranges of one file: who has which, and what a new one does to them. Pure.
use alloc::vec::Vec;
use base::{Errno, Result};

/// Whom a lock belongs to. Locks of one owner never stand against each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// The process of this id.
    Process(u32),
    /// The open file description that is at this address.
    File(usize),
}

/// What a lock is for: any number to read, or one to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Kind {
    Read,
    Write,
}

/// Bytes of a file, the last one included: a lock can reach to the end of all positions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Span {
    pub first: u64,
    pub last: u64,
}

impl Span {
    /// All that a file can have.
    pub const ALL: Span = Span { first: 0, last: i64::MAX as u64 };

    fn meets(self, other: Span) -> bool {
        self.first <= other.last && other.first <= self.last
    }
    /// Whether the two are one range together.
    fn touches(self, other: Span) -> bool {
        self.first <= other.last.saturating_add(1) && other.first <= self.last.saturating_add(1)
    }
    fn joined(self, other: Span) -> Span {
        Span { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

/// A lock that is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Lock {
    pub owner: Owner,
    pub kind: Kind,
    pub span: Span,
}

/// The locks of a file. Those of one owner neither meet nor, if they are of one kind, touch.
#[derive(Default, Debug)]
pub struct Ranges(Vec<Lock>);

impl Ranges {
    /// The first lock of somebody else that keeps `owner` from having one of this `kind`.
    pub fn conflict(&self, owner: Owner, kind: Kind, span: Span) -> Option<Lock> {
        let against = |lock: &&Lock| {
            lock.owner != owner && lock.span.meets(span) && (kind == Kind::Write || lock.kind == Kind::Write)
        };
        self.0.iter().filter(against).min_by_key(|lock| lock.span.first).copied()
    }

    /// Makes the bytes of `span` what `kind` says for `owner`, whatever they were for it, `None`: unlocked. Nobody's lock stands against
    /// it. Says whether somebody else may find less in his way. Errors: `ENOLCK`: no memory; nothing has changed.
    pub fn set(&mut self, owner: Owner, kind: Option<Kind>, span: Span) -> Result<bool> {
        // One lock can stick out at each end and become two.
        self.0.try_reserve(2).map_err(|_| Errno::ENOLCK)?;
        let mut whole = span;
        let mut rests = [None; 2];
        let mut changed = false;
        self.0.retain(|lock| {
            if lock.owner != owner {
                return true;
            }
            if Some(lock.kind) == kind && lock.span.touches(span) {
                whole = whole.joined(lock.span);
                return false;
            }
            if !lock.span.meets(span) {
                return true;
            }
            changed = true;
            if lock.span.first < span.first {
                rests[0] = Some(Lock { span: Span { first: lock.span.first, last: span.first - 1 }, ..*lock });
            }
            if lock.span.last > span.last {
                rests[1] = Some(Lock { span: Span { first: span.last + 1, last: lock.span.last }, ..*lock });
            }
            false
        });
        let new = kind.map(|kind| Lock { owner, kind, span: whole });
        self.0.extend(rests.into_iter().flatten().chain(new));
        Ok(changed)
    }

    /// Takes all locks of `owner` away; says whether there were any.
    pub fn remove(&mut self, owner: Owner) -> bool {
        let before = self.0.len();
        self.0.retain(|lock| lock.owner != owner);
        self.0.len() < before
    }

    /// Takes all locks of `owner` away that are not of `kind`; says whether there were any.
    pub fn remove_others(&mut self, owner: Owner, kind: Option<Kind>) -> bool {
        let before = self.0.len();
        self.0.retain(|lock| lock.owner != owner || Some(lock.kind) == kind);
        self.0.len() < before
    }

    /// Whether nobody has a lock.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Owner = Owner::Process(1);
    const B: Owner = Owner::Process(2);
    const C: Owner = Owner::File(3);

    fn span(first: u64, last: u64) -> Span {
        Span { first, last }
    }
    fn held(ranges: &Ranges, owner: Owner) -> Vec<(u64, u64, Kind)> {
        let own = ranges.0.iter().filter(|lock| lock.owner == owner);
        let mut held: Vec<_> = own.map(|lock| (lock.span.first, lock.span.last, lock.kind)).collect();
        held.sort_by_key(|lock| lock.0);
        held
    }

    #[test]
    fn an_unlock_in_the_middle_splits_and_a_lock_over_the_gap_merges() {
        let mut ranges = Ranges::default();
        assert_eq!(ranges.set(A, Some(Kind::Write), span(0, 99)), Ok(false));
        assert_eq!(ranges.set(A, None, span(40, 59)), Ok(true));
        assert_eq!(held(&ranges, A), [(0, 39, Kind::Write), (60, 99, Kind::Write)]);
        assert_eq!(ranges.set(A, Some(Kind::Write), span(40, 59)), Ok(false));
        assert_eq!(held(&ranges, A), [(0, 99, Kind::Write)]);
        assert_eq!(ranges.set(A, None, Span::ALL), Ok(true));
        assert!(ranges.is_empty());
        assert_eq!(ranges.set(A, None, Span::ALL), Ok(false));
    }

    #[test]
    fn another_kind_cuts_and_the_same_kind_of_a_neighbour_joins() {
        let mut ranges = Ranges::default();
        ranges.set(A, Some(Kind::Read), span(0, 99)).unwrap();
        assert_eq!(ranges.set(A, Some(Kind::Write), span(50, 149)), Ok(true));
        assert_eq!(held(&ranges, A), [(0, 49, Kind::Read), (50, 149, Kind::Write)]);
        ranges.set(A, Some(Kind::Read), span(50, 59)).unwrap();
        assert_eq!(held(&ranges, A), [(0, 59, Kind::Read), (60, 149, Kind::Write)]);
        ranges.set(A, Some(Kind::Write), span(150, Span::ALL.last)).unwrap();
        assert_eq!(held(&ranges, A), [(0, 59, Kind::Read), (60, Span::ALL.last, Kind::Write)]);
    }

    #[test]
    fn readers_share_and_a_writer_stands_against_all_others_but_itself() {
        let mut ranges = Ranges::default();
        ranges.set(A, Some(Kind::Read), span(10, 19)).unwrap();
        ranges.set(B, Some(Kind::Read), span(15, 29)).unwrap();
        assert_eq!(ranges.conflict(C, Kind::Read, span(0, 99)), None);
        assert_eq!(ranges.conflict(C, Kind::Write, span(0, 99)).unwrap().owner, A, "the first of those in the way");
        assert_eq!(ranges.conflict(C, Kind::Write, span(20, 99)).unwrap().owner, B);
        assert_eq!(ranges.conflict(A, Kind::Write, span(10, 14)), None);
        assert_eq!(ranges.conflict(A, Kind::Write, span(10, 15)).unwrap().owner, B);
        assert_eq!(ranges.conflict(C, Kind::Write, span(0, 9)), None);
        assert_eq!(ranges.conflict(C, Kind::Write, span(30, 30)), None);
        assert!(ranges.remove(A) && !ranges.remove(A));
        assert_eq!(held(&ranges, B), [(15, 29, Kind::Read)], "others keep theirs");
    }

    /// Against a map of every byte.
    #[test]
    fn random_locks_are_what_a_map_of_the_bytes_says() {
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        let owners = [A, B, C];
        let mut ranges = Ranges::default();
        let mut map = [[None::<Kind>; 32]; 3];
        for _ in 0..5000 {
            let (who, first, len) = (random(3) as usize, random(32), random(8) + 1);
            let span = span(first, (first + len - 1).min(31));
            let bytes = span.first as usize..=span.last as usize;
            let kind = [None, Some(Kind::Read), Some(Kind::Write)][random(3) as usize];
            if let Some(kind) = kind {
                let other = |o: usize| o != who;
                let clash = (0..3)
                    .filter(|&o| other(o))
                    .any(|o| map[o][bytes.clone()].iter().flatten().any(|&k| kind == Kind::Write || k == Kind::Write));
                assert_eq!(ranges.conflict(owners[who], kind, span).is_some(), clash);
                if clash {
                    continue;
                }
            }
            ranges.set(owners[who], kind, span).unwrap();
            map[who][bytes].fill(kind);
            for (owner, map) in owners.iter().zip(&map) {
                let mut runs = 0;
                let mut before = None;
                for &byte in map {
                    runs += usize::from(byte.is_some() && byte != before);
                    before = byte;
                }
                let held = held(&ranges, *owner);
                assert_eq!(held.len(), runs, "as few as can be");
                let covered = held.iter().all(|&(first, last, kind)| {
                    map[first as usize..=last as usize].iter().all(|&byte| byte == Some(kind))
                });
                assert!(covered);
            }
        }
    }
}
