//! Programs of the random-operations oracle (`user::oracle`): the same generator, with a power cut in the place of the model.
//!
//! | operation | here |
//! |---|---|
//! | write, append | the write, at the place where the file ends |
//! | a store to a mapping behind the end | first the allocation that the oracle makes too |
//! | asynchronous writes | each is a step; they stay in flight while others are played, sometimes to the end of the round |
//! | truncate, ranges, fsync | the same |
//! | reads, dropping what is cached | nothing: they change nothing that a cut could leave |
//!
//! Between rounds there are what the generator has not: sync, writeback and commits.
use super::Stage;
use crate::powercut::op::{FileId, How, Op};
use std::sync::{Mutex, PoisonError};
use user::oracle::{self, Program, Range, Step, Way};
use user::rng::Rng;

/// Operations of a program.
const OPS: usize = 200;

/// The threads of a round take turns.
pub fn program(stage: &Stage<'_>, rng: &mut Rng) {
    play(stage, rng, &mut |game, round, rng| {
        let mut threads: Vec<_> = round.iter().map(|steps| steps.iter()).collect();
        while !threads.is_empty() {
            let thread = rng.below(threads.len());
            match threads[thread].next() {
                Some(step) => game.play(step, rng),
                None => drop(threads.swap_remove(thread)),
            }
        }
    });
}

/// The threads of a round are threads.
pub fn lanes(stage: &Stage<'_>, rng: &mut Rng) {
    play(stage, rng, &mut |game, round, rng| {
        std::thread::scope(|scope| {
            for (thread, steps) in round.iter().enumerate() {
                let mut rng = Rng::new(rng.next(), &format!("thread {thread}"));
                scope.spawn(move || steps.iter().for_each(|step| game.play(step, &mut rng)));
            }
        });
    });
}

type Side<'a> = &'a mut dyn FnMut(&Game<'_>, &oracle::Round, &mut Rng);

/// Plays a program, a third of it as the scenery.
fn play(stage: &Stage<'_>, rng: &mut Rng, side_by_side: Side<'_>) {
    let program = Program::new(rng.next(), u64::from(stage.shape.block_size), OPS);
    let game = Game { stage, sizes: Mutex::new(vec![0; program.shape.files]) };
    (0..program.shape.files).for_each(|file| stage.create(&format!("/f{file}"), file));
    let scenery = program.rounds.len() / 3;
    for (number, round) in program.rounds.iter().enumerate() {
        if number == scenery {
            let _ = stage.play(Op::Settle);
            stage.ready();
        }
        side_by_side(&game, round, rng);
        match rng.below(10) {
            0 => _ = stage.play(Op::Sync),
            1 | 2 => stage.background(rng),
            3..6 => _ = stage.play(Op::Settle),
            _ => {}
        }
    }
    stage.end();
}

/// A program that is played.
struct Game<'a> {
    stage: &'a Stage<'a>,
    /// Of each file.
    sizes: Mutex<Vec<u64>>,
}

impl Game<'_> {
    fn size(&self, file: FileId) -> u64 {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)[file]
    }

    fn play(&self, step: &Step, rng: &mut Rng) {
        let (file, size) = (step.file, self.size(step.file));
        match step.op {
            oracle::Op::Write { pos, len, way } => self.write(file, pos, len, way),
            oracle::Op::Append { len, way } => self.write(file, size, len, way),
            oracle::Op::Aio { pos, len, count, how } => {
                let how = match how {
                    oracle::Aio::Durable => How::AioDsync,
                    // One that must not sleep ends as one that may: what it leaves out is done by another.
                    oracle::Aio::Plain | oracle::Aio::Nowait => How::Aio,
                };
                for n in 0..count {
                    self.step(Op::Write { file, pos: pos + n * len, len, how });
                }
                if rng.chance(30) {
                    self.step(Op::Settle);
                }
            }
            oracle::Op::Truncate { size } => self.step(Op::Truncate { file, size }),
            oracle::Op::Range { range, pos, len } => self.step(Op::Range { file, range, pos, len }),
            oracle::Op::Fsync { data_only } => self.step(Op::Fsync { file, data_only }),
            oracle::Op::Read { .. } | oracle::Op::Drop => {}
        }
        let size = &mut self.sizes.lock().unwrap_or_else(PoisonError::into_inner)[file];
        *size = step.op.size_after(*size);
    }

    fn write(&self, file: FileId, pos: u64, len: u64, way: Way) {
        let how = match way {
            Way::Buffered => How::Buffered,
            Way::Dsync => How::Dsync,
            Way::Through => How::Through,
            Way::ThroughDsync => How::ThroughDsync,
            Way::Direct => How::Direct,
            Way::Mapped => How::Mapped,
        };
        if how == How::Mapped && self.size(file) < pos + len {
            self.step(Op::Range { file, range: Range::Allocate, pos, len });
        }
        self.step(Op::Write { file, pos, len, how });
    }

    fn step(&self, op: Op) {
        let _ = self.stage.play(op);
    }
}
