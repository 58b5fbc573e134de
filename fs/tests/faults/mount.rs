//! A mount that recovers a journal while the disk or the memory fails: it gives an error or works, and the next one, on a healthy
//! disk, finds all that was promised (CRA-4).
use crate::image::{Kind, fresh, judge};
use crate::ledger::Ledger;
use crate::stage::*;
use crate::workload::Workload;
use base::Errno;
use base::block::{BioOp, Filter, Gate, RamDisk};
use fs::ext4::{self, MountOptions};
use std::sync::Arc;

/// What a power cut leaves after the whole workload, and what must be there.
fn after_a_cut() -> (Vec<u8>, Ledger) {
    let stage = Stage::of(fresh(Kind::Journal), |gate| gate);
    let mut workload = Workload::new(&stage, false);
    workload.run();
    let ledger = workload.ledger;
    let image = stage.disk.durable_image();
    stage.vfs.unmount_all().expect("unmount");
    (image, ledger)
}

/// Mounts `image` with what `fault` prepares; the disk after it, and how the mount ended.
fn mount(image: Vec<u8>, fault: impl FnOnce(&Arc<Gate>)) -> (Arc<RamDisk>, Arc<Gate>, Option<Errno>) {
    let disk = RamDisk::builder(image.len() as u64 / 512).contents(image).build().expect("a RAM disk");
    let gate = Gate::new(disk.clone());
    fault(&gate);
    let mounted = ext4::mount(gate.clone(), 1, MountOptions::default());
    gate.clear_rules();
    let error = mounted.as_ref().err().copied();
    // Some faults are met after the last step that needs the disk: the file system is there, and is unmounted.
    if let Ok(sb) = mounted {
        let _ = sb.ops().unmount();
    }
    (disk, gate, error)
}

fn has_error_state(disk: &RamDisk) -> bool {
    disk.peek(1024 + 0x3a, 1)[0] & 2 != 0
}

/// CRA-4, ERR-11: each request of a recovery fails in turn.
#[test]
fn cra4_each_request_of_a_recovery_fails_in_turn() {
    let (image, ledger) = after_a_cut();
    for op in [BioOp::Read, BioOp::Write, BioOp::Flush] {
        for n in 1.. {
            let (disk, gate, error) = mount(image.clone(), |gate| gate.fail(Filter::any().op(op).nth(n), Errno::EIO));
            if gate.log().iter().all(|request| request.completion.is_some_and(|(_, status)| status.is_ok())) {
                assert!(n > 2 && error.is_none());
                break;
            }
            let what = format!("{op:?} {n} of a mount, which gave {error:?}");
            assert!(error.is_none_or(|error| error == Errno::EIO), "{what}");
            judge(&what, Kind::Journal, disk.durable_image(), has_error_state(&disk), &ledger);
            judge(&what, Kind::Journal, disk.image(), has_error_state(&disk), &ledger);
        }
    }
}

/// ERR-11: each allocation of a recovery fails in turn.
#[test]
fn err11_each_allocation_of_a_recovery_fails_in_turn() {
    let (image, ledger) = after_a_cut();
    for n in 1.. {
        let mut plan = None;
        let (disk, _gate, error) = mount(image.clone(), |_| plan = Some(base::memory::fail_allocation(n, 1)));
        let spent = plan.is_some_and(|plan| plan.is_spent());
        let what = format!("allocation {n} of a mount, which gave {error:?}");
        assert!(error.is_none_or(|error| error == Errno::ENOMEM), "{what}");
        judge(&what, Kind::Journal, disk.image(), false, &ledger);
        if !spent {
            assert!(n > 10 && error.is_none(), "only {n} allocations");
            return;
        }
    }
}
