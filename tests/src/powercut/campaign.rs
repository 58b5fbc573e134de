//! Many cases on all CPUs, until enough states were looked at.
use super::case::{By, Case, Counts, Played};
use super::check::Checker;
use super::watch::Watch;
use super::workloads::{WORKLOADS, Workload};
use super::{guest, keep};
use anyhow::{Result, ensure};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::ScopedJoinHandle;

/// States of a case for each unit of its workload's share. A guest plays slowly, so that less is made of each of its runs: more runs.
const fn states_per_share(by: By) -> usize {
    match by {
        By::Host => 10,
        By::Guest => 5,
    }
}
/// How often a workload is played while others are played once. Pairs are small: with 10,000 states of the host all have their turn.
fn runs_per_round(workload: &Workload, by: By) -> usize {
    match (workload.name, by) {
        ("pairs", By::Host) => 192,
        ("pairs", By::Guest) => 4,
        ("program", _) => 3,
        _ => 1,
    }
}
/// Of that many runs that follow each other one at least is no pair, as long as there are others: what is cut short has seen most of them.
const LARGE_AMONG: usize = 4;
/// The machine that plays for all of a campaign lives no longer.
const MACHINE_LIMIT_S: u64 = 4 * 3600;

/// What to do.
#[derive(Clone)]
pub struct Plan {
    /// States to look at, about.
    pub states: usize,
    /// Who plays.
    pub by: By,
    /// The seed of all numbers.
    pub seed: u64,
    /// Only this workload.
    pub only: Option<String>,
    /// Only this run of it.
    pub run: Option<u64>,
}

/// What came of a workload.
#[derive(Clone)]
pub struct Row {
    /// Its name.
    pub workload: &'static str,
    /// Runs.
    pub runs: usize,
    /// The sums over the runs.
    pub counts: Counts,
}

/// What came of all.
pub struct Outcome {
    /// One for each workload.
    pub rows: Vec<Row>,
    /// The violations, in words, with where they were kept.
    pub told: Vec<String>,
}

impl Outcome {
    /// The sum of a figure over all workloads.
    pub fn sum(&self, figure: impl Fn(&Counts) -> usize) -> usize {
        self.rows.iter().map(|row| figure(&row.counts)).sum()
    }
}

/// Carries out the plan. `progress` is told of each state. Errors: no such workload, no e2fsprogs, or a case that cannot be played.
pub fn run(plan: &Plan, progress: &(dyn Fn() + Sync)) -> Result<Outcome> {
    let cases = Cases::new(plan)?;
    if plan.by == By::Guest {
        // That may take longer than a watch is patient.
        crate::kernel();
        crate::programs();
    }
    let (next, watch) = (AtomicUsize::new(0), Watch::default());
    let following = || cases.get(next.fetch_add(1, Ordering::Relaxed)).inspect(|case| watch.seen(*case));
    match plan.by {
        By::Host => judge(plan, &cases, &watch, &|| following().map(Case::play).transpose(), progress),
        By::Guest => std::thread::scope(|scope| {
            let (send, receive) = mpsc::sync_channel(1);
            let machine = scope.spawn(|| {
                guest::play(MACHINE_LIMIT_S, std::iter::from_fn(following), move |run| send.send(run).is_ok())
            });
            let played = Mutex::new(receive);
            let next = || Ok(played.lock().unwrap_or_else(PoisonError::into_inner).recv().ok());
            let outcome = judge(plan, &cases, &watch, &next, progress);
            // With nobody to take them, no more are played.
            drop(played);
            machine.join().unwrap_or_else(|_| Err(anyhow::anyhow!("who plays died")))?;
            outcome
        }),
    }
}

