//! Workloads that the booted kernel plays on a block server that records: cuts of what virtio-blk and the whole kernel have done. And
//! the same kernel on a device that stops answering for half a minute.
use anyhow::{Result, ensure};
use std::collections::BTreeSet;
use std::mem::discriminant;
use std::time::{Duration, Instant};
use tests::powercut::case::{Case, Played};
use tests::powercut::check::Checker;
use tests::powercut::fsck::Fsck;
use tests::powercut::guest;
use tests::powercut::image::Shape;
use tests::powercut::op::{How, Op};
use tests::powercut::record::{Event, Mark};
use tests::powercut::states::States;
use tests::powercut::workloads::{Stage, Workload};
use user::range::Range;
use user::rng::Rng;

/// Every step there is, and every way to write, with asynchronous writes in flight while others are played.
static EVERYTHING: Workload = Workload {
    name: "everything",
    shapes: &[Shape::USUAL, Shape::SMALL_BLOCKS],
    share: 4,
    fails: false,
    host_only: false,
    play: everything,
};

fn everything(stage: &Stage<'_>, rng: &mut Rng) {
    let block = u64::from(stage.shape.block_size);
    let play = |op: Op| stage.play(op).expect("no step of this workload fails");
    stage.create("/a", 0);
    play(Op::Mkdir { path: "/d".into() });
    play(Op::Write { file: 0, pos: 0, len: 8 * block, how: How::Buffered });
    stage.ready();
    stage.create("/d/b", 1);
    play(Op::Range { file: 1, range: Range::AllocateKeep, pos: 0, len: 6 * block });
    for round in 0..4 {
        // Eight in flight, and everything else meanwhile.
        for n in 0..8 {
            let (how, pos) = (if n % 4 == 3 { How::AioDsync } else { How::Aio }, n * block + n * rng.below(50) as u64);
            play(Op::Write { file: round % 2, pos, len: 2 * block, how });
        }
        for how in How::ALL {
            play(Op::Write { file: 1 - round % 2, pos: rng.below(8) as u64 * block, len: block, how });
        }
        play(Op::Fsync { file: round % 2, data_only: round < 2 });
        play(Op::Truncate { file: 0, size: (3 + rng.below(4)) as u64 * block + 7 });
        play(Op::Write { file: 0, pos: block / 2, len: 2 * block, how: How::Mapped });
        for range in Range::ALL {
            // Two blocks of more than three, in some modes by and by of four.
            let (pos, len) = if range.shifts() { (block, block) } else { (block + 100, 2 * block) };
            play(Op::Range { file: 0, range, pos, len });
        }
    }
    play(Op::Link { file: 0, to: "/d/link".into() });
    play(Op::Rename { from: "/d/link".into(), to: "/c".into() });
    play(Op::SyncDir { path: "/d".into() });
    play(Op::Unlink { path: "/c".into() });
    play(Op::Mkdir { path: "/e".into() });
    play(Op::Flush);
    play(Op::Rmdir { path: "/e".into() });
    play(Op::Commit);
    play(Op::Settle);
    play(Op::Sync);
    play(Op::Unlink { path: "/d/b".into() });
    play(Op::Close { file: 1 });
    play(Op::Write { file: 0, pos: 0, len: block, how: How::Through });
    play(Op::Unmount);
}

/// A machine lives no longer.
const LIMIT_S: u64 = 240;
/// The longest delay of an answer of the disk: many steps of the program.
const DELAY: Duration = Duration::from_millis(40);

/// Steps that began while at least two asynchronous writes were in flight.
fn steps_beside_two(run: &Played) -> usize {
    let (mut in_flight, mut beside) = (BTreeSet::new(), 0);
    for event in &run.record.events {
        match *event {
            Event::Step(_, Mark::Began) => beside += usize::from(in_flight.len() >= 2),
            Event::Step(step, Mark::Accepted) => _ = in_flight.insert(step),
            Event::Step(step, Mark::Returned(_)) => _ = in_flight.remove(&step),
            _ => {}
        }
    }
    beside
}

/// No step has failed, and each has ended.
fn all_succeeded(run: &Played) -> Result<()> {
    let end = run.history.seen(run.record.events.len());
    for (step, op) in run.history.ops().iter().enumerate() {
        ensure!(end.succeeded(step), "step {step} ({op:?}): {:?}", end.returned(step));
    }
    Ok(())
}

/// The violations among `budget` states.
fn broken(run: &Played, budget: usize) -> Result<Vec<String>> {
    let (counts, violations) = run.check(&mut Checker::new()?, budget, || ())?;
    ensure!(counts.states >= budget, "only {} states", counts.states);
    Ok(violations.into_iter().map(|violation| violation.why).collect())
}

on_cpus! {
    fn what_the_kernel_plays_survives_every_cut_unless_the_disk_lies_about_flushes(cpus: u32) -> Result<()> {
        survives_every_cut(cpus)
    }
}

fn survives_every_cut(cpus: u32) -> Result<()> {
    let runs = guest::with_machine(cpus, LIMIT_S, |machine| {
        let mut play = |number| machine.play(Case::new(&EVERYTHING, 1, number), &mut |disk| disk.delay(number, DELAY));
        Ok([play(0)?, play(1)?])
    })?;
    for mut run in runs {
        all_succeeded(&run)?;
        let kinds: Vec<_> = run.history.ops().iter().map(discriminant).collect();
        let kinds = kinds.iter().enumerate().filter(|(i, kind)| !kinds[..*i].contains(kind)).count();
        ensure!(kinds == 17, "{kinds} kinds of steps");
        ensure!(steps_beside_two(&run) > 5, "{} steps were played beside two writes", steps_beside_two(&run));
        assert_eq!(broken(&run, 60)?, [] as [String; 0]);

        run.record.deny_flushes();
        let found = broken(&run, 60)?;
        ensure!(found.len() > 10, "a disk that lies about flushes breaks only {} states", found.len());
    }
    Ok(())
}

/// How long the device is silent: less than the 60 s after which the driver resets a device.
const SILENCE: Duration = Duration::from_secs(30);
/// Requests before that.
const BEFORE: usize = 150;

#[test]
fn a_device_that_stops_for_half_a_minute_is_waited_for() -> Result<()> {
    let case = Case::new(&EVERYTHING, 2, 0);
    // Both waits for the device and all that is done meanwhile are the business of several CPUs.
    let (run, took) = guest::with_machine(2, LIMIT_S, |machine| {
        let start = Instant::now();
        let run = machine.play(case, &mut |disk| disk.stop_after(BEFORE, SILENCE))?;
        Ok((run, start.elapsed()))
    })?;
    all_succeeded(&run)?;
    ensure!(took >= SILENCE, "the device did not stop: the workload took {took:?}");
    let events = &run.record.events;
    let stopped = events.iter().position(|event| matches!(event, Event::Submitted(BEFORE)));
    let last = events.iter().rposition(|event| matches!(event, Event::Step(_, Mark::Began)));
    ensure!(
        stopped > Some(run.record.ready()) && stopped < last,
        "the device stopped at event {stopped:?} of {last:?}"
    );

    let states = States::new(&run.base, &run.record);
    let cut = states.cut(events.len());
    let disk = states.stable(&cut);
    assert_eq!(Fsck::new()?.check(&disk)?, Ok(()));
    assert_eq!(Checker::new()?.check(&disk, &run.history.seen(events.len()), case.shape)?, Ok(()));
    assert_eq!(broken(&run, 60)?, [] as [String; 0], "cuts before, in and after the silence");
    Ok(())
}
