//! Readers and eviction beside a write, and two writers of one page.
use crate::Scenario;
use crate::aio::{Aio, Iocb};
use crate::kit::{Outcome, WT, same, same_bytes, write};
use crate::stage::{Stage, inode};
use user::sys::{self, Memory, PAGE};

pub const SCENARIOS: &[Scenario] = &[
    ("R12", "eviction between the disk's answer and the conversion must not leave zeros", reclaim_before_convert),
    ("R13", "a direct read there must not find zeros", dread_zeroes),
    ("R20", "the first write that ends must not release the page of another", stable_first_finisher),
    ("R29", "of two overlapping writes the later must win on the disk too", overlap_two_aio),
    ("R32", "appends in flight must neither overlap nor change their order", append_pipeline),
];

/// A task sleeps there for the writeback of a folio; the object is the folio's place in its file.
const WRITEBACK: &str = "folio.wait_writeback";

fn reclaim_before_convert(stage: &Stage) -> Outcome {
    let file = stage.file(&[])?;
    stage.written_and_not_converted(&file, b'n')?;
    // Of this file only: whoever has to read a page of his program ahead would wait for the worker that stands at F1.
    stage.lab(&format!("drop-caches {}", inode(&file)?))?;
    same_bytes("cache", &file.cached()?, &[b'n'; PAGE])?;
    stage.tell("B", "reads what was written: the page was not evicted");
    stage.lab("release F1")?;
    stage.event(1, PAGE as i64)?;
    stage.lab("drop-caches")?;
    file.expect(&[b'n'; PAGE])?;
    stage.tell("B", "reads it from the disk too");
    Ok(())
}

fn dread_zeroes(stage: &Stage) -> Outcome {
    let file = stage.file(&[])?;
    let path = file.path.clone();
    stage.written_and_not_converted(&file, b'n')?;
    let read = move || crate::kit::direct_read(&path);
    let reading = stage.sleeper("B", "a direct read", (WRITEBACK, 0), read)?;
    reading.expect_waiting()?;
    stage.lab("release F1")?;
    same_bytes("direct read", &reading.join()??, &[b'n'; PAGE])?;
    stage.tell("B", "the direct read has returned what was written");
    stage.event(1, PAGE as i64)
}

fn stable_first_finisher(stage: &Stage) -> Outcome {
    let file = stage.file(&[b'o'; 2 * PAGE])?;
    stage.lab("hold write 2")?;
    stage.submit("A", &file, &[b'a'; PAGE], 0, 1)?;
    stage.submit("A", &file, &[b'b'; PAGE], PAGE as u64, 2)?;
    stage.lab("wait-held 2")?;
    stage.lab(&format!("release {}", stage.held()?[1].number))?;
    stage.event(2, PAGE as i64)?;
    let clone = file.file.try_clone().map_err(crate::kit::text)?;
    let store = move || write(&clone, b"m", 10, 0);
    let storing = stage.sleeper("B", "a write of one byte to the first page", (WRITEBACK, 0), store)?;
    storing.expect_waiting()?;
    let mut byte = [0];
    same("read", sys::pread(file.fd(), &mut byte, 10), Ok(1))?;
    same("byte 10", byte, *b"a")?;
    stage.tell("B", "byte 10 is still what is on its way to the disk");
    stage.lab("release")?;
    stage.event(1, PAGE as i64)?;
    same("the write", storing.join()?, Ok(1))?;
    let mut expected = [[b'a'; PAGE], [b'b'; PAGE]].concat();
    expected[10] = b'm';
    file.expect(&expected)?;
    stage.tell("B", "has written, and the file has both");
    Ok(())
}

fn overlap_two_aio(stage: &Stage) -> Outcome {
    let file = stage.file(&[])?;
    stage.lab("hold write 1")?;
    stage.submit("A", &file, &[b'1'; 2 * PAGE], 0, 1)?;
    stage.lab("wait-held 1")?;
    let clone = file.file.try_clone().map_err(crate::kit::text)?;
    let second = move || {
        let (aio, memory) = (Aio::new(1)?, Memory::new(2 * PAGE));
        memory.set(0, &[b'2'; 2 * PAGE]);
        aio.run(Iocb::write(&clone, memory, 2 * PAGE, PAGE as u64, WT))
    };
    let what = "io_submit of 8192 bytes at 4096: the second page is on its way";
    let writing = stage.sleeper("B", what, (WRITEBACK, 1), second)?;
    writing.expect_waiting()?;
    stage.lab("release")?;
    stage.event(1, 2 * PAGE as i64)?;
    same("the second write", writing.join()?, Ok(2 * PAGE as i64))?;
    stage.tell("B", "its write has ended too");
    stage.lab("drop-caches")?;
    file.expect(&[[b'1'; PAGE], [b'2'; PAGE], [b'2'; PAGE]].concat())?;
    stage.tell("A", "cache and disk have 1, 2, 2");
    Ok(())
}

fn append_pipeline(stage: &Stage) -> Outcome {
    let mut file = stage.file(&[])?;
    file.file = file.open(linux_raw_sys::general::O_APPEND)?;
    stage.lab("hold write 2")?;
    stage.submit("A", &file, &[b'a'; PAGE], 0, 1)?;
    stage.submit("B", &file, &[b'b'; PAGE], 0, 2)?;
    stage.lab("wait-held 2")?;
    same("size", file.size(), 2 * PAGE as u64)?;
    stage.lab(&format!("release {}", stage.held()?[1].number))?;
    stage.event(2, PAGE as i64)?;
    stage.tell("B", "the second append has ended first");
    stage.lab("release")?;
    stage.event(1, PAGE as i64)?;
    file.expect(&[[b'a'; PAGE], [b'b'; PAGE]].concat())?;
    stage.tell("A", "both stand in the order of their submission");
    Ok(())
}