/// Looks at states of all that `next` gives, on all CPUs, until there are enough.
fn judge(
    plan: &Plan,
    cases: &Cases,
    watch: &Watch,
    next: &(dyn Fn() -> Result<Option<Played>> + Sync),
    progress: &(dyn Fn() + Sync),
) -> Result<Outcome> {
    let rows = cases.workloads.iter().map(|w| Row { workload: w.name, runs: 0, counts: Counts::default() });
    let outcome = Mutex::new(Outcome { rows: rows.collect(), told: Vec::new() });
    let done = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(2, |n| n.get() + 1);
    let work = || -> Result<()> {
        let mut checker = Checker::new()?;
        loop {
            let left = plan.states.saturating_sub(done.load(Ordering::Relaxed));
            if left == 0 {
                return Ok(());
            }
            let Some(played) = next()? else { return Ok(()) };
            let case = played.case;
            let share = states_per_share(plan.by) * case.workload.share;
            let budget = if plan.run.is_some() { left } else { left.min(share) };
            let told = || {
                watch.seen(case);
                done.fetch_add(1, Ordering::Relaxed);
                progress();
            };
            watch.seen(case);
            let (counts, violations) = played.check(&mut checker, budget, told)?;
            let words: Vec<String> = violations.iter().map(|v| Ok(keep::keep(&played, v)?.1)).collect::<Result<_>>()?;
            outcome.lock().unwrap_or_else(PoisonError::into_inner).add(case, counts, words);
        }
    };
    watch.over(|| {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            let ended = |thread: ScopedJoinHandle<'_, Result<()>>| {
                thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a worker died")))
            };
            threads.into_iter().try_for_each(ended)
        })
    })?;
    Ok(outcome.into_inner().unwrap_or_else(PoisonError::into_inner))
}

impl Outcome {
    fn add(&mut self, case: Case, counts: Counts, words: Vec<String>) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.workload == case.workload.name) {
            row.runs += 1;
            row.counts.cuts += counts.cuts;
            row.counts.states += counts.states;
            row.counts.replays += counts.replays;
            row.counts.violations += counts.violations;
        }
        self.told.extend(words);
    }
}

/// The cases of a plan, in order.
struct Cases {
    workloads: Vec<&'static Workload>,
    by: By,
    seed: u64,
    run: Option<u64>,
}

impl Cases {
    fn new(plan: &Plan) -> Result<Cases> {
        let wanted = |w: &&Workload| plan.only.as_ref().is_none_or(|only| only == w.name);
        let can = |w: &&Workload| plan.by == By::Host || !w.host_only;
        let workloads: Vec<&'static Workload> = WORKLOADS.iter().filter(wanted).filter(can).collect();
        ensure!(!workloads.is_empty(), "there is no such workload: {}", plan.only.as_deref().unwrap_or_default());
        Ok(Cases { workloads, by: plan.by, seed: plan.seed, run: plan.run })
    }

    /// The n-th case: in each round every workload once, and between them pairs.
    fn get(&self, n: usize) -> Option<Case> {
        let case = |workload, number| Case { by: self.by, ..Case::new(workload, self.seed, number) };
        if let Some(run) = self.run {
            return (n == 0).then(|| case(self.workloads[0], run));
        }
        let mut round: Vec<(&'static Workload, usize)> = Vec::new();
        for workload in &self.workloads {
            round.extend((0..runs_per_round(workload, self.by)).map(|i| (*workload, i)));
        }
        // The large ones are spread over the pairs, which are the last.
        let large = round.iter().filter(|(w, _)| w.name != "pairs").count();
        let every = (round.len() / large.max(1)).clamp(1, LARGE_AMONG);
        let (slot, turn) = (n % round.len(), n / round.len());
        let (workload, i) = if slot % every == 0 && slot / every < large {
            round[slot / every]
        } else {
            let before = (slot / every + 1).min(large);
            round[large + slot - before]
        };
        let times = round.iter().filter(|(w, _)| w.name == workload.name).count();
        Some(case(workload, (turn * times + i) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_round_has_every_workload_and_its_pairs_once() {
        for by in [By::Host, By::Guest] {
            let plan = Plan { states: 1, by, seed: 1, only: None, run: None };
            let cases = Cases::new(&plan).unwrap();
            let all: usize = cases.workloads.iter().map(|w| runs_per_round(w, by)).sum();
            let seen: BTreeSet<_> =
                (0..2 * all).map(|n| cases.get(n).map(|c| (c.workload.name, c.number)).unwrap()).collect();
            assert_eq!(seen.len(), 2 * all);
            let pairs = cases.workloads.iter().find(|w| w.name == "pairs").unwrap();
            assert!(seen.contains(&("pairs", 2 * runs_per_round(pairs, by) as u64 - 1)) && seen.contains(&("mix", 1)));
        }
    }
}
