//! Truncates against writes in flight.
use crate::Scenario;
use crate::kit::{Outcome, same, same_bytes};
use crate::stage::{Stage, inode, size_and_blocks};
use user::sys::{self, PAGE};

pub const SCENARIOS: &[Scenario] = &[
    ("R01", "the completion of a write must not give a truncated file its size back", trunc0_resurrect),
    ("R02", "bytes of a write behind a new, smaller size must not come back", shrink_midblock),
];

const DRAIN: &str = "drain.before_sleep";

fn trunc0_resurrect(stage: &Stage) -> Outcome {
    let file = stage.file(&[])?;
    let (fd, ino) = (file.fd(), inode(&file)?);
    stage.written_and_not_converted(&file, b'n')?;
    let truncating = stage.sleeper("T", "ftruncate(0)", (DRAIN, ino), move || sys::ftruncate(fd, 0))?;
    truncating.expect_waiting()?;
    same("size", file.size(), PAGE as u64)?;
    stage.tell("T", "has not returned, and the size is still 4096: a write is in flight");
    stage.lab("release F1")?;
    same("ftruncate", truncating.join()?, Ok(()))?;
    stage.tell("T", "ftruncate(0) has returned, behind the finish");
    stage.event(1, PAGE as i64)?;
    same("size and blocks", size_and_blocks(&file)?, (0, 0))?;
    stage.tell("A", "size 0, no blocks: nothing came back");
    Ok(())
}

fn shrink_midblock(stage: &Stage) -> Outcome {
    let file = stage.file(&[b'o'; 2 * PAGE])?;
    let (fd, ino) = (file.fd(), inode(&file)?);
    stage.lab("hold write 1")?;
    stage.submit("A", &file, &[b'n'; PAGE], PAGE as u64, 1)?;
    stage.lab("wait-held 1")?;
    let truncating = stage.sleeper("T", "ftruncate(5000)", (DRAIN, ino), move || sys::ftruncate(fd, 5000))?;
    truncating.expect_waiting()?;
    stage.lab("release")?;
    same("ftruncate", truncating.join()?, Ok(()))?;
    stage.event(1, PAGE as i64)?;
    stage.tell("T", "ftruncate(5000) has returned, behind the write");
    same("ftruncate", sys::ftruncate(fd, 2 * PAGE as u64), Ok(()))?;
    stage.tell("T", "ftruncate(8192): longer again");
    let expected = [vec![b'o'; PAGE], vec![b'n'; 5000 - PAGE], vec![0; 2 * PAGE - 5000]].concat();
    same_bytes("cache", &file.cached()?, &expected)?;
    same("fsync", sys::fsync(fd), Ok(()))?;
    stage.lab("drop-caches")?;
    file.expect(&expected)?;
    stage.tell("A", "bytes 5000 to 8192 are zero, in the cache and on the disk");
    Ok(())
}
