//! What needs a process without privileges. It gives root up for good: the last part.
use crate::kit::{BUFFERED, Check, FOLDER, Outcome, WT, call, same, text, write};
use crate::shutdown::shut_down;
use linux_raw_sys::general as abi;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use user::sys::{EACCES, EPERM, raw};

pub const CHECKS: &[Check] = &[
    ("CHK-6 a writer without privileges takes the set-id bits off", set_id),
    ("CHK-6 and of a write of nothing they stay", nothing),
    ("PRC-6 rights are those of the open", rights),
    ("SHD-1 a shutdown is for root", shutdown),
];

/// Nobody.
const USER: u32 = 65534;

/// A file of the user with every set-id bit, open.
fn file(name: &str) -> Result<File, String> {
    let path = format!("{FOLDER}/{name}");
    if raw(abi::__NR_geteuid, [0; 6]) == Ok(0) {
        return Err("still root".into());
    }
    OpenOptions::new().read(true).write(true).open(&path).map_err(|e| format!("{path}: {e}"))
}

/// Makes the files as root, then gives root up. Later calls find it done.
fn give_up() -> Outcome {
    if raw(abi::__NR_geteuid, [0; 6]) != Ok(0) {
        return Ok(());
    }
    for name in ["set-id.0", "set-id.1", "set-id.2", "rights"] {
        let path = format!("{FOLDER}/{name}");
        fs::write(&path, b"content").map_err(text)?;
        chown(&path, Some(USER), Some(USER)).map_err(text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o6775)).map_err(text)?;
    }
    raw(abi::__NR_setgid, [USER.into(), 0, 0, 0, 0, 0]).map_err(call("setgid"))?;
    raw(abi::__NR_setuid, [USER.into(), 0, 0, 0, 0, 0]).map(drop).map_err(call("setuid"))
}

fn shutdown() -> Outcome {
    give_up()?;
    let file = file("rights")?;
    same("shutdown", shut_down(&file, 2), Err(EPERM))?;
    same("it lives", write(&file, b"x", 0, WT), Ok(1))
}

fn mode(file: &File) -> u32 {
    file.metadata().map_or(0, |m| m.mode()) & 0o7777
}

fn set_id() -> Outcome {
    give_up()?;
    for (name, flags) in [("set-id.0", BUFFERED), ("set-id.1", WT)] {
        let file = file(name)?;
        same("before", mode(&file), 0o6775)?;
        same("write", write(&file, b"x", 0, flags), Ok(1))?;
        same("after", mode(&file), 0o775)?;
    }
    Ok(())
}

fn nothing() -> Outcome {
    give_up()?;
    let file = file("set-id.2")?;
    same("write", write(&file, b"", 0, WT), Ok(0))?;
    same("refused", write(&file, b"x", 0, WT | 8).is_err(), true)?;
    same("after", mode(&file), 0o6775)
}

fn rights() -> Outcome {
    give_up()?;
    let file = file("rights")?;
    fs::set_permissions(format!("{FOLDER}/rights"), fs::Permissions::from_mode(0o0)).map_err(text)?;
    let again = File::open(format!("{FOLDER}/rights"));
    same("a new open", again.err().and_then(|e| e.raw_os_error()), Some(EACCES.0))?;
    same("the old one", write(&file, b"x", 0, WT), Ok(1))?;
    let others = fs::set_permissions(FOLDER, fs::Permissions::from_mode(0o777));
    same("another's file", others.err().and_then(|e| e.raw_os_error()), Some(EPERM.0))
}
