//! Programs from a seed.
use crate::range::Range;
use crate::rng::Rng;

/// The longest file that a program makes.
const MOST_BYTES: u64 = 160 << 10;
/// Operations of a thread in a round at most.
const MOST_OPS: usize = 12;

/// How bytes are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Way {
    Buffered,
    Dsync,
    Through,
    ThroughDsync,
    Direct,
    /// Stored through a shared mapping. Where the file ends before, it is made longer first.
    Mapped,
}

impl Way {
    /// The `RWF_*` bits of a write in this way.
    pub fn rwf(self) -> u32 {
        const DSYNC: u32 = 2;
        const WRITETHROUGH: u32 = 0x200;
        match self {
            Way::Buffered | Way::Direct | Way::Mapped => 0,
            Way::Dsync => DSYNC,
            Way::Through => WRITETHROUGH,
            Way::ThroughDsync => WRITETHROUGH | DSYNC,
        }
    }
}

/// What asynchronous write-throughs ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Aio {
    Plain,
    Durable,
    /// Not to sleep: each does all, a part or nothing, and what is left is done afterwards by one that may.
    Nowait,
}

impl Aio {
    /// The `RWF_*` bits.
    pub fn rwf(self) -> u32 {
        const NOWAIT: u32 = 8;
        match self {
            Aio::Plain => Way::Through.rwf(),
            Aio::Durable => Way::ThroughDsync.rwf(),
            Aio::Nowait => Way::Through.rwf() | NOWAIT,
        }
    }
}

/// How bytes are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Look {
    Buffered,
    Direct,
    Mapped,
}

/// One operation on file `file`; positions and lengths in bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Op {
    Write {
        pos: u64,
        len: u64,
        way: Way,
    },
    /// `count` asynchronous write-throughs of `len` bytes side by side, in flight together.
    Aio {
        pos: u64,
        len: u64,
        count: u64,
        how: Aio,
    },
    /// Behind the end. Only in a round of one thread, as all below but fsync and drop.
    Append {
        len: u64,
        way: Way,
    },
    Read {
        pos: u64,
        len: u64,
        look: Look,
    },
    Truncate {
        size: u64,
    },
    Range {
        range: Range,
        pos: u64,
        len: u64,
    },
    Fsync {
        data_only: bool,
    },
    /// Clean pages of the file leave the cache.
    Drop,
}

/// An operation with what its bytes are made from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Different for each step of a program.
    pub id: u64,
    /// Which file.
    pub file: usize,
    /// What is done.
    pub op: Op,
}

/// The operations of each thread.
pub type Round = Vec<Vec<Step>>;

/// What a program is played on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Files.
    pub files: usize,
    /// Threads of a round at most.
    pub threads: usize,
    /// Bytes of a lane.
    pub lane: u64,
    /// Bytes of a block of the file system.
    pub block: u64,
}

/// A whole program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// What it is played on.
    pub shape: Shape,
    /// One after the other.
    pub rounds: Vec<Round>,
}

impl Program {
    /// Makes a program of about `ops` operations, for a file system with blocks of `block` bytes.
    pub fn new(seed: u64, block: u64, ops: usize) -> Program {
        let mut rng = Rng::new(seed, "program");
        // Odd, so that lanes meet within blocks and pages.
        let lane = *rng.pick(&[1021, 5003, 12_289, 30_011]);
        let shape = Shape { files: 1 + rng.below(3), threads: 2 + rng.below(3), lane, block };
        let mut maker = Maker { rng, shape, sizes: vec![0; shape.files], id: 0 };
        let mut program = Program { shape, rounds: Vec::new() };
        while program.steps() < ops {
            let round = if maker.rng.chance(60) { maker.lanes() } else { maker.alone() };
            program.rounds.push(round);
        }
        program
    }

    /// How many operations it has.
    pub fn steps(&self) -> usize {
        self.rounds.iter().flatten().map(Vec::len).sum()
    }
}

struct Maker {
    rng: Rng,
    shape: Shape,
    /// Of each file, so that most operations meet something.
    sizes: Vec<u64>,
    id: u64,
}

impl Maker {
    fn step(&mut self, file: usize, op: Op) -> Step {
        self.id += 1;
        Step { id: self.id, file, op }
    }

    /// A round of threads, each in its lane.
    fn lanes(&mut self) -> Round {
        let threads = 2 + self.rng.below(self.shape.threads - 1);
        (0..threads).map(|thread| self.lane(thread as u64 * self.shape.lane)).collect()
    }

