//! `EIO` for each read, each write and each flush of the workload in turn.
use crate::image::{Kind, fresh, judge};
use crate::stage::*;
use crate::workload::{Outcome, run};
use base::Errno;
use base::block::{BioOp, Filter};

/// The workload with the `n`-th request of kind `op` failing; `None` if there is none.
fn with_nth(kind: Kind, op: BioOp, n: u64) -> Option<Outcome> {
    let stage = Stage::of(fresh(kind), |gate| gate);
    stage.drop_caches();
    stage.gate.fail(Filter::any().op(op).nth(n), Errno::EIO);
    let outcome = run(stage, false);
    let log = outcome.stage.gate.log();
    log.iter().any(|request| request.completion.is_some_and(|(_, status)| status.is_err())).then_some(outcome)
}

fn each(kind: Kind, op: BioOp, at_least: u64) {
    let mut n = 1;
    while let Some(outcome) = with_nth(kind, op, n) {
        let log = outcome.stage.gate.log();
        let failed = log.iter().find(|request| request.completion.is_some_and(|(_, status)| status.is_err()));
        let what = format!("{op:?} {n} of {kind:?}, {failed:?} of {}", log.len());
        // A read may be made again, by whoever needs it (readahead): what it finds is judged all the same.
        assert!(op == BioOp::Read || !outcome.heard.is_empty(), "{what}: nobody was told");
        outcome.judge(&what, kind);
        if kind == Kind::Journal {
            let image = outcome.stage.disk.durable_image();
            judge(&format!("{what}, then a power cut"), kind, image, outcome.failed, &outcome.ledger);
        }
        n += 1;
    }
    assert!(n > at_least, "only {n} requests");
}

/// ERR-11, ERR-6: each read.
#[test]
fn err11_each_read_fails_with_a_journal() {
    each(Kind::Journal, BioOp::Read, 3);
}
#[test]
fn err11_each_read_fails_without_a_journal() {
    each(Kind::Plain, BioOp::Read, 3);
}

/// ERR-11, DUR-9, SHD-2: each write, of data, to the log, and in place.
#[test]
fn err11_dur9_each_write_fails_with_a_journal() {
    each(Kind::Journal, BioOp::Write, 20);
}
#[test]
fn err11_dur9_each_write_fails_without_a_journal() {
    each(Kind::Plain, BioOp::Write, 20);
}

/// ERR-11, DUR-9, DUR-8: each flush.
#[test]
fn err11_dur9_each_flush_fails_with_a_journal() {
    each(Kind::Journal, BioOp::Flush, 8);
}
#[test]
fn err11_dur9_each_flush_fails_without_a_journal() {
    each(Kind::Plain, BioOp::Flush, 8);
}
