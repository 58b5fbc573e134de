//! Workloads that change ranges with fallocate.
use super::Stage;
use crate::powercut::op::{How, Op};
use user::range::Range;
use user::rng::Rng;

/// Ranges of every kind on two files, with writes of every kind between and in flight beside.
pub fn ranges(stage: &Stage<'_>, rng: &mut Rng) {
    let block = u64::from(stage.shape.block_size);
    let mut sizes = [12 * block, 12 * block];
    for (file, &size) in sizes.iter().enumerate() {
        stage.create(&format!("/f{file}"), file);
        stage.write(file, 0, size, How::Buffered);
    }
    stage.ready();
    for _ in 0..24 {
        let file = rng.below(2);
        let size = &mut sizes[file];
        match rng.below(10) {
            0..=5 => {
                let range = *rng.pick(&Range::ALL);
                let (mut pos, mut len) = (rng.below(12) as u64 * block, (1 + rng.below(5)) as u64 * block);
                if !range.shifts() && rng.chance(50) {
                    (pos, len) = (pos + rng.below(block as usize) as u64, 1 + rng.below(len as usize) as u64);
                }
                if range.is_allowed(*size, block, pos, len) {
                    let _ = stage.play(Op::Range { file, range, pos, len });
                    *size = range.size_after(*size, pos, len);
                }
            }
            6 | 7 => {
                let how = *rng.pick(&How::ALL);
                for _ in 0..if how.is_aio() { 1 + rng.below(4) } else { 1 } {
                    let (pos, len) = (rng.below(14) as u64 * block, (1 + rng.below(4)) as u64 * block);
                    stage.write(file, pos, len, how);
                    *size = (pos + len).max(*size);
                }
            }
            8 => {
                let (pos, len) = (rng.below(*size as usize + 1) as u64, rng.below(3 * block as usize) as u64);
                stage.write(file, pos, len.min(*size - pos), How::Mapped);
            }
            _ if rng.chance(50) => stage.fsync(file, rng.chance(50)),
            _ => stage.background(rng),
        }
    }
    stage.end();
}

/// On a disk that is nearly full: what a hole or a collapse gives back is used again at once.
pub fn holes(stage: &Stage<'_>, rng: &mut Rng) {
    let block = u64::from(stage.shape.block_size);
    let blocks = 32;
    stage.create("/ballast", 0);
    stage.create("/f", 1);
    stage.write(1, 0, blocks * block, How::Buffered);
    let ballast = stage.actor.free_blocks().saturating_sub(blocks + 20);
    stage.write(0, 0, ballast * block, How::Buffered);
    stage.ready();
    let mut size = blocks * block;
    for other in 2..10 {
        let (pos, len) = (rng.below(12) as u64 * block, (4 + rng.below(12)) as u64 * block);
        let range = *rng.pick(&[Range::Punch, Range::Punch, Range::Zero, Range::Collapse]);
        if range.is_allowed(size, block, pos, len) && stage.play(Op::Range { file: 1, range, pos, len }).is_ok() {
            size = range.size_after(size, pos, len);
        }
        let path = format!("/o{other}");
        stage.create(&path, other);
        stage.write(other, 0, 24 * block, *rng.pick(&[How::Through, How::Through, How::Aio, How::Direct]));
        match rng.below(4) {
            0 => stage.background(rng),
            1 => stage.fsync(1, rng.chance(50)),
            _ => {}
        }
        let _ = stage.play(Op::Settle);
        let _ = stage.play(Op::Unlink { path });
        let _ = stage.play(Op::Close { file: other });
        if rng.chance(70) {
            stage.write(1, 0, blocks * block, *rng.pick(&[How::Dsync, How::ThroughDsync]));
            size = size.max(blocks * block);
        }
    }
    stage.end();
}

/// Blocks of a file of which every second one is there: an extent each. Written from the end, they fill half of each leaf.
const CRUMBS: u64 = 11_000;

/// A file that one transaction does not move: decision 12.
pub fn crumbs(stage: &Stage<'_>, rng: &mut Rng) {
    let block = u64::from(stage.shape.block_size);
    stage.create("/f", 0);
    (0..CRUMBS).rev().for_each(|crumb| stage.write(0, 2 * crumb * block, block, How::Buffered));
    stage.ready();
    for range in [Range::Collapse, Range::Insert] {
        let (pos, len) = ((1 + rng.below(9)) as u64 * block, (1 + rng.below(5)) as u64 * block);
        let _ = stage.play(Op::Range { file: 0, range, pos, len });
        stage.fsync(0, true);
    }
    stage.end();
}
