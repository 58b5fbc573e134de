//! Each allocation of the workload fails in turn (ERR-11, R62): the call says `ENOMEM`, or nobody notices; made once more it succeeds, and
//! in the end all is as if nothing had happened.
use crate::image::{Kind, fresh};
use crate::stage::*;
use crate::workload::run;
use base::Errno;

fn each(kind: Kind) {
    for n in 1.. {
        let stage = Stage::of(fresh(kind), |gate| gate);
        let plan = base::memory::fail_allocation(n, 1);
        let outcome = run(stage, true);
        let all_passed = !plan.is_spent();
        drop(plan);
        let what = format!("allocation {n} of {kind:?}");
        assert!(outcome.heard.iter().all(|(_, error)| *error == Errno::ENOMEM), "{what}: {:?}", outcome.heard);
        assert!(!outcome.failed, "{what}: lack of memory is no damage");
        outcome.judge(&what, kind);
        if all_passed {
            assert!(n > 100, "only {n} allocations");
            return;
        }
    }
}

#[test]
fn err11_r62_each_allocation_fails_with_a_journal() {
    each(Kind::Journal);
}
#[test]
fn err11_r62_each_allocation_fails_without_a_journal() {
    each(Kind::Plain);
}
