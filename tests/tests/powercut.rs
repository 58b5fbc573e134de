//! The power cut, a little of it: each test is there for one promise, and the museum shows that it can fail. `make powercut` does more.
use std::collections::BTreeSet;
use tests::powercut::campaign::{self, Plan};
use tests::powercut::case::{By, Case, Played, Violation};
use tests::powercut::check::{Checker, Look};
use tests::powercut::image::Shape;
use tests::powercut::keep;
use tests::powercut::op::{How, Op};
use tests::powercut::oracle::History;
use tests::powercut::record::{Event, Mark};
use tests::powercut::states::{Choice, Fate, States};
use tests::powercut::workloads::{WORKLOADS, Workload};
use user::range::Range;

/// Looks at about `states` states of a workload.
fn cut(workload: &str, states: usize) {
    let plan = Plan { states, by: By::Host, seed: 1, only: Some(workload.to_owned()), run: None };
    let outcome = campaign::run(&plan, &|| ()).expect("the workload is played");
    let violations = outcome.sum(|counts| counts.violations);
    assert_eq!(violations, 0, "{}", outcome.told.first().map_or("", String::as_str));
    assert!(outcome.sum(|counts| counts.states) >= states);
}

#[test]
fn cra1_a_commit_vouches_only_for_what_is_durable() {
    cut("names", 300);
}

#[test]
fn cra4_the_log_is_emptied_when_all_is_at_its_place() {
    cut("names", 400);
}

#[test]
fn cra3_freed_blocks_wait_for_the_commit_that_frees_them() {
    cut("full", 100);
}

/// The same for what a punch or a collapse frees: another file is written at once to all that is free.
#[test]
fn cra3_punched_blocks_wait_for_the_commit_that_punches_them() {
    cut("holes", 200);
}

#[test]
fn cra3_programs_of_the_oracle_survive_every_cut() {
    cut("program", 400);
}

#[test]
fn trc8_a_collapse_is_all_or_nothing() {
    cut("ranges", 300);
}

#[test]
fn revoked_blocks_are_not_written_over_by_recovery() {
    cut("reuse", 100);
}

#[test]
fn r56_no_stale_block_shows() {
    cut("truncate", 100);
}

#[test]
fn r54_dsync_is_told_after_the_commit() {
    cut("ways", 100);
}

/// A file is written behind a commit: nothing that it promises is more than what was there before.
static BEHIND: Workload = Workload {
    name: "behind",
    shapes: &[Shape::USUAL],
    share: 4,
    fails: false,
    host_only: false,
    play: |stage, _| {
        stage.create("/f", 0);
        stage.write(0, 0, 4 * 4096, How::Buffered);
        stage.ready();
        for n in 0..6 {
            stage.write(0, n * 3 * 4096, 2 * 4096, How::Through);
            let _ = stage.play(Op::Mkdir { path: format!("/d{n}") });
            let _ = stage.play(Op::Commit);
        }
        stage.end();
    },
};

/// A file without a name is open while the disk fails a write and the journal stops: it stays on the list of orphans.
static ORPHAN: Workload = Workload {
    name: "orphan",
    fails: true,
    play: |stage, _| {
        (0..2).for_each(|file| stage.create(&format!("/f{file}"), file));
        stage.write(0, 0, 4096, How::Buffered);
        stage.ready();
        let _ = stage.play(Op::Unlink { path: "/f0".into() });
        // One of the writes of these fails.
        (0..60).for_each(|n| stage.write(1, n * 4096, 4096, How::Dsync));
        stage.end();
    },
    ..BEHIND
};

#[test]
fn orphans_of_a_disk_that_has_failed_are_left_to_sluice() {
    let run = Case::new(&ORPHAN, 1, 0).play().expect("the workload is played");
    let end = run.record.events.len();
    assert!(run.record.has_failed(end) && !run.record.has_failed(run.record.ready()));
    let mut checker = Checker::new().expect("there is e2fsck");
    let (counts, violations) = run.check(&mut checker, 100, || ()).expect("states are looked at");
    let words: Vec<&str> = violations.iter().map(|violation| violation.why.as_str()).collect();
    assert_eq!((counts.states >= 100, words), (true, vec![]));

    // Why: `e2fsck` finds the orphan, but not by the list.
    let told = |&at: &usize| matches!(run.record.events[at - 1], Event::Step(_, Mark::Returned(Err(_))));
    let at = (1..end).find(told).expect("a step fails");
    let states = States::new(&run.base, &run.record);
    let cut = states.cut(at);
    let state = states.apply(&cut, &states.stable(&cut), Choice::Everything);
    let seen = run.history.seen(at);
    assert_eq!(checker.check(&state, &seen, run.case.shape).expect("Sluice looks at it"), Ok(()));
    let verdict = checker.check_repaired(&state, &seen, run.case.shape).expect("e2fsck looks at it");
    assert!(verdict.as_ref().is_err_and(|why| why.contains("zero dtime")), "{verdict:?}");
}

