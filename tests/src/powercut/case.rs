//! One run of a workload on a recording disk, and the states that a cut may leave of it.
use super::check::{Checker, Look};
use super::disk::{CutDisk, Manner};
use super::image::{self, Shape};
use super::minimise::minimise;
use super::oracle::History;
use super::player::{Actor, Player};
use super::record::Recording;
use super::states::{Choice, Fate, States};
use super::store::Store;
use super::workloads::{Stage, Workload};
use anyhow::{Result, anyhow};
use std::collections::HashSet;
use user::rng::Rng;

/// Who plays the steps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// This process, on a disk in its memory.
    Host,
    /// A program of the booted kernel, on the block server.
    Guest,
}

/// A workload with its seed. The same case plays the same steps on the same disk.
#[derive(Clone, Copy)]
pub struct Case {
    /// What is played.
    pub workload: &'static Workload,
    /// By whom.
    pub by: By,
    /// On which file system.
    pub shape: Shape,
    /// From which numbers.
    pub seed: u64,
    /// Which run of the workload: runs of one seed differ.
    pub number: u64,
}

/// A case that was played.
pub struct Played {
    /// The case.
    pub case: Case,
    /// The disk before.
    pub base: Store,
    /// What happened on it.
    pub record: Recording,
    /// What was done and told.
    pub history: History,
}

/// States that are looked at to make the violations of one run smaller.
const TRIES: usize = 200;

/// What was counted.
#[derive(Clone, Copy, Default)]
pub struct Counts {
    /// Places where the power went off.
    pub cuts: usize,
    /// States that were looked at.
    pub states: usize,
    /// Of these, those recovered by `e2fsck`, and those of a recovery that was cut.
    pub replays: usize,
    /// States that broke a promise.
    pub violations: usize,
}

/// A state that breaks a promise.
pub struct Violation {
    /// Events before the cut.
    pub at: usize,
    /// How it was found.
    pub choice: Choice,
    /// What is there of the writes that may be lost: as little as possible, or all but as little as possible.
    pub fates: Vec<Fate>,
    /// The state with that.
    pub state: Store,
    /// One sentence.
    pub why: String,
}

impl Case {
    /// A run on this host, with its file system.
    pub fn new(workload: &'static Workload, seed: u64, number: u64) -> Case {
        let shapes = workload.shapes;
        Case { workload, by: By::Host, shape: shapes[number as usize % shapes.len()], seed, number }
    }

    pub(super) fn rng(self, purpose: &str) -> Rng {
        Rng::new(self.seed, &format!("{} {} {purpose}", self.workload.name, self.number))
    }

    /// Its name in words.
    pub fn name(self) -> String {
        let by = if self.by == By::Guest { "guest-" } else { "" };
        format!("{by}{}-{}-{}", self.workload.name, self.seed, self.number)
    }

    /// How the disk is to behave; and the numbers for the steps.
    pub(super) fn manner(self) -> (Manner, Rng) {
        let mut rng = self.rng("steps");
        let manner = Manner {
            order: Some(self.rng("order")),
            max_segments: *rng.pick(&[2, 8, 64]),
            fail_write: self.workload.fails.then(|| 30 + rng.below(60)),
        };
        (manner, rng)
    }

    /// Has `actor` play the steps.
    pub(super) fn direct(self, actor: &dyn Actor, rng: &mut Rng) {
        (self.workload.play)(&Stage { actor, shape: self.shape, number: self.number }, rng);
    }

    /// Plays it on this host. Errors: the file system could not be made or mounted.
    pub fn play(self) -> Result<Played> {
        let base = image::fresh(self.shape)?;
        let (manner, mut rng) = self.manner();
        let disk = CutDisk::new(base.clone(), manner);
        let player =
            Player::new(disk.clone()).map_err(|error| anyhow!("{}: the mount fails: {error}", self.workload.name))?;
        self.direct(&player, &mut rng);
        let record = disk.take_recording();
        let history = History::new(player.history(), &record);
        Ok(Played { case: self, base, record, history })
    }
}

