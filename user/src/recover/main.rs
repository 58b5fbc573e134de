//! Mounts a disk again and again, and tells what is on it: the guest's side of a power cut (`make powercut`).
//!
//!   recover DISK     for each line on standard input: mounts DISK on /mnt, reads all of it, unmounts it; ends with the input
//!
//! Between two lines whoever gives them puts another disk in the old one's place. A line of output for each file and directory,
//! and one at the end: `recover: done`, or `recover: FAILED: why`. Exit status: 0 if no mount failed.
use std::ffi::CString;
use std::fs;
use std::io::{BufRead, Read};
use std::path::Path;
use std::process::ExitCode;
use user::digest::Digest;
use user::sys;

const AT: &str = "/mnt";

fn main() -> ExitCode {
    let Some(disk) = std::env::args().nth(1) else {
        println!("usage: recover DISK");
        return ExitCode::from(2);
    };
    let _ = fs::create_dir_all(AT);
    println!("recover: ready");
    let mut failed = false;
    for line in std::io::stdin().lock().lines() {
        if line.is_err() {
            break;
        }
        match look(&disk) {
            Ok(()) => println!("recover: done"),
            Err(why) => {
                println!("recover: FAILED: {why}");
                failed = true;
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// One disk: mounted, read, unmounted.
fn look(disk: &str) -> Result<(), String> {
    let (disk, at) = (CString::new(disk).map_err(|e| e.to_string())?, CString::new(AT).map_err(|e| e.to_string())?);
    sys::mount(&disk, &at, c"ext4").map_err(|error| format!("mount: error {}", error.0))?;
    let read = walk(Path::new(AT));
    let unmounted = sys::umount(&at).map_err(|error| format!("unmount: error {}", error.0));
    read.and(unmounted)
}

fn walk(folder: &Path) -> Result<(), String> {
    let told = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let mut entries: Vec<_> = fs::read_dir(folder).map_err(|e| told(folder, e))?.collect();
    entries.sort_by_key(|entry| entry.as_ref().map(std::fs::DirEntry::file_name).ok());
    for entry in entries {
        let path = entry.map_err(|e| told(folder, e))?.path();
        let name = path.strip_prefix(AT).unwrap_or(&path).display().to_string();
        let kind = fs::symlink_metadata(&path).map_err(|e| told(&path, e))?;
        if kind.is_dir() {
            println!("recover: dir /{name}");
            walk(&path)?;
        } else if kind.is_file() {
            let (bytes, digest) = digest(&path).map_err(|e| told(&path, e))?;
            println!("recover: file /{name} {bytes} {digest:016x}");
        }
    }
    Ok(())
}

fn digest(path: &Path) -> std::io::Result<(u64, u64)> {
    let mut file = fs::File::open(path)?;
    let (mut digest, mut total) = (Digest::default(), 0);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        // Whole pieces: a digest of parts is only the same if all but the last are.
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read(&mut buffer[filled..])? {
                0 => break,
                n => filled += n,
            }
        }
        digest.update(&buffer[..filled]);
        total += filled as u64;
        if filled < buffer.len() {
            return Ok((total, digest.value()));
        }
    }
}
