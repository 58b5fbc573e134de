//! Plays the steps of a workload, as it is told them: the guest's side of a recorded power cut (`make powercut`).
//!
//!   play DISK        DISK is mounted on /mnt for each workload
//!
//! | line on standard input | what it does |
//! |---|---|
//! | `mount` | mounts the disk |
//! | `free` | counts the free blocks |
//! | `end` | unmounts what the step `unmount` has left mounted, because of an error that may pass |
//! | `NUMBER STEP` | plays a step, in the words of `user::step`; the step `unmount` is the last one |
//!
//! Each line is answered by one: `play: ok N`, `play: accepted` for an asynchronous write, or `play: error ERRNO`. Events of
//! asynchronous writes stand before an answer: `play: event NUMBER ok N`. Between an unmount and a mount whoever tells the steps puts
//! another disk in the old one's place. Exit status: 0, unless a line could not be understood.
//!
//! | file | contents |
//! |---|---|
//! | `stage` | doing the steps |
mod stage;

use stage::{Outcome, Stage};
use std::io::BufRead;
use std::process::ExitCode;
use user::step::Op;
use user::sys::Errno;

fn main() -> ExitCode {
    let Some(disk) = std::env::args().nth(1) else {
        println!("usage: play DISK");
        return ExitCode::from(2);
    };
    println!("play: ready");
    let mut stage = None;
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        match answer(&disk, &mut stage, &line) {
            Ok(answer) => println!("play: {answer}"),
            Err(why) => {
                println!("play: FAILED: {line}: {why}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Does what a line says. Errors: it makes no sense.
fn answer(disk: &str, stage: &mut Option<Stage>, line: &str) -> Result<String, String> {
    if line == "mount" {
        let mounted = Stage::mount(disk);
        let result = mounted.as_ref().map(|_| Outcome::Done(0)).map_err(|error| *error);
        *stage = mounted.ok();
        return Ok(words(result));
    }
    if line == "end" {
        return Ok(words(stage::unmount().map(|()| Outcome::Done(0))));
    }
    let mounted = stage.as_mut().ok_or("nothing is mounted")?;
    if line == "free" {
        return Ok(words(mounted.free_blocks().map(|n| Outcome::Done(n as usize))));
    }
    let (number, step) = line.split_once(' ').ok_or("a step has a number")?;
    let (number, op) = (number.parse().map_err(|_| "the number is none")?, step.parse()?);
    let result = if op == Op::Unmount { unmount(stage) } else { mounted.play(number, &op) };
    if let Some(mounted) = stage {
        told(mounted);
    }
    Ok(words(result))
}

fn unmount(stage: &mut Option<Stage>) -> Result<Outcome, Errno> {
    if let Some(mut mounted) = stage.take() {
        mounted.settle()?;
        told(&mut mounted);
        drop(mounted);
        stage::unmount()?;
    }
    Ok(Outcome::Done(0))
}

/// Tells the events that have come.
fn told(stage: &mut Stage) {
    for (step, result) in stage.events() {
        println!("play: event {step} {}", words(result.map(Outcome::Done)));
    }
}

fn words(result: Result<Outcome, Errno>) -> String {
    match result {
        Ok(Outcome::Done(n)) => format!("ok {n}"),
        Ok(Outcome::Accepted) => "accepted".to_owned(),
        Err(error) => format!("error {}", error.0),
    }
}
