//! SHD-1: the forced shutdown, `EXT4_IOC_SHUTDOWN`. What it refuses is checked like other rules; to be shut down is the last thing that
//! happens to a file system, so that is a run of its own, in a kernel with the lab.
use crate::aio::{Aio, Iocb};
use crate::kit::{
    BUFFERED, Check, FOLDER, Outcome, Scratch, WT, call, fd, pattern, pipe, quiet, same, small, text, wild, write,
};
use linux_raw_sys::general as abi;
use linux_raw_sys::ioctl::EXT4_IOC_SHUTDOWN;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::ExitCode;
use user::lab::Lab;
use user::sys::{self, EBADF, EFAULT, EINVAL, EIO, ENOTTY, Errno, Memory, PAGE, raw};

pub const CHECKS: &[Check] = &[("SHD-1 a shutdown that is refused changes nothing", refused)];

/// The ways: with a sync, with the log, with nothing.
const SYNC: u32 = 0;
const CUT: u32 = 2;

fn ioctl(file: &impl AsRawFd, address: u64) -> sys::Result<u64> {
    raw(abi::__NR_ioctl, [fd(file), EXT4_IOC_SHUTDOWN.into(), address, 0, 0, 0])
}

/// `EXT4_IOC_SHUTDOWN`.
pub fn shut_down(file: &impl AsRawFd, way: u32) -> sys::Result<u64> {
    let memory = small();
    memory.set(0, &way.to_ne_bytes());
    ioctl(file, memory.addr(0))
}

fn refused() -> Outcome {
    let file = Scratch::new("shutdown", &[1; 100])?;
    for way in [3, 4, u32::MAX] {
        same("an unknown way", shut_down(&file.file, way), Err(EINVAL))?;
    }
    for address in wild() {
        same("a wild pointer", ioctl(&file.file, address), Err(EFAULT))?;
    }
    let (reader, _writer) = pipe()?;
    same("a pipe", shut_down(&reader, CUT), Err(ENOTTY))?;
    same("a device", shut_down(&File::open("/dev/null").map_err(text)?, CUT), Err(ENOTTY))?;
    same("/proc", shut_down(&File::open("/proc").map_err(text)?, CUT), Err(ENOTTY))?;
    // The standard library of this target takes the flag for an access mode, and masks it.
    let name = std::ffi::CString::new(file.path.as_str()).map_err(|e| e.to_string())?;
    let path = sys::own(sys::open(&name, abi::O_PATH).map_err(call("open"))?);
    same("a path", shut_down(&path, CUT), Err(EBADF))?;
    same("it lives", write(&file.file, &[2; 100], 0, WT), Ok(100))?;
    file.expect(&[2; 100])
}

/// Shuts the root file system down, with write-throughs on their way. Who looks at the disk afterwards finds what was acknowledged in
/// `/data/kept`, and, unless nothing was flushed, the folder `/data/new`.
pub fn run(way: &str) -> ExitCode {
    let Some(lab) = Lab::enter() else {
        eprintln!("rulecheck: this kernel has no lab");
        return ExitCode::from(2);
    };
    match way.parse().map_err(|_| "not a number".to_owned()).and_then(|way| play(&lab, way)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(seen) => {
            println!("SHD-1 FAILED: {seen}");
            ExitCode::FAILURE
        }
    }
}

fn play(lab: &Lab, way: u32) -> Outcome {
    let kept = std::mem::ManuallyDrop::new(Scratch::new("kept", &pattern(4 * PAGE, 0))?);
    let (file, root, aio) = (&kept.file, File::open(FOLDER).map_err(text)?, Aio::new(2)?);
    same("acknowledged", write(file, &[b'k'; PAGE], 0, WT | abi::RWF_DSYNC), Ok(PAGE))?;
    sys::sync();
    lab.command("hold write 3")?;
    let memory = Memory::new(PAGE);
    memory.set(0, &[b'a'; PAGE]);
    // One over the old end and one behind it, and one that a thread waits for.
    let batch = [PAGE, 4 * PAGE].map(|pos| Iocb::write(file, memory, PAGE, pos as u64, WT));
    same("io_submit", aio.submit(&batch), Ok(2))?;
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| write(file, &[b's'; PAGE], 2 * PAGE as u64, WT));
        lab.command("wait-held 3")?;
        std::fs::create_dir(format!("{FOLDER}/new")).map_err(text)?;
        let outcome = match way {
            SYNC => Ok(PAGE),
            _ => Err(EIO),
        };
        if way == SYNC {
            // They are on their way to the disk or just back from it: it waits for their end.
            lab.command("release")?;
            same("shutdown", shut_down(&root, way), Ok(0))?;
        } else {
            same("shutdown", shut_down(&root, way), Ok(0))?;
            dead(&kept)?;
            aio.expect_none()?;
            lab.command("release")?;
        }
        let events = aio.reap(2)?;
        let expected = outcome.map_or_else(|Errno(number)| -i64::from(number), |n| n as i64);
        events.iter().try_for_each(|event| same("event", event.res, expected))?;
        same("the thread's write", waiting.join().map_err(|_| "the thread panicked")?, outcome)
    })?;
    dead(&kept)?;
    same("once more", shut_down(&root, CUT), Ok(0))?;
    quiet()
}

/// Nothing works on it any more.
fn dead(kept: &Scratch) -> Outcome {
    let file = &kept.file;
    same("write-through", write(file, &[9; PAGE], 0, WT), Err(EIO))?;
    same("buffered write", write(file, &[9; PAGE], 0, BUFFERED), Err(EIO))?;
    same("read", sys::pread(file.as_raw_fd(), &mut [0], 0), Err(EIO))?;
    same("fsync", sys::fsync(file.as_raw_fd()), Err(EIO))?;
    same("ftruncate", sys::ftruncate(file.as_raw_fd(), 0), Err(EIO))?;
    let error = |result: std::io::Result<()>| result.err().and_then(|e| e.raw_os_error());
    same("open", error(File::open(&kept.path).map(drop)), Some(EIO.0))?;
    same("mkdir", error(std::fs::create_dir(Path::new(FOLDER).join("late"))), Some(EIO.0))?;
    same("unlink", error(std::fs::remove_file(&kept.path)), Some(EIO.0))
}
