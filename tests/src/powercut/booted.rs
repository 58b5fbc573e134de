//! The same states, recovered by the kernel in QEMU: one machine mounts one disk after the other, which the block server changes while
//! nothing is mounted.
//!
//! The guest (`/bin/recover`) mounts the second disk, tells every file with its digest, and unmounts. Then the disk is looked at from
//! outside: `e2fsck -fn`, the promises, and whether its files are those that the guest has seen.
use super::case::{Case, Played};
use super::disk::{CutDisk, Manner};
use super::found::{Found, Node};
use super::fsck::Fsck;
use super::image::Shape;
use super::oracle;
use super::player::Mounted;
use super::server::Served;
use super::states::States;
use super::store::Store;
use super::watch::Watch;
use super::workloads::WORKLOADS;
use crate::{TestDisk, kernel};
use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use user::digest::Digest;
use xtask::image::Spec;
use xtask::nbd::serve_medium;
use xtask::qemu::{Disk, End, Machine};

/// Bytes of the disk that is changed: those of the file systems that workloads are played on.
const SIZE: usize = 16 << 20;
/// The longest delay of an answer.
const DELAY: Duration = Duration::from_millis(2);
/// States of one run of a workload.
const STATES_OF_A_RUN: usize = 10;

/// A state with where it comes from.
struct Sample {
    case: usize,
    at: usize,
    state: Store,
}

/// What came of it.
pub struct Outcome {
    /// States that the machine has mounted.
    pub states: usize,
    /// In words.
    pub violations: Vec<String>,
}

/// Lets a machine with so many CPUs recover about `count` states; `progress` is told of each. Errors: something could not be built, played or booted.
pub fn run(count: usize, cpus: u32, seed: u64, progress: &dyn Fn()) -> Result<Outcome> {
    let watch = Watch::default();
    let (played, samples) = watch.over(|| collect(count, seed, &watch))?;
    let root = TestDisk::new(&Spec { size_mib: 64, ..Spec::default() }, &["recover"])?;
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("nbd");
    let first = samples.first().map(|sample| sample.state.clone());
    let first = first.ok_or_else(|| anyhow::anyhow!("no states"))?;
    let served = Arc::new(Mutex::new(Served::new(first, SIZE)));
    served.lock().unwrap_or_else(PoisonError::into_inner).delay(seed, DELAY);
    serve_medium(served.clone(), socket.clone())?;
    let mut machine = Machine::with_program(kernel(), "/bin/recover /dev/vdb").disk(&root.path);
    machine.disks.push(Disk::Nbd(socket));
    machine = machine.limit(120 + 4 * count as u64);
    machine.cpus = cpus;
    let mut judge = Judge { played: &played, samples: &samples, served, fsck: Fsck::new()?, next: 0, told: vec![] };
    let (mut violations, mut failure) = (Vec::new(), None);
    let outcome = machine.converse(&mut |line| match judge.line(line) {
        Ok(Some(Err(why))) => {
            violations.push(why);
            progress();
            Some(judge.answer())
        }
        Ok(Some(Ok(()))) => {
            progress();
            Some(judge.answer())
        }
        Ok(None) => (line == "recover: ready").then(|| "next".to_owned()),
        Err(error) => {
            failure.get_or_insert(error);
            Some(END_OF_INPUT.to_owned())
        }
    })?;
    if let Some(error) = failure {
        return Err(error);
    }
    let tail = outcome.console.lines.iter().rev().take(20).rev().cloned().collect::<Vec<_>>().join("\n");
    ensure!(outcome.end == End::Clean, "the machine ends with {:?} after {} states:\n{tail}", outcome.end, judge.next);
    Ok(Outcome { states: judge.next, violations })
}

/// What a terminal sends for ^D.
const END_OF_INPUT: &str = "\u{4}";

