//! What the judge of contents takes and what it refuses.
use super::content::Content;
use super::span::History;
use crate::powercut::image::Shape;
use crate::powercut::op::{How, Op, bytes_at};
use crate::powercut::player::Actor;
use crate::powercut::record::{Event, Mark, Recording};
use crate::powercut::workloads::{Stage, WORKLOADS};
use std::sync::Mutex;
use user::range::Range;
use user::rng::Rng;

const B: u64 = 1024;

/// A history in which each step has succeeded before the next one began.
fn history(ops: &[Op]) -> History {
    let marks = |(step, op): (usize, &Op)| {
        let copied = if let Op::Write { len, .. } = op { *len as usize } else { 0 };
        [Event::Step(step, Mark::Began), Event::Step(step, Mark::Returned(Ok(copied)))]
    };
    let events = ops.iter().enumerate().flat_map(marks).collect();
    History::new(ops.to_vec(), &Recording { requests: Vec::new(), events })
}

/// Whether file 0 may hold `found` when the power goes off behind the last step.
fn verdict(ops: &[Op], found: &[u8]) -> Result<(), String> {
    let history = history(ops);
    Content::of(&history.seen(2 * ops.len()), 0, B).check(found)
}

/// What a file holds in memory.
fn model(ops: &[Op], file: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (step, op) in ops.iter().enumerate() {
        match *op {
            Op::Write { file: of, pos, len, .. } if of == file => {
                let end = (pos + len) as usize;
                bytes.resize(bytes.len().max(end), 0);
                bytes[pos as usize..end].copy_from_slice(&bytes_at(step, pos, len));
            }
            Op::Truncate { file: of, size } if of == file => bytes.resize(size as usize, 0),
            Op::Range { file: of, range, pos, len } if of == file => range.apply(&mut bytes, pos, len),
            _ => {}
        }
    }
    bytes
}

fn write(pos: u64, len: u64, how: How) -> Op {
    Op::Write { file: 0, pos: pos * B, len: len * B, how }
}
fn range(range: Range, pos: u64, len: u64) -> Op {
    Op::Range { file: 0, range, pos: pos * B, len: len * B }
}
const FSYNC: Op = Op::Fsync { file: 0, data_only: true };

/// A file of `blocks` durable blocks, and what is done to it then; with what it held before that and what it holds after.
fn changed(blocks: u64, then: &[Op]) -> (Vec<Op>, Vec<u8>, Vec<u8>) {
    let ops = [&[write(0, blocks, How::Dsync)], then].concat();
    let (old, new) = (model(&ops[..1], 0), model(&ops, 0));
    (ops, old, new)
}

/// The blocks of `pieces` of contents; `None` is zeros.
fn blocks(pieces: &[(Option<&[u8]>, std::ops::Range<u64>)]) -> Vec<u8> {
    let piece = |(from, range): &(Option<&[u8]>, std::ops::Range<u64>)| match from {
        Some(bytes) => bytes[(range.start * B) as usize..(range.end * B) as usize].to_vec(),
        None => vec![0; ((range.end - range.start) * B) as usize],
    };
    pieces.iter().flat_map(piece).collect()
}

/// Steps are noted, and done to nothing.
struct Notes(Mutex<Vec<Op>>);

impl Actor for Notes {
    fn play(&self, op: &Op) -> base::Result<usize> {
        self.0.lock().expect("no panic").push(op.clone());
        Ok(0)
    }
    fn ready(&self) {}
    fn free_blocks(&self) -> u64 {
        0
    }
}

#[test]
fn what_was_done_is_allowed_and_all_that_came_before_until_it_is_durable() {
    let mut shifts = 0;
    for (name, seed) in ["ranges", "program"].into_iter().flat_map(|name| (0..20).map(move |seed| (name, seed))) {
        let notes = Notes(Mutex::default());
        let workload = WORKLOADS.iter().find(|w| w.name == name).expect("there is one");
        let shape = Shape { block_size: B as u32, ..Shape::USUAL };
        (workload.play)(&Stage { actor: &notes, shape, number: 0 }, &mut Rng::new(seed, "judge"));
        let mut ops = notes.0.into_inner().expect("no panic");
        // The last one is the unmount, which makes all durable.
        ops.pop();
        shifts += ops.iter().filter(|op| matches!(op, Op::Range { range, .. } if range.shifts())).count();
        let durable = |op: &Op| match op {
            Op::Write { how, .. } => how.durable(),
            op => matches!(op, Op::Fsync { .. } | Op::Sync),
        };
        let last = ops.iter().rposition(durable).map_or(0, |at| at + 1);
        let history = history(&ops);
        let seen = history.seen(2 * ops.len());
        for file in 0..2 {
            let content = Content::of(&seen, file, B);
            for so_far in last..=ops.len() {
                let found = model(&ops[..so_far], file);
                assert_eq!(content.check(&found), Ok(()), "{name} {seed}: file {file} after {so_far} steps of {ops:?}");
            }
            let mut wrong = model(&ops, file);
            if let Some(byte) = wrong.last_mut() {
                *byte ^= 0x55;
                assert!(content.check(&wrong).is_err(), "{name} {seed}: file {file}");
            }
        }
    }
    assert!(shifts > 50, "{shifts}");
}

