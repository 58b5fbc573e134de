//! Programs that act as their owner, and files that lose the mark for it. As root.
use crate::{Check, Outcome, expect_exit, fork, same, sys};
use linux_raw_sys::general as abi;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use user::sys::{Memory, PAGE, is_secure};

pub const CHECKS: &[Check] =
    &[("a set-user-id program acts as its owner, and knows", set_id), ("a change takes the mark off", taken_off)];

/// Asks this program to end with 0 if it acts as [`OWNER`], started by [`USER`].
pub const WHO: &str = "--who-am-i";
const USER: u32 = 1000;
const OWNER: u32 = 1001;

/// What [`WHO`] asks for.
pub fn who() -> u8 {
    let id = |number: u32| sys(number, []).unwrap_or(u64::MAX) as u32;
    let real = [abi::__NR_getuid, abi::__NR_getgid].map(id);
    let acting = [abi::__NR_geteuid, abi::__NR_getegid].map(id);
    match (real, acting, is_secure()) {
        ([USER, USER], [OWNER, OWNER], true) => 0,
        ([USER, USER], [USER, USER], false) => 1,
        _ => 2,
    }
}

fn text(error: std::io::Error) -> String {
    error.to_string()
}

/// A folder that everybody may reach.
fn folder() -> Result<PathBuf, String> {
    let folder = std::env::temp_dir().join("abitest-files");
    fs::create_dir_all(&folder).map_err(text)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).map_err(text)?;
    Ok(folder)
}

/// Does `body` as [`USER`], in a child.
fn as_user(body: impl FnOnce() -> u8) -> Result<u64, String> {
    fork(|| {
        let changed = sys(abi::__NR_setgroups, []).and_then(|_| sys(abi::__NR_setgid, [USER.into()]));
        if changed.and_then(|_| sys(abi::__NR_setuid, [USER.into()])).is_err() {
            return 99;
        }
        body()
    })
}

fn set_id() -> Outcome {
    let path = folder()?.join("program");
    fs::copy("/proc/self/exe", &path).map_err(text)?;
    chown(&path, Some(OWNER), Some(OWNER)).map_err(text)?;
    let run = |limited: bool| {
        as_user(|| {
            if limited && sys(abi::__NR_prctl, [38, 1]).is_err() {
                return 98;
            }
            let strings = Memory::new(PAGE);
            let path = CString::new(path.to_string_lossy().as_bytes()).unwrap_or_default();
            strings.set(512, path.as_bytes_with_nul());
            strings.set(64, WHO.as_bytes());
            strings.set_words(0, &[strings.addr(512), strings.addr(64)]);
            let _ = sys(abi::__NR_execve, [strings.addr(512), strings.addr(0), 0]);
            97
        })
    };
    for (mode, limited, code) in [(0o755, false, 1), (0o6755, false, 0), (0o6755, true, 1)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(text)?;
        expect_exit(run(limited)?, code).map_err(|text| format!("mode {mode:o}: {text}"))?;
    }
    fs::remove_file(&path).map_err(text)
}

fn taken_off() -> Outcome {
    let path = folder()?.join("marked");
    fs::write(&path, "content").map_err(text)?;
    let mode = || fs::metadata(&path).map(|meta| meta.permissions().mode() & 0o7777).map_err(text);
    let mark = || {
        chown(&path, Some(USER), Some(USER)).map_err(text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o6755)).map_err(text)
    };
    let open = || fs::OpenOptions::new().write(true).open(&path);
    let changes: [(&str, &dyn Fn() -> std::io::Result<()>); 3] = [
        ("a write", &|| std::io::Write::write_all(&mut open()?, b"x")),
        ("a truncation", &|| open()?.set_len(3)),
        ("an open that truncates", &|| fs::File::create(&path).map(drop)),
    ];
    for (name, change) in changes {
        mark()?;
        change().map_err(text)?;
        same("root's change", mode()?, 0o6755).map_err(|text| format!("{name}: {text}"))?;
        expect_exit(as_user(|| u8::from(change().is_err()))?, 0)?;
        same("the mode", mode()?, 0o755).map_err(|text| format!("{name}: {text}"))?;
    }
    mark()?;
    chown(&path, Some(OWNER), None).map_err(text)?;
    same("the mode after root's chown", mode()?, 0o755)?;
    fs::remove_file(&path).map_err(text)
}
