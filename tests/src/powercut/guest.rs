//! Workloads that the booted kernel plays: the whole kernel and virtio-blk stand between the steps and the record.
//!
//! A program of the guest (`/bin/play`) plays a step for each line that is typed, and answers with its outcome on the console; the disk
//! is the block server, which records. The same record has the marks of the steps: a step has begun *before* its line is typed, and has
//! returned *after* its answer has come. So the record never tells that one thing came before another unless it did, and what it
//! promises was promised.
//!
//! ```text
//!   workload ──step──▶ mark it begun ──line──▶ /bin/play ──system call──▶ kernel ──virtio──▶ QEMU ──NBD──▶ server
//!            ◀─outcome── mark it ended ◀─answer──┘                                                          │ record
//! ```
//! Events of asynchronous writes come with the answers of later steps.
use super::case::{By, Case, Played};
use super::image::{self, Shape};
use super::op::Op;
use super::oracle::History;
use super::player::Actor;
use super::record::Mark;
use super::server::Served;
use super::store::Store;
use crate::{TestDisk, kernel};
use anyhow::{Context, Result, anyhow, bail, ensure};
use base::Errno;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use xtask::image::Spec;
use xtask::nbd::serve_medium;
use xtask::qemu::{Disk, End, Machine};

/// Bytes of the disk: no file system that is played on is larger.
const SIZE: usize = (Shape::USUAL.mib as usize) << 20;
/// The longest answer to a step. A device that stops for half a minute is a part of the play.
const PATIENCE: Duration = Duration::from_secs(100);
/// The longest delay of an answer of the disk, of which one is chosen for each case.
const DELAYS_US: [u64; 3] = [1_000, 4_000, 15_000];
/// What a terminal sends for ^D.
const END_OF_INPUT: &str = "\u{4}";
/// How a line of the program begins, and one that is no answer.
const ANSWER: &str = "play: ";
const EVENT: &str = "play: event ";

/// Boots a machine that plays one case after the other; each is handed to `played`, which says whether to go on. Errors: something
/// could not be built or booted, the program does not answer, or the machine does not end within `limit_s` seconds.
pub fn play(limit_s: u64, cases: impl Iterator<Item = Case>, mut played: impl FnMut(Played) -> bool) -> Result<()> {
    with_machine(1, limit_s, |machine| {
        for case in cases {
            let run = machine.play(case, &mut |_| ())?;
            if !played(run) {
                break;
            }
        }
        Ok(())
    })
}

/// Boots a machine with so many CPUs, has `director` use it, and ends it. Errors: as [`play`].
pub fn with_machine<T>(cpus: u32, limit_s: u64, director: impl FnOnce(&mut Guest) -> Result<T>) -> Result<T> {
    let root = TestDisk::new(&Spec { size_mib: 64, ..Spec::default() }, &["play"])?;
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("nbd");
    let served = Arc::new(Mutex::new(Served::new(image::fresh(Shape::USUAL)?, SIZE)));
    serve_medium(served.clone(), socket.clone())?;
    let mut machine = Machine::with_program(kernel(), "/bin/play /dev/vdb").disk(&root.path).limit(limit_s);
    machine.disks.push(Disk::Nbd(socket));
    machine.cpus = cpus;
    let (heard, lines) = mpsc::channel();
    let (typed, keyboard) = mpsc::channel::<String>();
    std::thread::scope(|scope| {
        let booted = scope.spawn(move || {
            machine.converse(&mut |line| {
                // Whoever has stopped listening has stopped typing too.
                let _ = heard.send(line.to_owned());
                let is_answer = line.starts_with(ANSWER) && !line.starts_with(EVENT);
                is_answer.then(|| keyboard.recv().unwrap_or_else(|_| END_OF_INPUT.to_owned()))
            })
        });
        let mut guest = Guest { served, lines, typed };
        let done = guest.answer(&mut |_, _| ()).and_then(|_| director(&mut guest));
        drop(guest);
        let outcome = booted.join().map_err(|_| anyhow!("the machine's thread died"))??;
        let tail = outcome.console.lines.iter().rev().take(20).rev().cloned().collect::<Vec<_>>().join("\n");
        let done = done.with_context(|| tail.clone())?;
        ensure!(outcome.end == End::Clean, "the machine ends with {:?}:\n{tail}", outcome.end);
        Ok(done)
    })
}

/// A machine that waits for lines.
pub struct Guest {
    served: Arc<Mutex<Served>>,
    lines: Receiver<String>,
    typed: Sender<String>,
}

/// An answer of the program.
enum Answer {
    Accepted,
    Ended(base::Result<usize>),
}