#[test]
fn trc6_trc7_a_range_is_old_or_zeros_until_that_is_durable() {
    for mode in [Range::Punch, Range::Zero, Range::ZeroKeep] {
        let (mut ops, old, new) = changed(6, &[range(mode, 1, 3)]);
        let mixture = blocks(&[(Some(&old), 0..2), (None, 2..3), (Some(&old), 3..6)]);
        for found in [&old, &new, &mixture] {
            assert_eq!(verdict(&ops, found), Ok(()), "{mode:?}");
        }
        let beside = blocks(&[(Some(&old), 0..4), (None, 4..5), (Some(&old), 5..6)]);
        assert!(verdict(&ops, &beside).is_err(), "a block beside the range is zeros");
        let foreign = [&old[..2 * B as usize], &bytes_at(99, 2 * B, B)[..], &old[3 * B as usize..]].concat();
        assert!(verdict(&ops, &foreign).is_err(), "a block of the range is another file's");
        let half = [&old[..B as usize], &vec![0; B as usize / 2][..], &old[B as usize * 3 / 2..]].concat();
        assert!(verdict(&ops, &half).is_err(), "half a block of the range is zeros");
        // The zeros of half a block come with a write of the other half, whatever becomes of the range.
        let brings = Op::Write { file: 0, pos: B * 3 / 2, len: B / 2, how: How::Buffered };
        let written = bytes_at(2, B * 3 / 2, B / 2);
        let brought = [&half[..B as usize * 3 / 2], &written[..], &old[2 * B as usize..]].concat();
        assert_eq!(verdict(&[&ops[..], &[brings]].concat(), &brought), Ok(()));
        ops.push(FSYNC);
        assert_eq!(verdict(&ops, &new), Ok(()));
        assert!(verdict(&ops, &old).is_err() && verdict(&ops, &mixture).is_err());
    }
}

#[test]
fn trc7_a_zeroed_range_that_makes_a_file_longer() {
    let (mut ops, old, new) = changed(2, &[range(Range::Zero, 1, 3)]);
    let grown = blocks(&[(Some(&old), 0..2), (None, 0..2)]);
    for found in [&old, &new, &grown] {
        assert_eq!(verdict(&ops, found), Ok(()));
    }
    assert!(verdict(&ops, &[&new[..], &[0]].concat()).is_err());
    ops.push(FSYNC);
    assert_eq!(verdict(&ops, &new), Ok(()));
    assert!(verdict(&ops, &new[..2 * B as usize]).is_err() && verdict(&ops, &grown).is_err());
}

#[test]
fn trc8_a_collapse_and_an_insertion_are_all_or_nothing() {
    for mode in [Range::Collapse, Range::Insert] {
        let (ops, old, new) = changed(8, &[range(mode, 2, 3)]);
        assert_eq!((verdict(&ops, &old), verdict(&ops, &new)), (Ok(()), Ok(())));
        let freed = blocks(&[(Some(&old), 0..2), (None, 0..3), (Some(&old), 5..8)]);
        let short = &old[..new.len().min(old.len())];
        let long = [&new[..], &vec![0; old.len().saturating_sub(new.len())]].concat();
        let wandering = match mode {
            Range::Collapse => blocks(&[(Some(&new), 0..3), (None, 0..3), (Some(&old), 6..8)]),
            _ => blocks(&[(Some(&old), 0..4), (None, 0..3), (Some(&old), 4..8)]),
        };
        assert!(verdict(&ops, &freed).is_err(), "{mode:?}: freed and not moved");
        assert!(verdict(&ops, &wandering).is_err(), "{mode:?}: moved in part");
        if mode == Range::Collapse {
            assert!(verdict(&ops, short).is_err() && verdict(&ops, &long).is_err(), "one without its size");
        }
        for (durable, then) in [
            (true, FSYNC),
            (true, Op::Sync),
            (true, write(1, 2, How::ThroughDsync)),
            (false, write(1, 1, How::ThroughDsync)),
            (false, write(3, 1, How::Through)),
        ] {
            let ops = [&ops[..], std::slice::from_ref(&then)].concat();
            assert_eq!(verdict(&ops, &model(&ops, 0)), Ok(()), "{mode:?}, {then:?}");
            let mut before = old.clone();
            if let Op::Write { pos, len, how: How::ThroughDsync, .. } = then {
                before[pos as usize..(pos + len) as usize].copy_from_slice(&bytes_at(2, pos, len));
            }
            assert_eq!(verdict(&ops, &before).is_err(), durable, "{mode:?}, {then:?}");
        }
    }
}

