//! Looking at one state: it mounts, holds what was promised, unmounts, and `e2fsck` finds nothing.
use super::disk::{CutDisk, Manner};
use super::found::Found;
use super::fsck::Fsck;
use super::image::Shape;
use super::oracle::{self, Seen};
use super::player::Mounted;
use super::record::Recording;
use super::states::States;
use super::store::Store;
use anyhow::Result;
use std::panic::{AssertUnwindSafe, catch_unwind};
use user::rng::Rng;

/// What a state must satisfy, or a sentence on what it does not.
pub type Verdict = Result<(), String>;

/// How a state is looked at.
#[derive(Clone)]
pub enum Look {
    /// Sluice recovers it.
    Plain,
    /// `e2fsck` recovers or repairs it.
    Repaired,
    /// `e2fsck` recovers it, and beside that Sluice.
    Both,
    /// Sluice recovers it, and is cut in the middle, by these numbers.
    Recut(Rng),
}

/// One worker's means to look at states.
pub struct Checker {
    fsck: Fsck,
}

/// States of a recovery that was cut itself.
const RECUTS: usize = 3;

impl Checker {
    /// A checker with an image file of its own.
    pub fn new() -> Result<Checker> {
        Ok(Checker { fsck: Fsck::new()? })
    }

    /// Looks at `state`, which a cut has left of what `seen` tells. Gives how many states there were to look at more than this one.
    pub fn look(&mut self, state: &Store, seen: &Seen<'_>, shape: Shape, how: &Look) -> Result<(usize, Verdict)> {
        Ok(match how {
            Look::Plain => (0, self.check(state, seen, shape)?),
            Look::Repaired => (0, self.check_repaired(state, seen, shape)?),
            Look::Both => match self.check_repaired(state, seen, shape)? {
                Ok(()) => (1, self.check(state, seen, shape)?),
                Err(why) => (1, Err(format!("recovered by e2fsck: {why}"))),
            },
            Look::Recut(rng) => return self.check_recovery(state, seen, shape, &mut rng.clone()),
        })
    }

    /// Looks at `state` as Sluice recovers it.
    pub fn check(&mut self, state: &Store, seen: &Seen<'_>, shape: Shape) -> Result<Verdict> {
        Ok(self.recover(state, seen, shape)?.map(|_| ()))
    }

    /// The same by way of `e2fsck -fy`, which recovers the journal in place of Sluice (or, without one, repairs what it can).
    pub fn check_repaired(&mut self, state: &Store, seen: &Seen<'_>, shape: Shape) -> Result<Verdict> {
        match self.fsck.repair(state, shape.journal)? {
            Ok(repaired) => Ok(self.recover(&repaired, seen, shape)?.map(|_| ())),
            Err(why) => Ok(Err(why)),
        }
    }

    /// Cuts the recovery of `state` (CRA-4). Gives how many states that were.
    pub fn check_recovery(
        &mut self,
        state: &Store,
        seen: &Seen<'_>,
        shape: Shape,
        rng: &mut Rng,
    ) -> Result<(usize, Verdict)> {
        let record = match self.recover(state, seen, shape)? {
            Ok(record) => record,
            Err(why) => return Ok((0, Err(why))),
        };
        let states = States::new(state, &record);
        let places = states.places();
        for done in 0..RECUTS {
            let cut = states.cut(*rng.pick(&places));
            let choices = cut.choices(rng, false, 4);
            let again = states.apply(&cut, &states.stable(&cut), *rng.pick(&choices));
            if let Err(why) = self.check(&again, seen, shape)? {
                return Ok((done, Err(format!("after a cut of the recovery: {why}"))));
            }
        }
        Ok((RECUTS, Ok(())))
    }

    /// Mounts, compares, unmounts and checks; gives the record of the disk.
    fn recover(&mut self, state: &Store, seen: &Seen<'_>, shape: Shape) -> Result<Result<Recording, String>> {
        let disk = CutDisk::new(state.clone(), Manner::plain());
        let looked = catch_unwind(AssertUnwindSafe(|| look(&disk, seen, shape)));
        let verdict = looked.unwrap_or_else(|panic| Err(format!("Sluice panics: {}", words(&*panic))));
        if let Err(why) = verdict {
            return Ok(Err(why));
        }
        let clean = self.fsck.check(&disk.store())?;
        Ok(clean.map(|()| disk.take_recording()))
    }
}

fn look(disk: &std::sync::Arc<CutDisk>, seen: &Seen<'_>, shape: Shape) -> Verdict {
    let mounted = Mounted::new(disk).map_err(|error| format!("the mount fails: {error}"))?;
    let found = Found::walk(&mounted).map_err(|error| format!("reading what is there fails: {error}"))?;
    let block_size = u64::from(shape.block_size);
    if shape.journal {
        oracle::judge(seen, &found, block_size)?;
    } else {
        oracle::judge_repaired(seen, &found, block_size)?;
    }
    mounted.unmount().map_err(|error| format!("the unmount fails: {error}"))
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without words".into())
}
