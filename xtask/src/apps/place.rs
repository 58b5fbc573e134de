//! Where a script runs: in a booted guest, or on the host below a folder with the same files.
use super::script::Script;
use crate::console::{Piece, nowhere};
use crate::packages::Contents;
use crate::qemu::{End, Machine, Outcome, Running};
use crate::{build, image};
use anyhow::{Context, Result, ensure};
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
            true => ["/bin/sh", "-c", &format!("cd /apps && /bin/sh {0}.sh /data/work >/{OUTPUT} 2>&1", script.name)]
                .map(String::from)
                .to_vec(),
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

    /// The output beside that of the same script under the same busybox on the host: how many parts are the same, and which differ.
    pub fn compare(&self, script: &Script) -> Result<(usize, Vec<String>)> {
        let got = match self.kind {
            Kind::Guest { .. } => image::read_file(&self.disk(), &format!("/{OUTPUT}"))?,
            Kind::Host => std::fs::read(self.root().join(OUTPUT))?,
        };
        let wanted = on_the_host(script, &self.work)?;
        Ok(differences(&String::from_utf8_lossy(&wanted), &String::from_utf8_lossy(&got)))
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
    command.current_dir(script.path.parent().context("a script is in a folder")?);
    command.args(["sh", "-c", "exec sh \"$0\" \"$1\" 2>&1"]).arg(format!("{}.sh", script.name)).arg(&folder);
    Ok(command.stdin(Stdio::null()).output().context("cannot run busybox")?.stdout)
}

/// A text in parts, each under a heading `== name`.
fn parts(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut parts: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("== "), parts.last_mut()) {
            (Some(name), _) => parts.push((name, Vec::new())),
            (None, Some((_, lines))) => lines.push(line),
            (None, None) => parts.push(("", vec![line])),
        }
    }
    parts
}

/// How many parts of `wanted` are the same in `got`, and the first line of each that is not.
fn differences(wanted: &str, got: &str) -> (usize, Vec<String>) {
    let (wanted, got) = (parts(wanted), parts(got));
    let mut told = Vec::new();
    for (at, (name, lines)) in wanted.iter().enumerate() {
        match got.get(at) {
            Some((same, others)) if same == name => {
                told.extend(first_difference(lines, others).map(|text| format!("{name}: {text}")));
            }
            _ => told.push(format!("{name}: it is not there")),
        }
    }
    let same = wanted.len() - told.len();
    let more = got.iter().skip(wanted.len()).map(|(name, _)| format!("{name}: only here"));
    (same, told.into_iter().chain(more).collect())
}

fn first_difference(wanted: &[&str], got: &[&str]) -> Option<String> {
    let at = (0..wanted.len().max(got.len())).find(|&at| wanted.get(at) != got.get(at))?;
    let text = |lines: &[&str]| lines.get(at).map_or("the end".to_owned(), |line| format!("`{line}`"));
    Some(format!("{} here is {} on Linux", text(got), text(wanted)))
}

#[cfg(test)]
mod tests {
    use super::differences;

    #[test]
    fn each_part_that_differs_is_told() {
        assert_eq!(differences("== a\n1\n== b\n2", "== a\n1\n== b\n2"), (2, vec![]));
        let (same, told) = differences("== a\n1\n== b\n2\n== c\n", "== a\n1\n3\n== b\n\n== c\n== d");
        assert_eq!(same, 1);
        assert_eq!(told, ["a: `3` here is the end on Linux", "b: `` here is `2` on Linux", "d: only here"]);
        assert_eq!(differences("== a\n== b\n", "== a\n").1, ["b: it is not there"]);
        assert_eq!(differences("x\n== a\n", ""), (0, vec![": it is not there".into(), "a: it is not there".into()]));
    }
}
