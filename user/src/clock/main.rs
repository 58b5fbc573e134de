//! Tells what time it is whenever it is asked to, over the terminal. Who asks has a clock of its own, and compares.
//!
//!   clock SECONDS       for so long, by its own clock
//!
//! It says `clock: ask` when it waits for a line, and then `clock: MONOTONIC WALL`, both in nanoseconds, read after the line has come.
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use user::sys::monotonic_ns;

const PAUSE: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let Some(seconds) = std::env::args().nth(1).and_then(|word| word.parse::<u64>().ok()) else {
        eprintln!("clock SECONDS");
        return 2.into();
    };
    let end_ns = monotonic_ns() + seconds * 1_000_000_000;
    loop {
        println!("clock: ask");
        if std::io::stdin().read_line(&mut String::new()).is_err() {
            return ExitCode::FAILURE;
        }
        let now_ns = monotonic_ns();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        println!("clock: {now_ns} {}", wall.as_nanos());
        if now_ns >= end_ns {
            return ExitCode::SUCCESS;
        }
        std::thread::sleep(PAUSE);
    }
}
