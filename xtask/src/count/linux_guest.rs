//! The same rows on Linux in the same QEMU, in the same run: the same program on a disk made alike, the same counter.
//!
//! The initramfs holds modules and `linuxinit`, which mounts the disk and runs the benchmark on it. Linux is given its best: no
//! mitigations, no security modules, no accounting of memory, no page cleared twice, no I/O scheduler.
use super::{Options, Row, counted, rows};
use crate::console;
use crate::cpio::Archive;
use crate::packages::linux::LinuxKernel;
use crate::qemu::{End, Machine};
use anyhow::{Context, Result, ensure};
use std::path::Path;

/// What the program finds to be its initramfs.
const INITRD: &str = "initrd";
const PARAMETERS: &str = "console=ttyS0 quiet loglevel=3 panic=-1 tsc=reliable mitigations=off apparmor=0 selinux=0 \
                          security=none lsm= audit=0 init_on_alloc=0 nowatchdog cgroup_disable=memory random.trust_cpu=on";

/// What Linux took.
pub(super) struct Measured {
    pub version: String,
    pub rows: Vec<Row>,
}

/// Counts on Linux. Errors: why there is no kernel of it, or what went wrong in the guest.
pub(super) fn run(options: &Options, programs: &Path, plugin: &Path, work: &Path) -> Result<Measured> {
    let kernel = LinuxKernel::fetch()?;
    let initrd = work.join(INITRD);
    std::fs::write(&initrd, initramfs(&kernel, programs)?)?;
    let disk = super::disk(programs, work)?;
    let counts = work.join("counts");
    let append = format!("{PARAMETERS} -- {}", super::program(options));
    let mut machine = counted(Machine::new(&kernel.image, append), options, &disk, &super::counter(plugin, &counts));
    machine.extra.extend(["-initrd".into(), initrd.display().to_string()]);
    let outcome = machine.run(&mut console::transient_only())?;
    if outcome.end != End::Qemu(0) || outcome.console.init_status() != Some(0) {
        outcome.console.lines.iter().for_each(|line| println!("{line}"));
    }
    ensure!(outcome.end == End::Qemu(0), "the guest with Linux ended with {:?}", outcome.end);
    let status = outcome.console.init_status().context("the guest with Linux ran no program")?;
    ensure!(status == 0, "the benchmark failed on Linux");
    Ok(Measured { version: kernel.version, rows: rows(&disk, &counts)? })
}

fn initramfs(kernel: &LinuxKernel, programs: &Path) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    ["dev", "sys", "disk", "modules"].iter().for_each(|name| archive.folder(name));
    // Without it the first program has no output.
    archive.device("dev/console", (5, 1));
    let read = |path: &Path| std::fs::read(path).with_context(|| path.display().to_string());
    archive.file("init", &read(&programs.join("linuxinit"))?);
    for (i, module) in kernel.modules.iter().enumerate() {
        archive.file(&format!("modules/{i}"), &read(module)?);
    }
    Ok(archive.finish())
}