    fn lane(&mut self, start: u64) -> Vec<Step> {
        let count = 1 + self.rng.below(MOST_OPS);
        (0..count)
            .map(|_| {
                let file = self.rng.below(self.shape.files);
                let (pos, len) = self.part(start, start + self.shape.lane);
                let op = match self.rng.below(20) {
                    0..8 => self.write(pos, len),
                    8..10 => self.aio(pos, len),
                    10..17 => self.read(pos, len),
                    17 | 18 => Op::Fsync { data_only: self.rng.chance(50) },
                    _ => Op::Drop,
                };
                if let Some(end) = op.end() {
                    self.sizes[file] = self.sizes[file].max(end);
                }
                self.step(file, op)
            })
            .collect()
    }

    /// A part of `[start, end)`, not empty, mostly short.
    fn part(&mut self, start: u64, end: u64) -> (u64, u64) {
        let room = end - start;
        let pos = start + self.rng.next() % room;
        let most = if self.rng.chance(70) { (end - pos).min(5000) } else { end - pos };
        (pos, 1 + self.rng.next() % most)
    }

    fn way(&mut self) -> Way {
        *self.rng.pick(&[Way::Buffered, Way::Buffered, Way::Through, Way::Through, Way::Dsync, Way::ThroughDsync])
    }

    fn write(&mut self, pos: u64, len: u64) -> Op {
        match sectors(pos, len) {
            Some((pos, len)) if self.rng.chance(30) => Op::Write { pos, len, way: Way::Direct },
            _ if self.rng.chance(25) => Op::Write { pos, len, way: Way::Mapped },
            _ => Op::Write { pos, len, way: self.way() },
        }
    }

    fn aio(&mut self, pos: u64, len: u64) -> Op {
        let count = (1 + self.rng.next() % 8).min(len);
        let how = *self.rng.pick(&[Aio::Plain, Aio::Durable, Aio::Nowait]);
        Op::Aio { pos, len: len / count, count, how }
    }

    fn read(&mut self, pos: u64, len: u64) -> Op {
        match sectors(pos, len) {
            Some((pos, len)) if self.rng.chance(25) => Op::Read { pos, len, look: Look::Direct },
            _ => Op::Read { pos, len, look: if self.rng.chance(20) { Look::Mapped } else { Look::Buffered } },
        }
    }

    /// A round of one thread, over whole files.
    fn alone(&mut self) -> Round {
        let count = 1 + self.rng.below(MOST_OPS);
        vec![(0..count).map(|_| self.anywhere()).collect()]
    }

    fn anywhere(&mut self) -> Step {
        let file = self.rng.below(self.shape.files);
        let size = self.sizes[file];
        let (pos, len) = self.part(0, (size + 3 * self.shape.block).min(MOST_BYTES));
        let op = match self.rng.below(20) {
            0..4 => self.write(pos, len),
            4 => self.aio(pos, len),
            5 | 6 if size + 5000 < MOST_BYTES => {
                let len = 1 + self.rng.next() % 5000;
                Op::Append { len, way: self.way() }
            }
            7..9 => Op::Truncate { size: if self.rng.chance(20) { 0 } else { pos } },
            9..14 => self.range(size, pos, len),
            14..18 => self.read(pos, len),
            18 => Op::Fsync { data_only: self.rng.chance(50) },
            _ => Op::Drop,
        };
        self.sizes[file] = op.size_after(size);
        self.step(file, op)
    }

    fn range(&mut self, size: u64, pos: u64, len: u64) -> Op {
        let block = self.shape.block;
        let (first, blocks) = (pos / block * block, len.div_ceil(block) * block);
        match *self.rng.pick(&Range::ALL) {
            // What is asked of them: whole blocks, and not to the end of the file or from there on.
            Range::Collapse if first + blocks < size => Op::Range { range: Range::Collapse, pos: first, len: blocks },
            Range::Insert if first < size && size + blocks < MOST_BYTES => {
                Op::Range { range: Range::Insert, pos: first, len: blocks }
            }
            Range::Collapse | Range::Insert => Op::Range { range: Range::Punch, pos, len },
            range => Op::Range { range, pos, len },
        }
    }
}

/// The whole sectors of a range.
fn sectors(pos: u64, len: u64) -> Option<(u64, u64)> {
    let (start, end) = (pos.next_multiple_of(512), (pos + len) / 512 * 512);
    (start < end).then(|| (start, end - start))
}

impl Op {
    /// The end of what it writes.
    fn end(&self) -> Option<u64> {
        match *self {
            Op::Write { pos, len, .. } => Some(pos + len),
            Op::Aio { pos, len, count, .. } => Some(pos + len * count),
            _ => None,
        }
    }

    /// The size of a file of `size` bytes after it.
    pub fn size_after(&self, size: u64) -> u64 {
        match *self {
            Op::Append { len, .. } => size + len,
            Op::Truncate { size } => size,
            Op::Range { range, pos, len } => range.size_after(size, pos, len),
            _ => self.end().map_or(size, |end| size.max(end)),
        }
    }
}
