//! All sequences of two operations, each followed by a cut.
use super::Stage;
use crate::powercut::op::{How, Op};
use user::range::Range;
use user::rng::Rng;

/// The operations of which pairs are made. File 0 is `/a`, 1 is `/d/b`, both of two blocks; `/e` is an empty directory. `n` is a number for new things.
fn op(which: usize, n: usize, block: u64) -> Vec<Op> {
    let write = |file, pos, len, how| Op::Write { file, pos, len, how };
    let range = |range, pos, len| Op::Range { file: 0, range, pos, len };
    let one = match which {
        0 => Op::Create { path: format!("/d/new{n}"), file: 10 + n },
        1 => Op::Mkdir { path: format!("/d/dir{n}") },
        2 => Op::Rmdir { path: "/e".into() },
        3 => return vec![Op::Unlink { path: "/a".into() }, Op::Close { file: 0 }],
        4 => Op::Rename { from: "/a".into(), to: "/d/b".into() },
        5 => Op::Rename { from: "/d/b".into(), to: format!("/c{n}") },
        6 => Op::Rename { from: "/d".into(), to: "/e/d".into() },
        7 => Op::Link { file: 0, to: format!("/d/link{n}") },
        8 => write(0, 0, block, How::Buffered),
        9 => write(0, block + 100, 3 * block, How::Buffered),
        10 => write(0, block / 2, 2 * block, How::Aio),
        11 => write(0, 2 * block, block, How::ThroughDsync),
        12 => write(1, 0, block, How::Dsync),
        13 => Op::Truncate { file: 0, size: block / 2 },
        14 => Op::Truncate { file: 0, size: 6 * block + 1 },
        15 => Op::Fsync { file: 0, data_only: false },
        16 => Op::SyncDir { path: "/d".into() },
        17 => Op::Commit,
        18 => range(Range::Allocate, 0, 4 * block + 1),
        19 => range(Range::Punch, block / 2, block + block / 2),
        20 => range(Range::Zero, block / 2, 2 * block),
        21 => range(Range::Collapse, 0, block),
        22 => range(Range::Insert, block, 2 * block),
        _ => Op::Flush,
    };
    vec![one]
}

/// Different operations.
const KINDS: u64 = 24;

/// Numbers that follow each other stand for pairs that do not, so that a few of them show something of everything. Coprime to their count.
const STRIDE: u64 = 331;

/// The pair that belongs to the number of the run.
pub fn pair(stage: &Stage<'_>, _: &mut Rng) {
    let block = u64::from(stage.shape.block_size);
    let _ = stage.play(Op::Mkdir { path: "/d".into() });
    let _ = stage.play(Op::Mkdir { path: "/e".into() });
    for (file, path) in ["/a", "/d/b"].into_iter().enumerate() {
        stage.create(path, file);
        stage.write(file, 0, 2 * block, How::Buffered);
    }
    stage.ready();
    let pair = stage.number * STRIDE % (KINDS * KINDS);
    for (n, which) in [pair / KINDS, pair % KINDS].into_iter().enumerate() {
        for op in self::op(which as usize, n, block) {
            let _ = stage.play(op);
        }
    }
    stage.end();
}