/// Plays workloads until there are enough states.
fn collect(count: usize, seed: u64, watch: &Watch) -> Result<(Vec<Played>, Vec<Sample>)> {
    let fits = |shape: &Shape| shape.journal && shape.mib as usize == SIZE >> 20;
    let (mut played, mut samples) = (Vec::new(), Vec::new());
    for number in 0.. {
        for workload in &WORKLOADS {
            let case = Case::new(workload, seed, number);
            if samples.len() >= count {
                return Ok((played, samples));
            }
            if !fits(&case.shape) {
                continue;
            }
            watch.seen(case);
            let run = case.play()?;
            let states = States::new(&run.base, &run.record);
            for (at, choice) in
                run.plan(&states, STATES_OF_A_RUN, &mut case.rng("booted")).into_iter().take(STATES_OF_A_RUN)
            {
                let cut = states.cut(at);
                let state = states.apply(&cut, &states.stable(&cut), choice);
                samples.push(Sample { case: played.len(), at, state });
            }
            drop(states);
            played.push(run);
        }
    }
    unreachable!("the numbers of runs do not end")
}

/// Follows the guest and judges each state.
struct Judge<'a> {
    played: &'a [Played],
    samples: &'a [Sample],
    served: Arc<Mutex<Served>>,
    fsck: Fsck,
    next: usize,
    /// What the guest told of the state: path, and of files their size and digest.
    told: Vec<String>,
}

impl Judge<'_> {
    /// Takes a line; a verdict where it ends a state.
    fn line(&mut self, line: &str) -> Result<Option<Result<(), String>>> {
        if let Some(node) = line.strip_prefix("recover: file ").or_else(|| line.strip_prefix("recover: dir ")) {
            self.told.push(node.to_owned());
            return Ok(None);
        }
        let verdict = if line == "recover: done" {
            self.judge()?
        } else if let Some(why) = line.strip_prefix("recover: FAILED: ") {
            Err(why.to_owned())
        } else {
            return Ok(None);
        };
        let sample = &self.samples[self.next];
        let case = &self.played[sample.case].case;
        self.told.clear();
        self.next += 1;
        let place =
            format!("{} run {} seed {}, event {}, booted", case.workload.name, case.number, case.seed, sample.at);
        Ok(Some(verdict.map_err(|why| format!("{place}: {why}"))))
    }

    /// What is typed next.
    fn answer(&mut self) -> String {
        let Some(sample) = self.samples.get(self.next) else { return END_OF_INPUT.to_owned() };
        self.served.lock().unwrap_or_else(PoisonError::into_inner).change(sample.state.clone());
        "next".to_owned()
    }

    fn judge(&mut self) -> Result<Result<(), String>> {
        let sample = &self.samples[self.next];
        let run = &self.played[sample.case];
        let empty = Store::new(run.base.base().clone());
        let (after, _) = self.served.lock().unwrap_or_else(PoisonError::into_inner).change(empty);
        if let Err(why) = self.fsck.check(&after)? {
            return Ok(Err(why));
        }
        let disk = CutDisk::new(after, Manner::plain());
        let look = || -> base::Result<Found> {
            let mounted = Mounted::new(&disk)?;
            let found = Found::walk(&mounted)?;
            mounted.unmount()?;
            Ok(found)
        };
        let found = match look() {
            Ok(found) => found,
            Err(error) => return Ok(Err(format!("what the kernel has left cannot be read: {error}"))),
        };
        if let Err(why) = oracle::judge(&run.history.seen(sample.at), &found, u64::from(run.case.shape.block_size)) {
            return Ok(Err(why));
        }
        Ok(self.compare(&found))
    }

    /// Whether the guest saw what is on the disk.
    fn compare(&self, found: &Found) -> Result<(), String> {
        let seen: BTreeMap<&str, &str> =
            self.told.iter().map(|line| line.split_once(' ').unwrap_or((line, ""))).collect();
        let names = seen.keys().filter(|path| **path != "/lost+found").count();
        if names != found.len() {
            return Err(format!("the guest saw {names} names, the disk has {}", found.len()));
        }
        for (path, node) in found.iter() {
            let there = match node {
                Node::Dir => String::new(),
                Node::File(bytes) => format!("{} {:016x}", bytes.len(), digest(bytes)),
            };
            match seen.get(path) {
                Some(told) if *told == there => {}
                told => return Err(format!("{path}: the guest saw {told:?}, the disk has {there:?}")),
            }
        }
        Ok(())
    }
}

fn digest(bytes: &[u8]) -> u64 {
    let mut digest = Digest::default();
    digest.update(bytes);
    digest.value()
}
