//! Random operations against a model (`user::oracle`), on the file system of a folder.
//!
//!   soak FOLDER SEED OPERATIONS
//!
//! Each program gets fresh files in FOLDER. The last line is `soak: N operations, 0 failures`; or what was not as the model says, with the seed
//! that plays it again. Exit status: 0 if all was well. Runs on Linux too.
//!
//! | file | contents |
//! |---|---|
//! | `files` | the operations as system calls |
mod files;

use files::Files;
use std::path::Path;
use std::process::ExitCode;
use user::oracle::{Program, play};

/// Operations of one program.
const LENGTH: usize = 400;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let numbers = (args.get(2).and_then(|n| n.parse().ok()), args.get(3).and_then(|n| n.parse().ok()));
    let (Some(folder), (Some(seed), Some(wanted))) = (args.get(1), numbers) else {
        println!("usage: soak FOLDER SEED OPERATIONS");
        return ExitCode::from(2);
    };
    match run(Path::new(folder), seed, wanted) {
        Ok(done) => println!("soak: {done} operations, 0 failures"),
        Err(why) => {
            println!("soak: FAILED: {why}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn run(folder: &Path, first: u64, wanted: usize) -> Result<usize, String> {
    let block = files::block_size(folder)?;
    let mut done = 0;
    let mut seed = first;
    while done < wanted {
        let program = Program::new(seed, block, LENGTH);
        let files = Files::create(folder, program.shape.files)?;
        done += play(&program, &files).map_err(|why| format!("soak {} {seed} 1: {why}", folder.display()))?;
        files.remove()?;
        seed += 1;
    }
    Ok(done)
}
