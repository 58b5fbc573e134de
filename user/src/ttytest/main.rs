//! A terminal and job control, with somebody who types.
//!
//!   ttytest          all steps. Where keys are needed it prints a line that names the step, and the other side types. At the end it waits
//!                    for ^C, of which it dies
//!   ttytest ROLE     the programs that it runs as jobs
//!
//! Exit status: that of SIGINT if everything was as it must be; 1 if not.
use linux_raw_sys::general as abi;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use user::sys::{self, ENOTTY, ENXIO, Fd};

const INPUT: Fd = 0;
/// A job that has to be killed before it ends by itself.
const LONG: std::time::Duration = std::time::Duration::from_secs(3600);

type Check = Result<(), String>;

fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        None => all(),
        Some("front") => front(),
        Some("reader") => reader(),
        Some("writer") => writer(),
        Some("stranger") => stranger(),
        Some(other) => Err(format!("no role {other}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("ttytest: FAILED: {why}");
            ExitCode::FAILURE
        }
    }
}

fn all() -> Check {
    settings()?;
    lines()?;
    raw()?;
    // A shell's part: to bring jobs to the foreground it must not be stopped for being behind them.
    told("sigaction", sys::ignore_signal(abi::SIGTTOU, true))?;
    ended_by_keys()?;
    stopped_and_continued()?;
    background()?;
    sessions()?;
    println!("ttytest: type ^C at me");
    std::thread::sleep(LONG);
    Err("still there".into())
}

fn told<T>(what: &str, result: sys::Result<T>) -> Result<T, String> {
    result.map_err(|error| format!("{what}: error {}", error.0))
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: T, should: T) -> Check {
    if is == should { Ok(()) } else { Err(format!("{what}: {is:?}, not {should:?}")) }
}

fn read(len: usize) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; len];
    let n = std::io::stdin().lock().read(&mut bytes).map_err(|error| error.to_string())?;
    bytes.truncate(n);
    Ok(bytes)
}

/// What a first program finds.
fn settings() -> Check {
    let settings = told("TCGETS", sys::terminal_settings(INPUT))?;
    let on = abi::ISIG | abi::ICANON | abi::ECHO | abi::ECHOE | abi::ECHOCTL;
    same("local flags", settings.c_lflag & on, on)?;
    same("output flags", settings.c_oflag, abi::OPOST | abi::ONLCR)?;
    same("window", told("TIOCGWINSZ", sys::window_size(INPUT))?, [24, 80])?;
    same("foreground", told("TIOCGPGRP", sys::foreground(INPUT))?, std::process::id() as i32)?;
    let file = std::fs::File::open("/bin/ttytest").map_err(|error| error.to_string())?;
    same("a file", sys::foreground(file.as_raw_fd()).err(), Some(ENOTTY))?;
    let mut own =
        std::fs::File::options().write(true).open("/dev/tty").map_err(|error| format!("/dev/tty: {error}"))?;
    own.write_all(b"ttytest: this is /dev/tty\n").map_err(|error| error.to_string())
}

/// Lines that are edited, and the end of the input.
fn lines() -> Check {
    println!("ttytest: type a line with a mistake");
    same("line", read(100)?, b"hello\n".to_vec())?;
    println!("ttytest: type an end");
    same("end", read(100)?, vec![])
}

/// Keys that mean nothing.
fn raw() -> Check {
    let before = told("TCGETS", sys::terminal_settings(INPUT))?;
    let mut settings = before;
    settings.c_lflag &= !(abi::ICANON | abi::ECHO | abi::ISIG);
    settings.c_iflag &= !abi::ICRNL;
    settings.c_cc[abi::VMIN as usize] = 4;
    told("TCSETS", sys::set_terminal(INPUT, settings))?;
    println!("ttytest: type four raw keys");
    let keys = read(4)?;
    told("TCSETS", sys::set_terminal(INPUT, before))?;
    same("keys", keys, vec![3, 26, 4, b'\r'])
}

/// Starts a job in a group of its own.
fn job(role: &str) -> Result<i32, String> {
    let child = Command::new("/bin/ttytest").arg(role).process_group(0).spawn();
    child.map(|child| child.id() as i32).map_err(|error| format!("{role}: {error}"))
}

