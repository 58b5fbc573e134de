//! Memory that processes share.
use crate::{Check, Outcome, call, expect_exit, fork, map, same};
use linux_raw_sys::general as abi;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use user::sys::{EAGAIN, EINVAL, ENOENT, Memory, PAGE, raw};

pub const CHECKS: &[Check] = &[
    ("shared and private memory after a fork", anonymous),
    ("a futex in shared memory", futex),
    ("files of /dev/shm", named),
    ("memfd_create", memfd),
    ("System V shared memory", segments),
];

const IPC_CREAT: u64 = 0o1000;
const IPC_RMID: u64 = 0;
const IPC_STAT: u64 = 2;

fn anonymous() -> Outcome {
    let (shared, private) = (map(2, abi::MAP_SHARED, None)?, map(1, abi::MAP_PRIVATE, None)?);
    shared.set(0, &[1]);
    private.set(0, &[1]);
    let child = fork(|| {
        let seen = (shared.get(0, 1)[0], private.get(0, 1)[0]) == (1, 1);
        shared.set(PAGE, &[2]);
        private.set(0, &[2]);
        u8::from(!seen)
    })?;
    expect_exit(child, 0)?;
    same("the child's store", (shared.get(PAGE, 1)[0], private.get(0, 1)[0]), (2, 1))
}

/// The child sleeps until the parent wakes it: only if both mean the same word by it does either go on.
fn futex() -> Outcome {
    let word = map(1, abi::MAP_SHARED, None)?;
    let operation =
        |operation: u32, value: u64| raw(abi::__NR_futex, [word.addr(64), operation.into(), value, 0, 0, 0]);
    let child = fork(|| match operation(abi::FUTEX_WAIT, 0) {
        Ok(_) => 0,
        Err(EAGAIN) => 1,
        Err(_) => 2,
    })?;
    while operation(abi::FUTEX_WAKE, 1).map_err(call("futex"))? == 0 {
        std::thread::yield_now();
    }
    expect_exit(child, 0)
}

/// What shm_open does.
fn named() -> Outcome {
    let path = "/dev/shm/memtest";
    let told = |e: std::io::Error| format!("{path}: {e}");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path).map_err(told)?;
    file.set_len(2 * PAGE as u64).map_err(told)?;
    let mine = map(2, abi::MAP_SHARED, Some(file.as_raw_fd() as u64))?;
    let child = fork(|| {
        let Ok(again) = OpenOptions::new().read(true).write(true).open(path) else { return 1 };
        let Ok(theirs) = map(2, abi::MAP_SHARED, Some(again.as_raw_fd() as u64)) else { return 2 };
        theirs.set(PAGE + 1, &[70]);
        0
    })?;
    expect_exit(child, 0)?;
    same("the child's store", mine.get(PAGE, 2), vec![0, 70])?;
    same("the file", fs::read(path).map_err(told)?[PAGE + 1], 70)?;
    fs::remove_file(path).map_err(told)
}

fn memfd() -> Outcome {
    let name = Memory::new(PAGE);
    name.set(0, b"memtest\0");
    let fd = raw(abi::__NR_memfd_create, [name.addr(0), abi::MFD_CLOEXEC.into(), 0, 0, 0, 0]);
    let file: File = user::sys::own(fd.map_err(call("memfd_create"))? as user::sys::Fd);
    file.set_len(PAGE as u64).map_err(|e| e.to_string())?;
    let memory = map(1, abi::MAP_SHARED, Some(file.as_raw_fd() as u64))?;
    memory.set(5, &[70]);
    let mut byte = [0];
    std::os::unix::fs::FileExt::read_at(&file, &mut byte, 5).map_err(|e| e.to_string())?;
    same("read", byte, [70])
}

fn shmat(id: u64) -> Result<Memory, user::sys::Errno> {
    raw(abi::__NR_shmat, [id, 0, 0, 0, 0, 0]).map(|at| Memory::of_kernel(at, 2 * PAGE))
}

fn segments() -> Outcome {
    let size = 2 * PAGE as u64;
    same("shmget of nothing", raw(abi::__NR_shmget, [77, size, 0, 0, 0, 0]), Err(ENOENT))?;
    let id = raw(abi::__NR_shmget, [77, size, IPC_CREAT | 0o600, 0, 0, 0]).map_err(call("shmget"))?;
    same("shmget again", raw(abi::__NR_shmget, [77, 0, 0, 0, 0, 0]), Ok(id))?;
    let mine = shmat(id).map_err(call("shmat"))?;
    let info = Memory::new(PAGE);
    let attachments = || -> Result<u64, String> {
        raw(abi::__NR_shmctl, [id, IPC_STAT, info.addr(0), 0, 0, 0]).map_err(call("shmctl"))?;
        Ok(info.word(88))
    };
    mine.set(0, &[1]);
    let child = fork(|| {
        let inherited = attachments() == Ok(2) && mine.get(0, 1) == [1];
        let Ok(second) = shmat(id) else { return 2 };
        second.set(PAGE, &[2]);
        u8::from(!(inherited && attachments() == Ok(3)))
    })?;
    expect_exit(child, 0)?;
    same("the child's store", mine.get(PAGE, 1), vec![2])?;
    same("size and attachments", (attachments()?, info.word(48)), (1, size))?;
    raw(abi::__NR_shmctl, [id, IPC_RMID, 0, 0, 0, 0]).map_err(call("IPC_RMID"))?;
    same("still there", mine.get(0, 1), vec![1])?;
    raw(abi::__NR_shmdt, [mine.addr(0), 0, 0, 0, 0, 0]).map_err(call("shmdt"))?;
    same("shmat of what is gone", shmat(id).map(|memory| memory.addr(0)), Err(EINVAL))
}
