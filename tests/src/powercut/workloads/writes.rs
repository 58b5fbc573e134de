//! Workloads that change the contents of files.
use super::Stage;
use crate::powercut::op::{How, Op};
use user::range::Range;
use user::rng::Rng;

/// A place and a length, at and off the boundaries of blocks.
fn range(rng: &mut Rng, longest_blocks: usize, room_blocks: usize, block: u64) -> (u64, u64) {
    let pos = rng.below(room_blocks) as u64 * block;
    let len = (1 + rng.below(longest_blocks)) as u64 * block;
    if rng.chance(60) {
        (pos, len)
    } else {
        (pos + rng.below(block as usize) as u64, 1 + rng.below(len as usize) as u64)
    }
}

/// Every way to write, with fsync and fdatasync between, over holes, unwritten blocks and written ones.
pub fn ways(stage: &Stage<'_>, rng: &mut Rng) {
    let block = u64::from(stage.shape.block_size);
    for file in 0..3 {
        stage.create(&format!("/f{file}"), file);
        if file > 0 {
            stage.write(file, 0, 6 * block, How::Buffered);
        }
    }
    stage.ready();
    for _ in 0..14 {
        let file = rng.below(3);
        let how = *rng.pick(&How::ALL);
        let depth = if how.is_aio() { 1 + rng.below(8) } else { 1 };
        for _ in 0..depth {
            let (pos, len) = range(rng, 5, 12, block);
            stage.write(file, pos, len, how);
        }
        match rng.below(6) {
            0 | 1 => stage.fsync(file, rng.chance(50)),
            2 => stage.background(rng),
            _ => {}
        }
    }
    stage.end();
}

/// Each write begins where the one before it ends.
pub fn append(stage: &Stage<'_>, rng: &mut Rng) {
    stage.create("/log", 0);
    stage.ready();
    let mut end = 0;
    for _ in 0..20 {
        let len = 1 + rng.below(3 * stage.shape.block_size as usize) as u64;
        stage.write(0, end, len, *rng.pick(&How::ALL[..7]));
        end += len;
        match rng.below(8) {
            0 | 1 => stage.fsync(0, rng.chance(70)),
            2 => stage.background(rng),
            _ => {}
        }
    }
    stage.end();
}

/// Two tasks write to the same blocks of one file.
pub fn overlap(stage: &Stage<'_>, rng: &mut Rng) {
    let block = u64::from(stage.shape.block_size);
    stage.create("/f", 0);
    stage.write(0, 0, 3 * block, How::Buffered);
    stage.ready();
    let writer = |mut rng: Rng| {
        for _ in 0..10 {
            let (pos, len) = range(&mut rng, 3, 5, block);
            stage.write(0, pos, len, *rng.pick(&How::ALL[..7]));
            if rng.chance(25) {
                stage.fsync(0, true);
            }
        }
    };
    let (a, b) = (Rng::new(rng.next(), "a"), Rng::new(rng.next(), "b"));
    std::thread::scope(|scope| {
        scope.spawn(|| writer(a));
        writer(b);
    });
    let _ = stage.play(Op::Settle);
    stage.end();
}

/// Sizes go down and up while write-throughs are in flight.
pub fn truncate(stage: &Stage<'_>, rng: &mut Rng) {
    let block = u64::from(stage.shape.block_size);
    stage.create("/f", 0);
    stage.write(0, 0, 8 * block, How::Buffered);
    stage.ready();
    for _ in 0..12 {
        for _ in 0..1 + rng.below(4) {
            let (pos, len) = range(rng, 4, 10, block);
            stage.write(0, pos, len, *rng.pick(&[How::Aio, How::Aio, How::AioDsync, How::Buffered, How::Through]));
        }
        let blocks = rng.below(12) as u64 * block;
        let size = if rng.chance(50) { blocks } else { blocks + rng.below(block as usize) as u64 };
        let _ = stage.play(Op::Truncate { file: 0, size });
        match rng.below(5) {
            0 | 1 => stage.fsync(0, rng.chance(50)),
            2 => stage.background(rng),
            _ => {}
        }
    }
    stage.end();
}

/// Space is reserved, with the size kept or not, written in every way, and given back.
pub fn reserve(stage: &Stage<'_>, rng: &mut Rng) {
    let block = u64::from(stage.shape.block_size);
    stage.create("/f", 0);
    let _ = stage.play(Op::Range { file: 0, range: Range::AllocateKeep, pos: 0, len: 8 * block });
    stage.ready();
    for _ in 0..14 {
        for _ in 0..1 + rng.below(4) {
            let (pos, len) = range(rng, 4, 14, block);
            stage.write(0, pos, len, *rng.pick(&How::ALL));
        }
        match rng.below(8) {
            0..=2 => {
                let len = 1 + rng.below(20 * block as usize) as u64;
                let range = if rng.chance(50) { Range::AllocateKeep } else { Range::Allocate };
                let _ = stage.play(Op::Range { file: 0, range, pos: 0, len });
            }
            3 => {
                let size = rng.below(16 * block as usize) as u64;
                let _ = stage.play(Op::Truncate { file: 0, size });
            }
            4 | 5 => stage.fsync(0, rng.chance(50)),
            6 => stage.background(rng),
            _ => {}
        }
    }
    stage.end();
}

/// Every other block, so that trees of extents grow and split; then holes are filled and the tree shrinks.
pub fn fragments(stage: &Stage<'_>, rng: &mut Rng) {
    let block = u64::from(stage.shape.block_size);
    let far = if block == 1024 { 180 } else { 24 };
    stage.create("/f", 0);
    for n in 0..far {
        stage.write(0, 2 * n * block, block, How::Through);
    }
    stage.ready();
    for n in 0..24 {
        let at = if rng.chance(50) { 2 * (far + n) } else { 1 + 2 * rng.below(far as usize) as u64 };
        stage.write(0, at * block, block, *rng.pick(&How::ALL));
        match rng.below(9) {
            0 => stage.fsync(0, true),
            1 => stage.background(rng),
            2 => {
                let size = rng.below(2 * far as usize) as u64 * block;
                let _ = stage.play(Op::Truncate { file: 0, size });
            }
            _ => {}
        }
    }
    stage.end();
}
