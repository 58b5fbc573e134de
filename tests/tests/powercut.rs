//! The power cut, a little of it: each test is there for one promise, and the museum shows that it can fail. `make powercut` does more.
use tests::powercut::campaign::{self, Plan};
use tests::powercut::case::By;

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
