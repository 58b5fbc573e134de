//! The power cut, a little of it: each test is there for one promise, and the museum shows that it can fail. `make powercut` does more.
use tests::powercut::campaign::{self, Plan};

/// Looks at about `states` states of a workload.
fn cut(workload: &str, states: usize) {
    let plan = Plan { states, seed: 1, only: Some(workload.to_owned()), run: None };
    let outcome = campaign::run(&plan, &|| ()).expect("the workload is played");
    assert_eq!(outcome.told, Vec::<String>::new());
    assert!(outcome.sum(|counts| counts.states) >= states);
}

#[test]
fn cra1_a_commit_vouches_only_for_what_is_durable() {
    cut("names", 100);
}

#[test]
fn cra4_the_log_is_emptied_when_all_is_at_its_place() {
    cut("directories", 100);
}

#[test]
fn cra3_freed_blocks_wait_for_the_commit_that_frees_them() {
    cut("full", 150);
}

#[test]
fn revoked_blocks_are_not_written_over_by_recovery() {
    cut("reuse", 100);
}

#[test]
fn r56_no_stale_block_shows() {
    cut("ways", 100);
}

#[test]
fn r54_dsync_is_told_after_the_commit() {
    cut("append", 100);
}

#[test]
fn r51_fsync_flushes_what_a_write_through_wrote() {
    cut("overlap", 150);
}
