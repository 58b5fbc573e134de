//! What must not wait.
use crate::Scenario;
use crate::aio::Iocb;
use crate::kit::{Outcome, WT, same, write};
use crate::stage::{Call, Stage};
use user::sys::{self, Memory, PAGE};

pub const SCENARIOS: &[Scenario] = &[
    ("R72", "32 writes to one file must all be in flight at once", depth_collapse),
    ("R73", "no lock may be held while a synchronous write waits for the disk", lock_across_device),
];

/// Requests in flight.
const DEPTH: usize = 32;

fn depth_collapse(stage: &Stage) -> Outcome {
    let file = stage.file(&[b'o'; DEPTH * PAGE])?;
    let memory = Memory::new(PAGE);
    memory.set(0, &[b'n'; PAGE]);
    stage.lab(&format!("hold write {DEPTH}"))?;
    // Every other page from either end, so that no two of them make one request.
    let places = (0..DEPTH).map(|i| i * 7 % DEPTH);
    let batch: Vec<Iocb> = places.map(|i| Iocb::write(&file.file, memory, PAGE, (i * PAGE) as u64, WT)).collect();
    same("io_submit", stage.aio.submit(&batch), Ok(DEPTH as u64))?;
    stage.tell("A", "io_submit of 32 writes has returned");
    stage.lab(&format!("wait-held {DEPTH}"))?;
    stage.tell("lab", "all 32 stand at the disk");
    stage.no_event()?;
    stage.lab("release")?;
    let ended = stage.aio.reap(DEPTH)?.iter().filter(|event| event.res == PAGE as i64).count();
    same("writes that ended well", ended, DEPTH)?;
    stage.tell("A", "and all 32 have ended");
    file.expect(&[b'n'; DEPTH * PAGE])
}

fn lock_across_device(stage: &Stage) -> Outcome {
    let file = stage.file(&[b'o'; 4 * PAGE])?;
    let clone = file.file.try_clone().map_err(crate::kit::text)?;
    stage.lab("hold write 1")?;
    let writing = Call::start(move || write(&clone, &[b'n'; PAGE], 0, WT));
    stage.tell("A", "calls pwritev2 with RWF_WRITETHROUGH");
    stage.lab("wait-held 1")?;
    same("stat", file.size(), 4 * PAGE as u64)?;
    stage.tell("B", "stat has returned");
    let mut byte = [0];
    same("read", sys::pread(file.fd(), &mut byte, 0), Ok(1))?;
    same("byte 0", byte, *b"n")?;
    stage.tell("B", "reads the new bytes");
    same("write", write(&file.file, &[b'b'; 10], 2 * PAGE as u64, 0), Ok(10))?;
    stage.tell("B", "an ordinary write to another page has returned");
    same("write", write(&file.file, &[b'c'; PAGE], 3 * PAGE as u64, WT), Ok(PAGE))?;
    stage.tell("B", "a write-through to another page has returned");
    writing.expect_waiting()?;
    stage.lab("release")?;
    same("the first write", writing.join()?, Ok(PAGE))?;
    stage.tell("A", "pwritev2 has returned");
    Ok(())
}
