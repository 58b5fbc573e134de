//! What is done before the power goes off.
//!
//! | file | contents |
//! |---|---|
//! | `writes` | every way to write, appends, overlapping writers, truncates against writes in flight, reserved space, trees that split |
//! | `tree` | names: rename over a file, directories that split, all of it at random |
//! | `ranges` | holes, zeroed ranges, and ranges that go and come, of files and on a disk that is nearly full |
//! | `programs` | programs of the random-operations oracle |
//! | `space` | a disk that is nearly full, whose freed blocks are used again |
//! | `pairs` | all sequences of two operations |
mod pairs;
mod programs;
mod ranges;
mod space;
mod tree;
mod writes;

use super::image::Shape;
use super::op::{FileId, How, Op};
use super::player::Actor;
use base::Result;
use user::rng::Rng;

/// A workload.
pub struct Workload {
    /// Its name, for `ONLY=`.
    pub name: &'static str,
    /// The file systems it is played on, in turn.
    pub shapes: &'static [Shape],
    /// States of one run, as a share of the usual number.
    pub share: usize,
    /// Whether one of the writes to the disk fails.
    pub fails: bool,
    /// Whether the host alone can play it: threads at the same time, or more steps than a guest plays while one waits.
    pub host_only: bool,
    /// Plays it.
    pub play: fn(&Stage<'_>, &mut Rng),
}

const ALL: &[Shape] = &[Shape::USUAL, Shape::SMALL_BLOCKS, Shape::USUAL, Shape::PLAIN];
const JOURNALLED: &[Shape] = &[Shape::USUAL, Shape::SMALL_BLOCKS];

/// A workload without errors.
const fn workload(
    name: &'static str,
    shapes: &'static [Shape],
    share: usize,
    play: fn(&Stage<'_>, &mut Rng),
) -> Workload {
    Workload { name, shapes, share, fails: false, host_only: false, play }
}

/// All of them; the last one is the small one.
pub static WORKLOADS: [Workload; 19] = [
    workload("program", ALL, 10, programs::program),
    Workload { host_only: true, ..workload("lanes", ALL, 5, programs::lanes) },
    workload("ranges", ALL, 5, ranges::ranges),
    Workload { host_only: true, ..workload("crumbs", &[Shape::ROOMY], 1, ranges::crumbs) },
    workload("ways", ALL, 5, writes::ways),
    workload("append", ALL, 5, writes::append),
    Workload { host_only: true, ..workload("overlap", ALL, 5, writes::overlap) },
    workload("truncate", ALL, 5, writes::truncate),
    workload("reserve", ALL, 5, writes::reserve),
    workload("fragments", &[Shape::SMALL_BLOCKS, Shape::USUAL], 5, writes::fragments),
    workload("rename", ALL, 5, tree::rename),
    workload("names", JOURNALLED, 5, tree::names),
    workload("directories", JOURNALLED, 5, tree::directories),
    workload("full", &[Shape::TIGHT], 5, space::full),
    workload("reuse", &[Shape::TIGHT], 5, space::reuse),
    workload("holes", &[Shape::TIGHT], 5, ranges::holes),
    workload("mix", ALL, 5, tree::mix),
    Workload { fails: true, ..workload("errors", JOURNALLED, 5, tree::mix) },
    workload("pairs", JOURNALLED, 1, pairs::pair),
];

/// Where a workload is played.
pub struct Stage<'a> {
    /// Plays steps.
    pub actor: &'a dyn Actor,
    /// The file system.
    pub shape: Shape,
    /// Which run of the workload this is.
    pub number: u64,
}

impl Stage<'_> {
    /// Plays a step; whether it succeeds is in the record.
    pub fn play(&self, op: Op) -> Result<usize> {
        self.actor.play(&op)
    }

    /// The scenery stands, and is durable: cuts come from here on.
    pub fn ready(&self) {
        let _ = self.play(Op::Sync);
        self.actor.ready();
    }

    /// The end, of which cuts are made too.
    pub fn end(&self) {
        let _ = self.play(Op::Unmount);
    }

    /// A new file at `path`.
    pub fn create(&self, path: &str, file: FileId) {
        let _ = self.play(Op::Create { path: path.into(), file });
    }

    /// A write. Direct ones are widened to whole blocks.
    pub fn write(&self, file: FileId, pos: u64, len: u64, how: How) {
        let block = u64::from(self.shape.block_size);
        let (pos, len) = match how {
            How::Direct => (pos / block * block, (pos + len).div_ceil(block) * block - pos / block * block),
            _ => (pos, len),
        };
        let _ = self.play(Op::Write { file, pos, len, how });
    }

    /// fsync or fdatasync.
    pub fn fsync(&self, file: FileId, data_only: bool) {
        let _ = self.play(Op::Fsync { file, data_only });
    }

    /// Something that happens by itself: writeback, or a commit by the clock.
    pub fn background(&self, rng: &mut Rng) {
        let _ = self.play(if rng.chance(50) { Op::Flush } else { Op::Commit });
    }
}
