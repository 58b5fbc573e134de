//! One write-through against one truncate, told as a timeline.
//!
//!   demo [--trace FILE]
//!
//! An asynchronous write-through of 4 KiB is in flight when another thread cuts the file to nothing. The truncate must wait until
//! the write has ended to its last step, or the blocks would be freed under the worker that converts them. The device gate of
//! the kernel's lab holds the write's completion until the truncate is seen waiting, so that the two always meet.
//!
//! Exit status: 0 if the events came in the one right order and the file is empty; 1 if not; 2 if this kernel has no lab.
mod lab;
mod timeline;
mod trace;

use lab::{Gate, Lab};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use timeline::Story;
use trace::{Event, Mark};
use user::sys::{AioQueue, PAGE, RWF_WRITETHROUGH};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let trace_file = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => None,
        ["--trace", path] => Some(PathBuf::from(path)),
        _ => {
            eprintln!("usage: demo [--trace FILE]");
            return ExitCode::from(2);
        }
    };
    let Some(lab) = Lab::enter() else {
        eprintln!("demo: this kernel has no lab ({}): boot the one that `make demo` builds", lab::PATH);
        return ExitCode::from(2);
    };
    match play(&lab).and_then(|(story, size)| tell(&story, size, trace_file.as_deref())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            println!("demo: FAILED: {text}");
            ExitCode::FAILURE
        }
    }
}

/// Plays the encounter; returns what the trace has of it and the size of the file at the end.
fn play(lab: &Lab) -> Result<(Story, u64), String> {
    let file = make_file().map_err(|e| format!("the file: {e}"))?;
    let ino = file.metadata().map_err(|e| e.to_string())?.ino();
    trace::mark(Mark::Start)?;
    let mut aio = AioQueue::new(1).map_err(|e| format!("io_setup: {e:?}"))?;
    // Dropped before the queue, which waits for its requests: whatever fails here, nothing stays held.
    let gate = Gate::for_next_write(lab)?;
    aio.prepare(file.as_raw_fd(), true, 0, RWF_WRITETHROUGH);
    aio.submit().map_err(|e| format!("io_submit: {e:?}"))?;
    trace::mark(Mark::Submitted)?;
    let sector = gate.let_the_disk_write()?;

    let cut = file.try_clone().map_err(|e| e.to_string())?;
    let truncate = thread::Builder::new().name("truncate".into()).spawn(move || cut.set_len(0));
    let truncate = truncate.map_err(|e| format!("a thread: {e}"))?;
    trace::wait_for("drain.wait", ino)?;
    trace::mark(Mark::Released)?;
    drop(gate);

    truncate.join().map_err(|_| "the truncating thread panicked")?.map_err(|e| format!("ftruncate: {e}"))?;
    aio.reap().map_err(|e| format!("the write ended with {e:?}"))?;
    trace::mark(Mark::Reaped)?;
    let size = file.metadata().map_err(|e| e.to_string())?.len();
    Ok((Story { ino, sector, events: trace::read()? }, size))
}

/// An empty file of which nothing is left to be written, so that the next write to the disk is the one of this demo.
fn make_file() -> io::Result<File> {
    let data = Path::new("/data");
    let folder = if data.is_dir() { data } else { Path::new(".") };
    let file = File::options().read(true).write(true).create(true).truncate(true).open(folder.join("demo.bin"))?;
    file.sync_all()?;
    Ok(file)
}

/// Prints the timeline, keeps the trace, and judges both.
fn tell(story: &Story, size: u64, trace_file: Option<&Path>) -> Result<(), String> {
    if let Some(path) = trace_file {
        let events = story.events.iter().skip_while(|e| !e.is_mark(Mark::Start)).map(Event::line);
        let text: String = Mark::legend().chain(events).collect();
        std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    println!("one write-through of {PAGE} bytes, one truncate to 0, inode {}\n", story.ino);
    let told = story.told();
    print!("{}", timeline::table(&told));
    println!("\nsize of the file: {size}");
    timeline::check(&told)?;
    if size != 0 {
        return Err(format!("the size is {size}, not 0"));
    }
    println!("demo: the order is right: the truncate waited until the write had dropped its count");
    Ok(())
}
