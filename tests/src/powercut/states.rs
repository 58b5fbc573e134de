//! What a power cut may leave on the disk.
//!
//! A cut is a place in the record. Before it, a flush that has completed made durable what had completed before that flush was
//! submitted: that is there. Every other write that the device was told of may be there or not, whole or in part.
use super::record::{Event, Recording, Request};
use super::store::Store;
use std::ops::Range;
use user::rng::Rng;

/// The unit that a disk writes whole.
const SECTOR: usize = 512;
/// The unit of the subsets.
const BLOCK: usize = 4096;

/// Which of the writes that may be lost are there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// None of them.
    Nothing,
    /// All of them.
    Everything,
    /// Only the n-th.
    Only(usize),
    /// All but the n-th.
    AllBut(usize),
    /// Those whose bits are set.
    Set(u64),
    /// By a seed: each whole, in part by blocks, or not.
    Seeded(u64),
    /// As `Seeded`; of a few, some sectors.
    Torn(u64),
}

/// What has become of a write that may be lost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fate {
    /// Which of its bytes are there, in order and apart from each other. None: it is lost.
    pub there: Vec<Range<usize>>,
    /// Whether they are those that the memory held when the device was told of the write, where it held others at the end.
    pub early: bool,
}

impl Fate {
    /// Not there.
    pub fn lost() -> Fate {
        Fate { there: Vec::new(), early: false }
    }
    /// All `len` bytes are there.
    pub fn whole(len: usize) -> Fate {
        Fate { there: std::iter::once(0..len).filter(|part| !part.is_empty()).collect(), early: false }
    }
    /// Whether nothing is there.
    pub fn is_lost(&self) -> bool {
        self.there.is_empty()
    }
}

/// A cut: a place in the record, and what may be lost there.
#[derive(Clone)]
pub struct Cut {
    /// Events before it.
    pub at: usize,
    /// Writes that may be lost: numbers of requests, in the order in which they count.
    pub volatile: Vec<usize>,
    stable_until: usize,
}

/// A record with the order of its completions.
pub struct States<'a> {
    base: &'a Store,
    record: &'a Recording,
    completed: Vec<Option<(usize, bool)>>,
    started: Vec<Option<usize>>,
    submitted: Vec<usize>,
}