impl Guest {
    /// Plays a case; `prepared` may do more to the disk before it is mounted.
    pub fn play(&mut self, case: Case, prepared: &mut dyn FnMut(&mut Served)) -> Result<Played> {
        ensure!(!case.workload.host_only, "{}: the host alone can play that", case.workload.name);
        let case = Case { by: By::Guest, ..case };
        let base = image::fresh(case.shape)?;
        let (manner, mut rng) = case.manner();
        let longest = Duration::from_micros(*case.rng("delays").pick(&DELAYS_US));
        {
            let mut served = self.served();
            served.change(base.clone());
            served.delay(case.seed ^ case.number, longest);
            manner.fail_write.into_iter().for_each(|n| served.fail_write(n));
            prepared(&mut served);
        }
        match self.ask("mount")? {
            Answer::Ended(Ok(_)) => {}
            _ => bail!("{}: the mount fails", case.name()),
        }
        let play = Play { guest: Mutex::new(self), history: Mutex::default(), failure: Mutex::default() };
        case.direct(&play, &mut rng);
        let Play { history, failure, .. } = play;
        if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error.context(case.name()));
        }
        let ops = history.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.let_go(&case)?;
        let (_, record) = self.served().change(Store::new(base.base().clone()));
        let history = History::new(ops, &record);
        Ok(Played { case, base, record, history })
    }

    /// The disk is no longer mounted when this has succeeded. After an error that may pass an unmount leaves everything as it was; a
    /// second one meets none, because one write of a disk fails at most.
    fn let_go(&mut self, case: &Case) -> Result<()> {
        match self.ask("end")? {
            Answer::Ended(Ok(_) | Err(Errno::EINVAL)) => Ok(()),
            _ => bail!("{}: the disk stays mounted", case.name()),
        }
    }

    /// What the disk holds, and what has happened on it.
    pub fn served(&self) -> MutexGuard<'_, Served> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&mut self, line: &str) -> Result<Answer> {
        self.type_line(line)?;
        self.answer(&mut |_, _| ())
    }

    fn type_line(&self, line: &str) -> Result<()> {
        self.typed.send(line.to_owned()).map_err(|_| anyhow!("the machine has ended"))
    }

    /// Waits for an answer; `event` is told of the events before it: the step and its outcome.
    fn answer(&self, event: &mut dyn FnMut(usize, base::Result<usize>)) -> Result<Answer> {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).context("the program does not answer")?;
            if let Some(told) = line.strip_prefix(EVENT) {
                let (step, outcome) = told.split_once(' ').context("an event of nothing")?;
                event(step.parse()?, outcome_of(outcome)?);
            } else if let Some(told) = line.strip_prefix(ANSWER) {
                return match told {
                    "accepted" => Ok(Answer::Accepted),
                    "ready" => Ok(Answer::Ended(Ok(0))),
                    told => Ok(Answer::Ended(outcome_of(told)?)),
                };
            }
        }
    }
}

/// `ok 4096` or `error 28`.
fn outcome_of(told: &str) -> Result<base::Result<usize>> {
    let error = |number: &str| number.parse().ok().and_then(Errno::from_number);
    Ok(match told.split_once(' ') {
        Some(("ok", n)) => Ok(n.parse()?),
        Some(("error", number)) => Err(error(number).with_context(|| format!("no error number: {number}"))?),
        _ => bail!("the program says {told}"),
    })
}

/// The actor of a case: the first failure ends it, and the steps that are left are not played.
struct Play<'a> {
    guest: Mutex<&'a mut Guest>,
    history: Mutex<Vec<Op>>,
    failure: Mutex<Option<anyhow::Error>>,
}

impl<'a> Play<'a> {
    fn guest(&self) -> MutexGuard<'_, &'a mut Guest> {
        self.guest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A value, or what a step sees of a machine that has gone.
    fn or_fail<T>(&self, result: Result<T>) -> base::Result<T> {
        result.map_err(|error| {
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            Errno::EIO
        })
    }

    fn step(&self, step: usize, op: &Op) -> Result<Answer> {
        let guest = self.guest();
        let served = guest.served.clone();
        let mark = |step, mark| served.lock().unwrap_or_else(PoisonError::into_inner).mark(step, mark);
        mark(step, Mark::Began);
        guest.type_line(&format!("{step} {op}"))?;
        let answer = guest.answer(&mut |step, outcome| mark(step, Mark::Returned(outcome)))?;
        mark(
            step,
            match answer {
                Answer::Accepted => Mark::Accepted,
                Answer::Ended(outcome) => Mark::Returned(outcome),
            },
        );
        Ok(answer)
    }
}

impl Actor for Play<'_> {
    fn play(&self, op: &Op) -> base::Result<usize> {
        if self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Err(Errno::EIO);
        }
        let step = {
            let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
            history.push(op.clone());
            history.len() - 1
        };
        match self.or_fail(self.step(step, op))? {
            Answer::Accepted => Ok(0),
            Answer::Ended(outcome) => outcome,
        }
    }

    fn ready(&self) {
        self.guest().served().ready();
    }

    fn free_blocks(&self) -> u64 {
        match self.or_fail(self.guest().ask("free")) {
            Ok(Answer::Ended(Ok(n))) => n as u64,
            _ => 0,
        }
    }
}
