//! The first program of a guest that runs Linux, for figures of Linux beside those of Sluice: `/init` of an initramfs.
//!
//! Loads the modules in `/modules` in order of name, mounts the disk, runs the program of its arguments on it as Sluice would run
//! it, tells its exit status as Sluice tells it, and powers off.
use std::ffi::CStr;
use std::os::fd::AsRawFd;
use std::process::Command;
use user::sys::{self, raw};

const DISK: &str = "/disk";

fn main() {
    let status = run().unwrap_or_else(|error| {
        println!("linuxinit: FAILED: {error}");
        127
    });
    println!("sluice: init exited with status {status}");
    power_off();
}

fn run() -> Result<i32, String> {
    mount(c"dev", c"/dev", c"devtmpfs", c"")?;
    mount(c"sys", c"/sys", c"sysfs", c"")?;
    load_modules()?;
    // Sluice has no I/O scheduler either.
    std::fs::write("/sys/block/vda/queue/scheduler", "none").map_err(text("the disk's scheduler"))?;
    // No thread that initialises what mke2fs has left, beside what is measured.
    mount(c"/dev/vda", c"/disk", c"ext4", c"noinit_itable")?;
    mount(c"dev", c"/disk/dev", c"devtmpfs", c"")?;
    mount(c"proc", c"/disk/proc", c"proc", c"")?;
    std::os::unix::fs::chroot(DISK).and_then(|()| std::env::set_current_dir("/")).map_err(text(DISK))?;
    let mut words = std::env::args().skip(1);
    let program = words.next().ok_or("no program is named")?;
    let status = Command::new(&program).args(words).status().map_err(text(&program))?;
    sys::sync();
    status.code().ok_or(format!("{program}: {status}"))
}

fn load_modules() -> Result<(), String> {
    let folder = std::fs::read_dir("/modules").and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let mut paths: Vec<_> = folder.map_err(text("/modules"))?.iter().map(std::fs::DirEntry::path).collect();
    paths.sort();
    for path in paths {
        let told = text(path.display());
        let file = std::fs::File::open(&path).map_err(&told)?;
        sys::load_module(file.as_raw_fd()).map_err(|e| told(std::io::Error::from_raw_os_error(e.0)))?;
    }
    Ok(())
}

fn mount(source: &CStr, target: &CStr, kind: &CStr, options: &CStr) -> Result<(), String> {
    let mounted = sys::mount_with(source, target, kind, options);
    mounted.map_err(|e| text(format!("mount {target:?}"))(std::io::Error::from_raw_os_error(e.0)))
}

fn text(what: impl std::fmt::Display) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{what}: {error}")
}

/// `reboot(2)`: the two magic numbers, then the command.
fn power_off() {
    sys::sync();
    let ended = raw(linux_raw_sys::general::__NR_reboot, [0xfee1_dead, 0x2812_1969, 0x4321_fedc, 0, 0, 0]);
    println!("linuxinit: no power off: {ended:?}");
}
