//! One QEMU run: its command line, its time limit, and how it ended.
use crate::console::{Console, Piece, Screen};
use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What `isa-debug-exit` makes of the values the kernel writes: `(value << 1) | 1`.
const EXIT_CLEAN: i32 = 0x10 << 1 | 1;
const EXIT_PANIC: i32 = 0x11 << 1 | 1;

/// A disk for the guest.
#[derive(Clone, Debug)]
pub enum Disk {
    /// A raw image.
    Image(PathBuf),
    /// What an NBD server offers at this socket.
    Nbd(PathBuf),
}

impl Disk {
    /// The disk as the value of `-drive file=`.
    fn file(&self) -> String {
        match self {
            Disk::Image(path) => path.display().to_string(),
            Disk::Nbd(socket) => format!("nbd:unix:{}", socket.display()),
        }
    }
}

/// A virtual machine to run.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The kernel ELF.
    pub kernel: PathBuf,
    /// Kernel command line.
    pub append: String,
    /// Disks, `vda` first.
    pub disks: Vec<Disk>,
    /// QEMU's cache mode of the disks: `writeback` is honest, `unsafe` does not make the host flush.
    pub cache: &'static str,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Virtual CPUs.
    pub cpus: u32,
    /// `-accel`: what runs the guest's code.
    pub accelerator: &'static str,
    /// `-cpu` model.
    pub cpu: &'static str,
    /// Time limit of the whole run.
    pub limit: Duration,
    /// Further arguments.
    pub extra: Vec<String>,
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The kernel powered off in order.
    Clean,
    /// The kernel stopped on a panic or a fatal fault.
    Panic,
    /// The time limit passed.
    TimeOut,
    /// QEMU itself failed with this status.
    Qemu(i32),
}

/// What a run left behind.
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// Everything on the console.
    pub console: Console,
    /// Wall-clock time of the run.
    pub took: Duration,
}

impl Machine {
    /// A machine with the usual size around `kernel`.
    pub fn new(kernel: &Path, append: impl Into<String>) -> Machine {
        Machine {
            kernel: kernel.to_owned(),
            append: append.into(),
            disks: Vec::new(),
            cache: "writeback",
            memory_mib: 256,
            cpus: 1,
            accelerator: accelerator(),
            cpu: "max",
            limit: Duration::from_secs(60),
            extra: Vec::new(),
        }
    }

    /// A machine that mounts its first disk and runs `init`, a program with its arguments.
    pub fn with_program(kernel: &Path, init: &str) -> Machine {
        let (program, arguments) = init.split_once(' ').unwrap_or((init, ""));
        Machine::new(kernel, format!("root=/dev/vda init={program} -- {arguments}"))
    }

    /// With another disk.
    pub fn disk(mut self, path: &Path) -> Machine {
        self.disks.push(Disk::Image(path.to_owned()));
        self
    }

    /// With another time limit.
    pub fn limit(mut self, seconds: u64) -> Machine {
        self.limit = Duration::from_secs(seconds);
        self
    }

    fn command(&self) -> Command {
        let mut q = Command::new("qemu-system-x86_64");
        q.args(["-M", "q35", "-accel", self.accelerator, "-cpu", self.cpu, "-nodefaults", "-no-user-config"]);
        q.args(["-no-reboot", "-display", "none", "-monitor", "none", "-serial", "stdio", "-nic", "none"]);
        q.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-device", "virtio-rng-pci,disable-legacy=on"]);
        q.args(["-m", &self.memory_mib.to_string(), "-smp", &self.cpus.to_string()]);
        q.arg("-kernel").arg(&self.kernel).args(["-append", &self.append]);
        for (i, disk) in self.disks.iter().enumerate() {
            q.arg("-drive").arg(format!("file={},if=none,id=d{i},format=raw,cache={}", disk.file(), self.cache));
            q.args(["-device", &format!("virtio-blk-pci,drive=d{i},disable-legacy=on")]);
        }
        q.args(&self.extra);
        q
    }

    /// Runs it, giving what is on the console to `screen` as it comes. Never hangs: the limit ends QEMU.
    pub fn run(&self, screen: Screen) -> Result<Outcome> {
        self.drive(Stdio::null(), &mut |piece, _| screen(piece))
    }

    /// Runs it in a dialogue: `answer` is given each line of the console, and types a line in return or not. As [`Self::run`].
    pub fn converse(&self, answer: &mut dyn FnMut(&str) -> Option<String>) -> Result<Outcome> {
        self.type_at(&mut |line| answer(line).map(|text| text + "\n"))
    }

    /// As [`Self::converse`], but types just the keys that it is given.
    pub fn type_at(&self, answer: &mut dyn FnMut(&str) -> Option<String>) -> Result<Outcome> {
        self.drive(Stdio::piped(), &mut |piece, keyboard| {
            if let (Piece::Line(line), Some(keyboard)) = (piece, keyboard)
                && let Some(text) = answer(line)
            {
                // A guest that has gone reads no more: its end is told by its status.
                let _ = keyboard.write_all(text.as_bytes()).and_then(|()| keyboard.flush());
            }
        })
    }

    fn drive(&self, stdin: Stdio, told: &mut dyn FnMut(Piece, Option<&mut ChildStdin>)) -> Result<Outcome> {
        let start = Instant::now();
        let mut child = self
            .command()
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start qemu-system-x86_64")?;
        let mut keyboard = child.stdin.take();
        let screen: Screen = &mut |piece| told(piece, keyboard.as_mut());
        let (send, receive) = mpsc::channel();
        let mut stdout = child.stdout.take().expect("stdout is a pipe");
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = stdout.read(&mut buffer) {
                if send.send(buffer[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        let mut console = Console::default();
        let timed_out = loop {
            let Some(left) = self.limit.checked_sub(start.elapsed()) else { break true };
            match receive.recv_timeout(left) {
                Ok(bytes) => console.feed(&bytes, screen),
                Err(mpsc::RecvTimeoutError::Disconnected) => break false,
                Err(mpsc::RecvTimeoutError::Timeout) => break true,
            }
        };
        if timed_out {
            child.kill().context("cannot end QEMU")?;
        }
        let status = child.wait()?;
        console.flush(screen);
        let mut errors = String::new();
        child.stderr.take().expect("stderr is a pipe").read_to_string(&mut errors)?;
        let end = match status.code() {
            _ if timed_out => End::TimeOut,
            Some(EXIT_CLEAN) => End::Clean,
            Some(EXIT_PANIC) => End::Panic,
            Some(0) => End::Qemu(0),
            code => bail!("QEMU failed ({}): {}", code.map_or("signal".into(), |c| c.to_string()), errors.trim()),
        };
        Ok(Outcome { end, console, took: start.elapsed() })
    }
}

/// KVM only where the processor virtualises and the device opens; otherwise QEMU's own translator.
pub fn accelerator() -> &'static str {
    let virtualises = std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|info| {
        info.lines().any(|l| l.starts_with("flags") && l.split(' ').any(|f| f == "vmx" || f == "svm"))
    });
    let opens = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    if virtualises && opens { "kvm" } else { "tcg" }
}
