//! fsync beside a write, and a write that fails.
use crate::Scenario;
use crate::kit::{Outcome, WT, counter, same, same_bytes, write};
use crate::stage::{Call, Stage};
use user::sys::{self, EIO, PAGE};

pub const SCENARIOS: &[Scenario] = &[
    ("R50", "fsync must not return between the disk's answer and the conversion", fsync_between_bio_and_convert),
    ("R51", "fsync with nothing dirty must still flush what a write-through left in the disk's cache", fsync_no_flush),
    ("R59", "a write that fails must be told, keep its bytes in the cache, and be tried again", partial_bio_fail),
];

fn fsync_between_bio_and_convert(stage: &Stage) -> Outcome {
    let file = stage.file(&[])?;
    let fd = file.fd();
    stage.written_and_not_converted(&file, b'n')?;
    let syncing = stage.sleeper("F", "fsync", ("folio.wait_writeback", 0), move || sys::fsync(fd))?;
    syncing.expect_waiting()?;
    let commits = counter("commits")?;
    stage.lab("release F1")?;
    same("fsync", syncing.join()?, Ok(()))?;
    stage.event(1, PAGE as i64)?;
    if counter("commits")? == commits {
        return Err("the conversion was not committed".into());
    }
    stage.tell("F", "fsync has returned; the conversion is in the journal");
    Ok(())
}

fn fsync_no_flush(stage: &Stage) -> Outcome {
    let file = stage.file(&[b'o'; PAGE])?;
    let fd = file.fd();
    same("pwritev2", write(&file.file, &[b'n'; PAGE], 0, WT), Ok(PAGE))?;
    stage.tell("A", "a write-through has returned: nothing is dirty, the disk may hold it in its own cache");
    stage.lab("hold flush 1")?;
    let syncing = Call::start(move || sys::fsync(fd));
    stage.tell("F", "calls fsync");
    stage.lab("wait-held 1")?;
    syncing.expect_waiting()?;
    stage.tell("F", "its flush stands at the disk");
    stage.lab("release")?;
    same("fsync", syncing.join()?, Ok(()))?;
    let flushes = counter("flushes")?;
    same("fsync", sys::fsync(fd), Ok(()))?;
    same("flushes", counter("flushes")?, flushes)?;
    stage.tell("F", "fsync has returned; a second one had nothing to flush");
    Ok(())
}

fn partial_bio_fail(stage: &Stage) -> Outcome {
    let file = stage.file(&[b'o'; PAGE])?;
    stage.lab("fail write 1")?;
    stage.submit("A", &file, &[b'n'; PAGE], 0, 1)?;
    stage.event(1, -i64::from(EIO.0))?;
    same_bytes("cache", &file.cached()?, &[b'n'; PAGE])?;
    stage.tell("B", "still reads what was written");
    same("fsync", sys::fsync(file.fd()), Err(EIO))?;
    stage.tell("F", "fsync tells of the error, and has written the page once more");
    same("fsync", sys::fsync(file.fd()), Ok(()))?;
    stage.lab("drop-caches")?;
    file.expect(&[b'n'; PAGE])?;
    stage.tell("F", "the next one has nothing to tell; the disk has the bytes");
    Ok(())
}
