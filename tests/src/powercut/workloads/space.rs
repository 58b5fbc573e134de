//! A disk that is nearly full.
use super::Stage;
use crate::powercut::op::{How, Op};
use user::rng::Rng;

/// Files are made until there is no space, and deleted; their blocks are used again at once.
pub fn full(stage: &Stage<'_>, rng: &mut Rng) {
    let block = u64::from(stage.shape.block_size);
    // Only some free blocks are left to play with.
    stage.create("/ballast", 0);
    let ballast = stage.actor.free_blocks().saturating_sub(60);
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

/// Blocks of directories and of extent trees become file data, and the other way round, while the log still has copies of them.
pub fn reuse(stage: &Stage<'_>, rng: &mut Rng) {
    let block = u64::from(stage.shape.block_size);
    stage.create("/ballast", 0);
    let ballast = stage.actor.free_blocks().saturating_sub(40);
    stage.write(0, 0, ballast * block, How::Buffered);
    stage.ready();
    let mut file = 1;
    for round in 0..6 {
        let dir = format!("/d{round}");
        let _ = stage.play(Op::Mkdir { path: dir.clone() });
        let names: Vec<String> = (0..12).map(|n| format!("{dir}/{n}{}", "x".repeat(200))).collect();
        for path in &names {
            stage.create(path, file);
            let _ = stage.play(Op::Close { file });
            file += 1;
        }
        let _ = stage.play(Op::Commit);
        names.into_iter().for_each(|path| _ = stage.play(Op::Unlink { path }));
        let _ = stage.play(Op::Rmdir { path: dir });
        let _ = stage.play(Op::Commit);
        let path = format!("/f{round}");
        stage.create(&path, file);
        // All that is free, so that the blocks of the directory are among it.
        stage.write(file, 0, 36 * block, *rng.pick(&[How::ThroughDsync, How::AioDsync, How::Dsync]));
        let _ = stage.play(Op::Settle);
        if rng.chance(50) {
            // In place, without a commit: recovery must leave it alone.
            stage.write(file, 0, 30 * block, How::ThroughDsync);
        }
        let _ = stage.play(Op::Unlink { path });
        let _ = stage.play(Op::Close { file });
        let _ = stage.play(Op::Commit);
        file += 1;
    }
    stage.end();
}
