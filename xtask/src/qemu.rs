//! One QEMU run: its command line, its time limit, and how it ended (`running`).
mod firmware;
mod running;

use crate::console::{Piece, Screen};
use anyhow::Result;
pub use running::{End, Outcome, Running, Stopper};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

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

/// How the kernel gets into the machine.
#[derive(Clone, Debug, Default)]
pub enum Loader {
    /// QEMU loads the ELF itself.
    #[default]
    Pvh,
    /// The firmware of a PC starts this disk image.
    Bios(PathBuf),
    /// UEFI does.
    Uefi(PathBuf),
}

/// A virtual machine to run.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The kernel ELF.
    pub kernel: PathBuf,
    /// What loads it.
    pub loader: Loader,
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

impl Machine {
    /// A machine with the usual size around `kernel`.
    pub fn new(kernel: &Path, append: impl Into<String>) -> Machine {
        Machine {
            kernel: kernel.to_owned(),
            loader: Loader::Pvh,
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

    /// A machine that mounts its first disk and runs `init`, a program with its arguments, quoted as in a shell.
    pub fn with_program(kernel: &Path, init: &str) -> Machine {
        Machine::with_words(kernel, &::kernel::words::split(init).0)
    }

    /// The same for a program and arguments that are words already.
    pub fn with_words(kernel: &Path, words: &[String]) -> Machine {
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        let (program, arguments) = words.split_first().map_or(("", &[][..]), |(first, rest)| (first, rest));
        Machine::new(kernel, format!("root=/dev/vda init={program} -- {}", arguments.join(" ")))
    }

    /// With another variable for the first program.
    pub fn variable(mut self, name: &str, value: &str) -> Machine {
        self.append = format!("{name}={} {}", quoted(value), self.append);
        self
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

    fn command(&self) -> Result<Command> {
        let mut q = Command::new("qemu-system-x86_64");
        q.args(["-M", "q35", "-accel", self.accelerator, "-cpu", self.cpu, "-nodefaults", "-no-user-config"]);
        q.args(["-no-reboot", "-display", "none", "-monitor", "none", "-serial", "stdio", "-nic", "none"]);
        q.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-device", "virtio-rng-pci,disable-legacy=on"]);
        q.args(["-m", &self.memory_mib.to_string(), "-smp", &self.cpus.to_string()]);
        q.args(self.loader_args()?);
        for (i, disk) in self.disks.iter().enumerate() {
            q.arg("-drive").arg(format!("file={},if=none,id=d{i},format=raw,cache={}", disk.file(), self.cache));
            q.args(["-device", &format!("virtio-blk-pci,drive=d{i},disable-legacy=on")]);
        }
        q.args(&self.extra);
        Ok(q)
    }

    fn loader_args(&self) -> Result<Vec<String>> {
        match &self.loader {
            Loader::Pvh => {
                let kernel = self.kernel.display().to_string();
                Ok(["-kernel", &kernel, "-append", &self.append].map(String::from).to_vec())
            }
            Loader::Bios(image) => Ok(firmware::bios(image, &self.append)),
            Loader::Uefi(image) => firmware::uefi(image, &self.append),
        }
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
        let mut running = self.start(stdin)?;
        let mut keyboard = running.keyboard();
        let screen: Screen = &mut |piece| told(piece, keyboard.as_mut());
        while let Some(bytes) = running.output() {
            running.console.feed(&bytes, screen);
        }
        running.console.flush(screen);
        running.finish()
    }

    /// Starts it, for those who look at its output themselves.
    pub fn start(&self, stdin: Stdio) -> Result<Running> {
        Running::start(self.command()?, stdin, self.limit)
    }
}

/// A word as the kernel's command line has it: quoted where it has to be.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+=.,:/@%*?".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use ::kernel::words::Words;

    #[test]
    fn the_kernel_reads_the_words_that_were_given() {
        let words = ["/bin/sh", "-c", "echo 'a' \"b\" \\ $x", "", "--", "plain"].map(String::from);
        let machine = Machine::with_words(Path::new("kernel"), &words).variable("TERM", "a b");
        let read = Words::parse(&machine.append);
        assert_eq!((read.value("init"), read.value("root")), (Some("/bin/sh"), Some("/dev/vda")));
        assert_eq!(read.arguments, words[1..]);
        assert_eq!(read.variables().collect::<Vec<_>>(), [("TERM", "a b")]);
        assert_eq!(Machine::with_program(Path::new("k"), "/a b 'c d'").append, "root=/dev/vda init=/a -- b 'c d'");
    }
}