impl<'a> States<'a> {
    /// The states of `record`, which began with the disk `base`.
    pub fn new(base: &'a Store, record: &'a Recording) -> States<'a> {
        let n = record.requests.len();
        let (mut completed, mut started, mut submitted) = (vec![None; n], vec![None; n], vec![0; n]);
        for (at, event) in record.events.iter().enumerate() {
            match *event {
                Event::Submitted(number) => submitted[number] = at,
                Event::Started(number) => started[number] = Some(at),
                Event::Completed(number, ok) => completed[number] = Some((at, ok)),
                _ => {}
            }
        }
        States { base, record, completed, started, submitted }
    }

    /// The places worth a cut: where something may be lost or was just promised.
    pub fn places(&self) -> Vec<usize> {
        let interesting = |event: &Event| match *event {
            Event::Submitted(_) => false,
            Event::Started(number) => self.record.requests[number].writes(),
            Event::Completed(number, _) => self.record.requests[number].op != base::block::BioOp::Read,
            Event::Step(..) | Event::Ready => true,
        };
        let from = self.record.ready();
        (from..=self.record.events.len()).filter(|&at| at == from || interesting(&self.record.events[at - 1])).collect()
    }

    /// Whether a flush has completed just before `at`.
    pub fn is_flush_boundary(&self, at: usize) -> bool {
        matches!(self.record.events[at - 1], Event::Completed(n, true) if self.record.requests[n].op == base::block::BioOp::Flush)
    }

    /// A cut after the first `at` events.
    pub fn cut(&self, at: usize) -> Cut {
        let requests = self.record.requests.iter().enumerate();
        let flushed = |(number, request): (usize, &Request)| {
            let done = matches!(self.completed[number], Some((end, true)) if end < at);
            (done && request.op == base::block::BioOp::Flush).then_some(self.submitted[number])
        };
        let stable_until = requests.clone().filter_map(flushed).max().unwrap_or(0);
        let mut volatile: Vec<usize> = requests
            .filter(|&(number, request)| request.writes() && self.started[number].is_some_and(|start| start < at))
            .map(|(number, _)| number)
            // A write that failed is over with the next flush, too: it must not come back over a later one.
            .filter(|&number| !matches!(self.completed[number], Some((end, _)) if end < stable_until))
            .collect();
        volatile.sort_by_key(|&number| self.rank(number, at));
        Cut { at, volatile, stable_until }
    }

    /// Where a write stands in the order in which writes count: completed ones by completion, then those in flight.
    fn rank(&self, number: usize, at: usize) -> (bool, usize) {
        match self.completed[number] {
            Some((end, _)) if end < at => (false, end),
            _ => (true, self.started[number].unwrap_or(0)),
        }
    }

    /// What is there whatever happens.
    pub fn stable(&self, cut: &Cut) -> Store {
        let mut store = self.base.clone();
        let done = |number: &usize| matches!(self.completed[*number], Some((end, true)) if end < cut.stable_until);
        let mut stable: Vec<usize> =
            (0..self.record.requests.len()).filter(done).filter(|&n| self.record.requests[n].writes()).collect();
        stable.sort_by_key(|&number| self.completed[number]);
        for number in stable {
            let request = &self.record.requests[number];
            store.write(request.at, request.late.as_ref().unwrap_or(&request.data));
        }
        store
    }

    /// The disk after `cut`, on top of what is [stable](Self::stable).
    pub fn apply(&self, cut: &Cut, stable: &Store, choice: Choice) -> Store {
        self.apply_fates(cut, stable, &self.fates(cut, choice))
    }

    /// The same, with a fate for each of the writes that may be lost.
    pub fn apply_fates(&self, cut: &Cut, stable: &Store, fates: &[Fate]) -> Store {
        let mut store = stable.clone();
        for (&number, fate) in cut.volatile.iter().zip(fates) {
            let request = &self.record.requests[number];
            let late = request.late.as_ref().filter(|_| !fate.early && self.has_completed(number, cut));
            let bytes = late.unwrap_or(&request.data);
            for part in &fate.there {
                store.write(request.at + part.start, &bytes[part.clone()]);
            }
        }
        store
    }

    /// What a choice means for each of the writes that may be lost.
    pub fn fates(&self, cut: &Cut, choice: Choice) -> Vec<Fate> {
        let seed = if let Choice::Seeded(seed) | Choice::Torn(seed) = choice { seed } else { 0 };
        let mut rng = Rng::new(seed, "choice");
        let whole = self.whole(cut).into_iter().enumerate();
        let fate = |(index, whole): (usize, Fate)| {
            let there = match choice {
                Choice::Nothing => false,
                Choice::Everything => true,
                Choice::Only(n) => n == index,
                Choice::AllBut(n) => n != index,
                Choice::Set(bits) => index < 64 && bits >> index & 1 == 1,
                Choice::Seeded(_) | Choice::Torn(_) => {
                    let torn = matches!(choice, Choice::Torn(_));
                    return self.fate_by(&mut rng, cut, index, torn);
                }
            };
            if there { whole } else { Fate::lost() }
        };
        whole.map(fate).collect()
    }

    /// The fates of writes that are all there.
    pub fn whole(&self, cut: &Cut) -> Vec<Fate> {
        cut.volatile.iter().map(|&number| Fate::whole(self.record.requests[number].data.len())).collect()
    }

    fn fate_by(&self, rng: &mut Rng, cut: &Cut, index: usize, torn: bool) -> Fate {
        let number = cut.volatile[index];
        let request = &self.record.requests[number];
        let early = request.late.is_some() && self.has_completed(number, cut) && rng.chance(50);
        let torn = torn && (index == 0 || rng.chance(25));
        let (at, len) = (request.at, request.data.len());
        let there = match rng.below(5) {
            _ if torn => parts(at, len, SECTOR, rng),
            0 | 1 => return Fate { early, ..Fate::whole(len) },
            2 | 3 => parts(at, len, BLOCK, rng),
            _ => Vec::new(),
        };
        Fate { there, early }
    }

    fn has_completed(&self, number: usize, cut: &Cut) -> bool {
        matches!(self.completed[number], Some((end, _)) if end < cut.at)
    }
}

