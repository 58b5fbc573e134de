//! What scenarios are played on.
use crate::aio::{Aio, Iocb};
use crate::kit::{Outcome, Scratch, WT, quiet, same};
use std::cell::Cell;
use std::os::unix::fs::MetadataExt;
use std::thread::JoinHandle;
use std::time::Instant;
use user::lab::{Held, Lab};
use user::sys::{self, Memory, PAGE};

/// The lab, a queue of requests, and the time since the scenario began.
pub struct Stage {
    lab: Lab,
    /// The guard that is off.
    off: Option<String>,
    pub aio: Aio,
    began: Cell<Instant>,
}

/// A call in a thread of its own.
pub struct Call<T>(JoinHandle<T>);

impl Stage {
    pub fn new(lab: Lab, off: Option<String>) -> Stage {
        Stage { lab, off, aio: Aio::new(64).expect("io_setup"), began: Cell::new(Instant::now()) }
    }

    /// Nothing is dirty, so that the requests to come are those of the scenario.
    pub fn begin(&self) -> Outcome {
        sys::sync();
        self.began.set(Instant::now());
        self.off.iter().try_for_each(|guard| self.lab(&format!("guard-off {guard}")))
    }

    /// Nothing is in flight any more (CTX-9).
    pub fn end(&self) -> Outcome {
        quiet()
    }

    /// Whatever is still held or stopped goes on.
    pub fn reset(&self) {
        if let Err(text) = self.lab.command("reset") {
            println!("{text}");
        }
    }

    /// A line of the story: when, who, what.
    pub fn tell(&self, who: &str, what: &str) {
        println!("{:9.1} ms  {who:7} {what}", self.began.get().elapsed().as_secs_f64() * 1000.0);
    }

    /// A command to the lab that is part of the story.
    pub fn lab(&self, command: &str) -> Outcome {
        self.lab.command(command)?;
        self.tell("lab", command);
        Ok(())
    }

    /// What stands at the gate.
    pub fn held(&self) -> Result<Vec<Held>, String> {
        self.lab.held()
    }

    /// A file whose content is on the disk.
    pub fn file(&self, content: &[u8]) -> Result<Scratch, String> {
        let file = Scratch::new("scenario", content)?;
        // The directory too, or its blocks would be written in the middle of the story.
        sys::sync();
        Ok(file)
    }

    /// `io_submit` of a write-through of `bytes`; `data` comes back with its event.
    pub fn submit(&self, who: &str, file: &Scratch, bytes: &[u8], pos: u64, data: u64) -> Outcome {
        let memory = Memory::new(bytes.len().max(PAGE));
        memory.set(0, bytes);
        let iocb = Iocb::write(&file.file, memory, bytes.len(), pos, WT).with_data(data);
        same("io_submit", self.aio.submit(&[iocb]), Ok(1))?;
        self.tell(who, &format!("io_submit of {} bytes at {pos} has returned", bytes.len()));
        Ok(())
    }

    /// The next event: it must be that of `data`, with this result.
    pub fn event(&self, data: u64, res: i64) -> Outcome {
        let event = self.aio.reap(1)?[0];
        same("event: whose, result", (event.data, event.res), (data, res))?;
        self.tell("A", &format!("io_getevents: the write ended with {res}"));
        Ok(())
    }

    /// No event is there yet.
    pub fn no_event(&self) -> Outcome {
        self.aio.expect_none()
    }

    /// Submits the first page of a file, and returns when the disk has written it and the worker stands before F1: the data is on the
    /// disk, and the extents do not know it yet.
    pub fn written_and_not_converted(&self, file: &Scratch, byte: u8) -> Outcome {
        self.lab("hold write 1")?;
        self.submit("A", file, &[byte; PAGE], 0, 1)?;
        self.lab("wait-held 1")?;
        self.lab(&format!("stop F1 {}", inode(file)?))?;
        self.lab("release")?;
        self.lab("wait-stop F1")?;
        self.tell("K", "the disk has written; the worker stands before the conversion of the extent");
        Ok(())
    }

    /// Starts `call` in a thread, which must come to the anchor before a sleep; returns when it goes to sleep.
    pub fn sleeper<T: Send + 'static>(
        &self,
        who: &str,
        what: &str,
        (anchor, id): (&str, u64),
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Call<T>, String> {
        self.lab.command(&format!("stop {anchor} {id}"))?;
        self.tell(who, &format!("calls {what}"));
        let call = Call(std::thread::spawn(call));
        self.lab.command(&format!("wait-stop {anchor}"))?;
        self.lab.command(&format!("release {anchor}"))?;
        self.tell(who, &format!("has come to {anchor} and waits"));
        Ok(call)
    }
}

impl<T> Call<T> {
    /// Starts `call` in a thread.
    pub fn start(call: impl FnOnce() -> T + Send + 'static) -> Call<T>
    where
        T: Send + 'static,
    {
        Call(std::thread::spawn(call))
    }
    /// It has not returned.
    pub fn expect_waiting(&self) -> Outcome {
        if self.0.is_finished() { Err("it did not wait".into()) } else { Ok(()) }
    }
    /// Its result.
    pub fn join(self) -> Result<T, String> {
        self.0.join().map_err(|_| "the thread panicked".to_owned())
    }
}

/// The inode number: the object of most anchors.
pub fn inode(file: &Scratch) -> Result<u64, String> {
    file.file.metadata().map(|m| m.ino()).map_err(crate::kit::text)
}

/// Size and blocks of 512 bytes.
pub fn size_and_blocks(file: &Scratch) -> Result<(u64, u64), String> {
    file.file.metadata().map(|m| (m.len(), m.blocks())).map_err(crate::kit::text)
}
