//! A disk that is nearly full.
use super::Stage;
use crate::powercut::op::{How, Op};
use crate::powercut::rng::Rng;

/// Files are made until there is no space, and deleted; their blocks are used again at once.
pub fn full(stage: &Stage, rng: &mut Rng) {
    let block = u64::from(stage.shape.block_size);
    // Only some free blocks are left to play with.
    stage.create("/ballast", 0);
    let ballast = stage.player.free_blocks().saturating_sub(60);
    stage.write(0, 0, ballast * block, How::Buffered);
    stage.ready();
    let mut files: Vec<usize> = Vec::new();
    let mut next = 1;
    for _ in 0..24 {
        match rng.below(8) {
            0..=3 => {
                stage.create(&format!("/f{next}"), next);
                stage.write(next, 0, (4 + rng.below(24)) as u64 * block, *rng.pick(&How::ALL));
                files.push(next);
                next += 1;
            }
            4 | 5 if !files.is_empty() => {
                let file = files.swap_remove(rng.below(files.len()));
                let _ = stage.play(Op::Settle);
                let _ = stage.play(Op::Unlink { path: format!("/f{file}") });
                let _ = stage.play(Op::Close { file });
            }
            6 if !files.is_empty() => {
                let file = *rng.pick(&files);
                let _ = stage.play(Op::Truncate { file, size: rng.below(8) as u64 * block });
            }
            _ if !files.is_empty() => stage.fsync(*rng.pick(&files), rng.chance(50)),
            _ => stage.background(rng),
        }
    }
    stage.end();
}