fn wait(pid: i32, options: u32) -> Result<u32, String> {
    told("wait4", sys::wait4(pid, options))
}

fn to_front(group: i32) -> Check {
    told("TIOCSPGRP", sys::set_foreground(INPUT, group))
}

fn own_group() -> i32 {
    std::process::id() as i32
}

/// The status of a process that `signal` has stopped.
fn stopped(signal: u32) -> u32 {
    signal << 8 | 0x7f
}

fn ended_by_keys() -> Check {
    for (key, signal) in [("^C", abi::SIGINT), ("^\\", abi::SIGQUIT)] {
        println!("ttytest: next is {key}");
        let pid = job("front")?;
        same(key, wait(pid, abi::WUNTRACED)?, signal)?;
        to_front(own_group())?;
    }
    Ok(())
}

fn stopped_and_continued() -> Check {
    println!("ttytest: next is ^Z");
    let pid = job("front")?;
    same("^Z", wait(pid, abi::WUNTRACED)?, stopped(abi::SIGTSTP))?;
    println!("ttytest: it has stopped");
    to_front(own_group())?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|error| error.to_string())?;
    same("state", stat.split(' ').nth(2), Some("T"))?;
    told("kill", sys::kill(-pid, abi::SIGCONT))?;
    same("SIGCONT", wait(pid, abi::WCONTINUED)?, 0xffff)?;
    told("kill", sys::kill(-pid, abi::SIGSTOP))?;
    same("SIGSTOP", wait(pid, abi::WUNTRACED)?, stopped(abi::SIGSTOP))?;
    told("kill", sys::kill(-pid, abi::SIGKILL))?;
    same("SIGKILL", wait(pid, 0)?, abi::SIGKILL)
}

/// Who reads in the background is stopped; who writes only if the terminal says so.
fn background() -> Check {
    let pid = job("reader")?;
    same("reader", wait(pid, abi::WUNTRACED)?, stopped(abi::SIGTTIN))?;
    to_front(pid)?;
    told("kill", sys::kill(-pid, abi::SIGCONT))?;
    println!("ttytest: type a line for the job");
    same("reader", wait(pid, abi::WUNTRACED)?, 0)?;
    to_front(own_group())?;

    let before = told("TCGETS", sys::terminal_settings(INPUT))?;
    let mut settings = before;
    settings.c_lflag |= abi::TOSTOP;
    told("TCSETS", sys::set_terminal(INPUT, settings))?;
    let pid = job("writer")?;
    same("writer", wait(pid, abi::WUNTRACED)?, stopped(abi::SIGTTOU))?;
    told("TCSETS", sys::set_terminal(INPUT, before))?;
    told("kill", sys::kill(-pid, abi::SIGCONT))?;
    same("writer", wait(pid, abi::WUNTRACED)?, 0)
}

/// A session of its own has no terminal.
fn sessions() -> Check {
    let status = Command::new("/bin/ttytest").arg("stranger").status();
    same("stranger", status.map(|status| status.code()).map_err(|error| error.to_string())?, Some(0))
}

/// The role of a job in the foreground that waits for a key.
fn front() -> Check {
    to_front(own_group())?;
    println!("ttytest: a job is in front");
    std::thread::sleep(LONG);
    Err("no key came".into())
}

fn reader() -> Check {
    same("line", read(100)?, b"for the job\n".to_vec())
}

fn writer() -> Check {
    told("sigaction", sys::ignore_signal(abi::SIGTTOU, false))?;
    println!("ttytest: the job writes");
    Ok(())
}

fn stranger() -> Check {
    told("setsid", sys::setsid())?;
    same("foreground", sys::foreground(INPUT).err(), Some(ENOTTY))?;
    let open = |path: &str, flags: u32| std::fs::File::options().read(true).custom_flags(flags as i32).open(path);
    let refused = |path: &str| open(path, 0).err().and_then(|error| error.raw_os_error());
    same("/dev/tty", refused("/dev/tty"), Some(ENXIO.0))?;
    // The terminal belongs to another session: it opens, and stays there.
    open("/dev/ttyS0", 0).map_err(|error| error.to_string())?;
    same("/dev/tty", refused("/dev/tty"), Some(ENXIO.0))
}