#[test]
fn programs_of_the_oracle_are_played_with_all_that_they_have() {
    let workload = WORKLOADS.iter().find(|workload| workload.name == "program").expect("there is one");
    let (mut hows, mut ranges) = (BTreeSet::new(), BTreeSet::new());
    for number in 0..4 {
        let run = Case::new(workload, 1, number).play().expect("the workload is played");
        let end = run.history.seen(run.record.events.len());
        for (step, op) in run.history.ops().iter().enumerate() {
            assert!(end.succeeded(step), "step {step} of run {number}, {op:?}: {:?}", end.returned(step));
            match op {
                Op::Write { how, .. } => _ = hows.insert(format!("{how:?}")),
                Op::Range { range, .. } => _ = ranges.insert(format!("{range:?}")),
                _ => {}
            }
        }
    }
    // The generator has no write-through with SYNC.
    assert_eq!((hows.len(), ranges.len()), (How::ALL.len(), Range::ALL.len()), "{hows:?} {ranges:?}");
}

#[test]
fn trc8_a_shift_of_several_transactions_is_in_order_after_each() {
    cut("crumbs", 20);
}

/// How many writes are there, and how many are not or not as a whole.
type Size = (usize, usize);

fn size(fates: &[Fate], whole: &[Fate]) -> Size {
    let there = fates.iter().filter(|fate| !fate.is_lost()).count();
    (there, fates.iter().zip(whole).filter(|(fate, whole)| fate != whole).count())
}

/// The violations among some states of `run`.
fn broken(run: &Played) -> Vec<Violation> {
    let mut checker = Checker::new().expect("there is e2fsck");
    run.check(&mut checker, 60, || ()).expect("states are looked at").1
}

/// The sizes of violations, as they were found and as they were kept. Each of these must still fail.
fn sizes(run: &Played, violations: &[Violation]) -> Vec<(Size, Size)> {
    let mut checker = Checker::new().expect("there is e2fsck");
    let (states, shape) = (States::new(&run.base, &run.record), run.case.shape);
    let size_of = |violation: &Violation| {
        let (cut, seen) = (states.cut(violation.at), run.history.seen(violation.at));
        // By Sluice or by `e2fsck`, whichever had found it.
        let verdict = checker.look(&violation.state, &seen, shape, &Look::Both).expect("the state is looked at").1;
        assert!(verdict.is_err(), "no longer: {}", violation.why);
        let whole = states.whole(&cut);
        (size(&states.fates(&cut, violation.choice), &whole), size(&violation.fates, &whole))
    };
    violations.iter().map(size_of).collect()
}

#[test]
fn a_state_that_fails_becomes_smaller_and_still_fails() {
    let mut run = Case::new(&BEHIND, 1, 0).play().expect("the workload is played");
    assert_eq!(broken(&run).len(), 0, "all is well with an honest disk");
    run.record.deny_flushes();
    let violations = broken(&run);
    let sizes = sizes(&run, &violations);
    assert!(sizes.iter().all(|(found, kept)| kept.0 <= found.0 || kept.1 <= found.1), "{sizes:?}");
    // What a lost write of data breaks needs the commit that vouches for it, or no more than its own loss.
    let smaller =
        |(found, kept): &&(Size, Size)| kept.0.min(kept.1) > 0 && kept.0.min(kept.1) + 2 < found.0.min(found.1);
    let smallest = sizes.iter().position(|sizes| smaller(&sizes)).unwrap_or_else(|| panic!("{sizes:?}"));

    // What is kept tells of these writes alone.
    let (folder, _) = keep::keep(&run, &violations[smallest]).expect("the state is kept");
    let told = std::fs::read_to_string(folder.join("told.txt")).expect("it is told");
    let (there, gone) = sizes[smallest].1;
    let count = if there <= gone { format!("{there} are there") } else { format!("{gone} are not there") };
    assert!(told.lines().any(|line| line.contains("may be lost") && line.contains(&count)), "{count}: {told}");
    assert_eq!(told.lines().filter(|line| line.starts_with("  (")).count(), there.min(gone), "{told}");
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn a_forged_acknowledgement_is_found_with_nothing_on_the_disk() {
    let run = Case::new(&BEHIND, 1, 0).play().expect("the workload is played");
    let mut ops = run.history.ops().to_vec();
    for op in &mut ops {
        if let Op::Write { how, .. } = op {
            *how = How::ThroughDsync;
        }
    }
    let forged = Played { history: History::new(ops, &run.record), ..run };
    let sizes = sizes(&forged, &broken(&forged));
    assert!(sizes.iter().any(|(found, _)| found.0 > 0), "{sizes:?}");
    assert!(sizes.iter().all(|(_, kept)| kept.0 == 0), "such a promise needs no write to be broken: {sizes:?}");
}