/// What is written in place behind a shift goes into blocks that have their old positions if the shift is lost.
#[test]
fn trc8_a_write_behind_a_shift_that_is_lost() {
    let at = |start: u64| start as usize * B as usize..(start + 1) as usize * B as usize;
    for (mode, new_place, old_place) in [(Range::Collapse, 3, 6), (Range::Insert, 6, 3)] {
        let (ops, old, _) = changed(8, &[range(mode, 2, 3), write(new_place, 1, How::Through)]);
        let bytes = bytes_at(2, new_place * B, B);
        let mut found = old.clone();
        found[at(old_place)].copy_from_slice(&bytes);
        assert_eq!(verdict(&ops, &found), Ok(()), "{mode:?}");
        let mut found = old.clone();
        found[at(new_place)].copy_from_slice(&bytes);
        assert!(verdict(&ops, &found).is_err(), "{mode:?}");
    }
    // Into the blocks that an insertion has brought: of those nobody knows without it.
    let (ops, mut found, _) = changed(8, &[range(Range::Insert, 2, 3), write(2, 1, How::Through)]);
    found[at(2)].copy_from_slice(&bytes_at(2, 2 * B, B));
    assert!(verdict(&ops, &found).is_err());
}

/// Decision 12: what takes more than a transaction leaves all bytes in their order, with the zeros among them.
#[test]
fn trc8_a_long_shift_may_stop_between_two_transactions() {
    const LEN: u64 = 6000;
    let (mut ops, old, new) = changed(LEN, &[range(Range::Collapse, 10, 3)]);
    let moved = |to: u64| blocks(&[(Some(&new), 0..to), (None, 0..3), (Some(&old), to + 3..LEN)]);
    assert_eq!(verdict(&ops, &moved(4000)), Ok(()));
    let lost = blocks(&[(Some(&new), 0..4000), (None, 0..4), (Some(&old), 4004..LEN)]);
    assert!(verdict(&ops, &lost).is_err(), "a block is lost");
    assert!(verdict(&ops, &moved(4000)[..new.len()]).is_err(), "the size comes last");
    ops.push(FSYNC);
    assert!(verdict(&ops, &moved(4000)).is_err(), "it is durable");

    let (ops, old, new) = changed(LEN, &[range(Range::Insert, 10, 3)]);
    let moved = |to: u64| blocks(&[(Some(&old), 0..to), (None, 0..3), (Some(&old), to..LEN)]);
    assert_eq!(verdict(&ops, &moved(4000)), Ok(()));
    assert_eq!(verdict(&ops, &moved(11)), Ok(()));
    assert!(verdict(&ops, &moved(9)).is_err(), "before the place");
    assert!(verdict(&ops, &moved(4000)[..old.len()]).is_err(), "the size comes first");
    assert_eq!(verdict(&ops, &new), Ok(()));
}

/// Decision 12: a range of many extents is freed in several transactions too, from its end.
#[test]
fn trc8_a_long_range_may_be_freed_in_part() {
    for (blocks_of_range, allowed) in [(40, true), (30, false)] {
        let (ops, old, _) = changed(100, &[range(Range::Collapse, 10, blocks_of_range)]);
        let end = 10 + blocks_of_range;
        let part = |from: u64, to: u64| blocks(&[(Some(&old), 0..from), (None, from..to), (Some(&old), to..100)]);
        assert_eq!(verdict(&ops, &part(20, end)).is_ok(), allowed);
        assert!(verdict(&ops, &part(20, end - 1)).is_err(), "not to its end");
        assert!(verdict(&ops, &part(20, end + 1)).is_err(), "past its end");
        assert!(verdict(&ops, &part(10, end)).is_err(), "all of it, and nothing moved");
    }
}
