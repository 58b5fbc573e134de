//! Where a script runs: in a booted guest, or on the host below a folder with the same files.
use super::script::Script;
use crate::console::{Piece, nowhere};
use crate::packages::Contents;
use crate::qemu::{End, Machine, Outcome, Running};
use crate::{build, image};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Where the output of a script goes that is compared.
const OUTPUT: &str = "data/output";

/// Below a folder of the host, with `/proc`, `/dev` and an empty `/tmp` as in the guest. It ends as a machine does: with the record of
/// the exit status, and with QEMU's own status of an orderly power-off.
const BELOW: &str = r#"root=$0
mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" && mount -t tmpfs tmp "$root/tmp" || exit 1
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=vt100 chroot "$root" "$@" 2>&1
echo "sluice: init exited with status $?"
exit 33"#;

/// A place.
pub(super) struct Place {
    kind: Kind,
    work: PathBuf,
    /// Whether the console is shown.
    pub verbose: bool,
}

enum Kind {
    Guest { kernel: PathBuf, cpus: u32 },
    Host,
}

impl Place {
    /// A guest with what the script needs on its disk, made in the folder `work`.
    pub fn guest(kernel: &Path, cpus: u32, script: &Script, work: &Path) -> Result<Place> {
        let place = Place::new(Kind::Guest { kernel: kernel.to_owned(), cpus }, script, work)?;
        let dir = work.join("over").display().to_string();
        Contents { dir, ..script.packages.clone() }.make_image(&work.join("first.img"))?;
        Ok(place)
    }

    /// The host.
    pub fn host(script: &Script, work: &Path) -> Result<Place> {
        ensure!(image::is_root(), "HOST=1 needs root: the scripts run below another root folder");
        Place::new(Kind::Host, script, work)
    }

    fn new(kind: Kind, script: &Script, work: &Path) -> Result<Place> {
        let apps = work.join("over/apps");
        std::fs::create_dir_all(&apps)?;
        for file in [&script.path, &script.path.with_file_name("check.sh")] {
            std::fs::copy(file, apps.join(file.file_name().context("a file has a name")?))?;
        }
        Ok(Place { kind, work: work.to_owned(), verbose: false })
    }

    /// Makes the disk or the folder anew.
    pub fn prepare(&self, script: &Script) -> Result<()> {
        match &self.kind {
            Kind::Guest { .. } => {
                let mut copy = Command::new("cp");
                copy.args(["--sparse=always", "--"]).arg(self.work.join("first.img")).arg(self.disk());
                build::status(&mut copy, "cannot copy the disk")
            }
            Kind::Host => {
                let _ = std::fs::remove_dir_all(self.root());
                let dir = self.work.join("over").display().to_string();
                Contents { dir, ..script.packages.clone() }.make_folder(&self.root())
            }
        }
    }

    /// Runs the script to its end, or to the line `until`. Errors: the place, not the script.
    pub fn run(&self, script: &Script, arguments: &[&str], until: Option<&str>) -> Result<Outcome> {
        let file = format!("/apps/{}.sh", script.name);
        let mut words: Vec<String> = match script.compare {
            true => ["/bin/sh", "-c", &format!("/bin/sh {file} /data/work >/{OUTPUT} 2>&1")].map(String::from).to_vec(),
            false => vec!["/bin/sh".into(), file],
        };
        words.extend(arguments.iter().filter(|word| !word.is_empty()).map(|word| word.to_string()));
        let limit = Duration::from_secs(script.limit_s);
        let mut running = match &self.kind {
            Kind::Guest { kernel, cpus } => {
                let mut machine = Machine::with_words(kernel, &words).disk(&self.disk());
                (machine.memory_mib, machine.cpus, machine.limit) = (script.memory_mib, *cpus, limit);
                machine.start(Stdio::null())?
            }
            Kind::Host => Running::start(below(&self.root(), &words), Stdio::null(), limit)?,
        };
        self.follow(&mut running, until)?;
        running.finish()
    }

    fn follow(&self, running: &mut Running, until: Option<&str>) -> Result<()> {
        let mut reached = false;
        while let Some(bytes) = running.output() {
            running.console.feed(&bytes, &mut |piece| {
                let Piece::Line(line) = piece else { return };
                reached |= until.is_some_and(|until| line.starts_with(until));
                if self.verbose {
                    println!("{line}");
                }
            });
            if reached {
                running.kill()?;
                break;
            }
        }
        running.console.flush(&mut nowhere);
        Ok(())
    }

    /// Checks the disk after an orderly end. A folder needs no check.
    pub fn check(&self, outcome: &Outcome) -> Result<()> {
        match self.kind {
            Kind::Guest { .. } if outcome.end == End::Clean => image::check(&self.disk()),
            _ => Ok(()),
        }
    }

    /// Whether the output is that of the same script under the same busybox on the host.
    pub fn compare(&self, script: &Script) -> Result<()> {
        let got = match self.kind {
            Kind::Guest { .. } => image::read_file(&self.disk(), &format!("/{OUTPUT}"))?,
            Kind::Host => std::fs::read(self.root().join(OUTPUT))?,
        };
        let wanted = on_the_host(script, &self.work)?;
        match difference(&String::from_utf8_lossy(&wanted), &String::from_utf8_lossy(&got)) {
            Some(text) => bail!("{text}"),
            None => Ok(()),
        }
    }

    fn disk(&self) -> PathBuf {
        self.work.join("disk.img")
    }

    fn root(&self) -> PathBuf {
        self.work.join("root")
    }
}

/// The words below `root`, with processes and mounts of their own, which end with it.
fn below(root: &Path, words: &[String]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", BELOW]).arg(root).args(words);
    command
}

/// What a script prints under the host's kernel, in an ordinary folder.
fn on_the_host(script: &Script, work: &Path) -> Result<Vec<u8>> {
    let tree = script.packages.tree()?;
    let path = format!("{0}/usr/sbin:{0}/usr/bin", tree.display());
    let folder = work.join("host");
    let mut command = Command::new(tree.join("usr/bin/busybox"));
    command.env_clear().env("PATH", path).env("HOME", "/root").env("TERM", "vt100");
    command.args(["sh", "-c", "exec sh \"$0\" \"$1\" 2>&1"]).arg(&script.path).arg(&folder);
    Ok(command.stdin(Stdio::null()).output().context("cannot run busybox")?.stdout)
}

/// The first line in which two texts differ, with the heading (`== name`) that it stands under.
fn difference(wanted: &str, got: &str) -> Option<String> {
    let (mut wanted, mut got, mut heading) = (wanted.lines(), got.lines(), "");
    loop {
        match (wanted.next(), got.next()) {
            (None, None) => return None,
            (Some(a), Some(b)) if a == b => heading = a.strip_prefix("== ").unwrap_or(heading),
            (a, b) => {
                let text = |line: Option<&str>| line.map_or("the end".into(), |line| format!("`{line}`"));
                return Some(format!("{heading}: {} here is {} on Linux", text(b), text(a)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn the_first_difference_is_told_with_its_heading() {
        assert_eq!(difference("== a\n1\n", "== a\n1\n"), None);
        assert_eq!(difference("== a\n1\n== b\n2", "== a\n1\n== b\n3").unwrap(), "b: `3` here is `2` on Linux");
        assert_eq!(difference("== a\n1", "== a").unwrap(), "a: the end here is `1` on Linux");
    }
}