impl Played {
    /// Looks at up to `budget` states; `told` is called for each.
    pub fn check(
        &self,
        checker: &mut Checker,
        budget: usize,
        mut told: impl FnMut(),
    ) -> Result<(Counts, Vec<Violation>)> {
        let states = States::new(&self.base, &self.record);
        let mut rng = self.case.rng("states");
        let mut counts = Counts::default();
        let mut violations = Vec::new();
        let mut known = HashSet::new();
        let mut tries = TRIES;
        for (at, choice) in self.plan(&states, budget, &mut rng) {
            let cut = states.cut(at);
            let state = states.apply(&cut, &states.stable(&cut), choice);
            let seen = self.history.seen(at);
            if !known.insert((state.fingerprint(), seen.returned_count())) {
                continue;
            }
            let look = self.manner_of_look(at, choice, counts.states, &mut rng);
            let (more, verdict) = checker.look(&state, &seen, self.case.shape, &look)?;
            counts.states += 1 + more;
            counts.replays += more;
            counts.cuts += 1;
            (0..=more).for_each(|_| told());
            if let Err(why) = verdict {
                counts.violations += 1;
                let found = Violation { at, choice, fates: states.fates(&cut, choice), state, why };
                violations.push(self.smallest(checker, &look, found, &mut tries)?);
            }
            if counts.states >= budget {
                break;
            }
        }
        Ok((counts, violations))
    }

    /// The states to look at: round after round over all places. Of four, one is right after a flush, and at two several writes may be
    /// lost, of which one may vouch for another.
    pub(super) fn plan(&self, states: &States<'_>, budget: usize, rng: &mut Rng) -> Vec<(usize, Choice)> {
        let mut places = states.places();
        rng.shuffle(&mut places);
        let (flushed, others): (Vec<_>, Vec<_>) = places.into_iter().partition(|&at| states.is_flush_boundary(at));
        let (several, few): (Vec<_>, Vec<_>) = others.into_iter().partition(|&at| states.cut(at).volatile.len() > 1);
        let (mut flushed, mut several, mut few) = (flushed.into_iter(), several.into_iter(), few.into_iter());
        let mut queues: Vec<(usize, Vec<Choice>)> = Vec::new();
        while queues.len() < 2 * budget {
            let four = [several.next(), flushed.next(), several.next(), few.next()];
            if four.iter().all(Option::is_none) {
                break;
            }
            for at in four.into_iter().flatten() {
                let mut choices = states.cut(at).choices(rng, self.case.shape.journal, 6);
                // All or nothing often comes first; else each place would show no more than that.
                let plain = rng.below(4).min(choices.len() - 1);
                let first = choices.swap_remove(if plain > 1 { rng.below(choices.len()) } else { plain });
                rng.shuffle(&mut choices);
                choices.push(first);
                queues.push((at, choices));
            }
        }
        let mut plan = Vec::new();
        while plan.len() < 3 * budget {
            let before = plan.len();
            for (at, choices) in &mut queues {
                plan.extend(choices.pop().map(|choice| (*at, choice)));
            }
            if plan.len() == before {
                break;
            }
        }
        plan
    }

    /// How the `nth` state is looked at.
    fn manner_of_look(&self, at: usize, choice: Choice, nth: usize, rng: &mut Rng) -> Look {
        // `e2fsck` does not look into the journal for a superblock that was torn. Where an error is noted in the superblock or in the
        // journal, it does not trust the list of orphans, and takes what is on it for damage.
        let whole = !matches!(choice, Choice::Torn(_)) && !self.record.has_failed(at);
        match nth {
            _ if !self.case.shape.journal => Look::Repaired,
            nth if nth % 8 == 3 && whole => Look::Both,
            nth if nth % 10 == 5 => Look::Recut(Rng::new(rng.next(), "recut")),
            _ => Look::Plain,
        }
    }

    /// Makes a violation as small as `tries` allow: the state, the writes that are there, and the sentence.
    fn smallest(&self, checker: &mut Checker, look: &Look, found: Violation, tries: &mut usize) -> Result<Violation> {
        let states = States::new(&self.base, &self.record);
        let cut = states.cut(found.at);
        let (stable, seen) = (states.stable(&cut), self.history.seen(found.at));
        let mut reasons = Vec::new();
        let mut fails = |fates: &[Fate]| {
            if *tries == 0 {
                return Ok(false);
            }
            *tries -= 1;
            let state = states.apply_fates(&cut, &stable, fates);
            let (_, verdict) = checker.look(&state, &seen, self.case.shape, look)?;
            Ok(verdict.map_err(|why| reasons.push((fates.to_vec(), why))).is_err())
        };
        let fates = minimise(&found.fates, &states.whole(&cut), &mut fails)?;
        let why = reasons.into_iter().rfind(|(of, _)| *of == fates).map_or(found.why, |(_, why)| why);
        Ok(Violation { state: states.apply_fates(&cut, &stable, &fates), fates, why, ..found })
    }
}