/// Random parts of a write, in units that begin at multiples of `unit` on the disk.
fn parts(at: usize, len: usize, unit: usize, rng: &mut Rng) -> Vec<Range<usize>> {
    let (mut parts, mut done) = (Vec::<Range<usize>>::new(), 0);
    while done < len {
        let end = len.min(done + unit - (at + done) % unit);
        if rng.chance(50) {
            match parts.last_mut() {
                Some(last) if last.end == done => last.end = end,
                _ => parts.push(done..end),
            }
        }
        done = end;
    }
    parts
}

impl Cut {
    /// The choices to look at, the plainest first: all subsets where there are few, else none, all, each single one, each
    /// single one missing, and `more` by seed.
    pub fn choices(&self, rng: &mut Rng, torn: bool, more: usize) -> Vec<Choice> {
        let n = self.volatile.len();
        let mut choices = match n {
            0 => return vec![Choice::Nothing],
            1..=3 => (0..1 << n).map(Choice::Set).collect(),
            _ => {
                let single = (0..n).flat_map(|i| [Choice::Only(i), Choice::AllBut(i)]);
                [Choice::Nothing, Choice::Everything].into_iter().chain(single).collect::<Vec<_>>()
            }
        };
        for i in 0..more {
            let seed = rng.next();
            choices.push(if torn && i % 2 == 0 { Choice::Torn(seed) } else { Choice::Seeded(seed) });
        }
        choices
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::block::BioOp;
    use std::sync::Arc;

    fn request(op: BioOp, at: usize, byte: u8) -> Request {
        let len = if op == BioOp::Flush { 0 } else { BLOCK };
        Request { op, at, len, data: Arc::new(vec![byte; len]), late: None, task: 0 }
    }

    #[test]
    fn a_flush_keeps_what_had_completed_before_it_was_submitted_and_nothing_else() {
        use Event::{Completed, Started, Submitted};
        let requests = vec![request(BioOp::Write, 0, 1), request(BioOp::Write, BLOCK, 2), request(BioOp::Flush, 0, 0)];
        let events = vec![
            Event::Ready,
            Submitted(0),
            Started(0),
            Submitted(1),
            Started(1),
            Completed(0, true),
            Submitted(2),
            Started(2),
            Completed(1, true),
            Completed(2, true),
        ];
        let record = Recording { requests, events };
        let base = Store::new(Arc::new(vec![0; 4 * BLOCK]));
        let states = States::new(&base, &record);
        assert_eq!(states.cut(9).volatile, [0, 1], "the flush is in flight");
        let cut = states.cut(10);
        assert_eq!(cut.volatile, [1]);
        assert!(states.is_flush_boundary(10));
        let stable = states.stable(&cut);
        assert_eq!((stable.to_vec()[0], stable.to_vec()[BLOCK]), (1, 0));
        assert_eq!(states.apply(&cut, &stable, Choice::Everything).to_vec()[BLOCK], 2);
        assert_eq!(states.cut(2).volatile, [0; 0], "nobody told the device yet");
    }

    #[test]
    fn a_write_that_failed_does_not_come_back_after_a_flush() {
        use Event::{Completed, Started, Submitted};
        let requests = vec![request(BioOp::Write, 0, 1), request(BioOp::Flush, 0, 0)];
        let mut events = vec![Event::Ready, Submitted(0), Started(0), Completed(0, false)];
        let before = events.len();
        events.extend([Submitted(1), Started(1), Completed(1, true)]);
        let record = Recording { requests, events };
        let base = Store::new(Arc::new(vec![0; BLOCK]));
        let states = States::new(&base, &record);
        assert_eq!(states.cut(before).volatile, [0], "it may have been written in part");
        assert_eq!(states.cut(before + 3).volatile, [0; 0]);
    }
}
