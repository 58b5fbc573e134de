//! Workloads that change names.
use super::Stage;
use crate::powercut::op::{FileId, How, Op};
use user::rng::Rng;

/// The way programs save a file: a new one is written beside it and renamed over it, with fsync or without.
pub fn rename(stage: &Stage<'_>, rng: &mut Rng) {
    let block = u64::from(stage.shape.block_size);
    let _ = stage.play(Op::Mkdir { path: "/d".into() });
    let mut current = 0;
    stage.create("/d/doc", 0);
    stage.write(0, 0, 2 * block, How::Buffered);
    stage.ready();
    for file in 1..9 {
        let aside = if rng.chance(70) { "/d/doc.new" } else { "/doc.new" };
        stage.create(aside, file);
        stage.write(file, 0, 1 + rng.below(4 * block as usize) as u64, *rng.pick(&How::ALL));
        let _ = stage.play(Op::Settle);
        if rng.chance(60) {
            stage.fsync(file, rng.chance(30));
        }
        let _ = stage.play(Op::Rename { from: aside.into(), to: "/d/doc".into() });
        if rng.chance(40) {
            let _ = stage.play(Op::SyncDir { path: "/d".into() });
        }
        if rng.chance(60) {
            let _ = stage.play(Op::Close { file: current });
        }
        if rng.chance(20) {
            stage.background(rng);
        }
        current = file;
    }
    stage.end();
}

/// A tree as the workload knows it.
#[derive(Default)]
struct Tree {
    dirs: Vec<String>,
    files: Vec<(String, FileId)>,
    made: usize,
}

impl Tree {
    fn path(&self, rng: &mut Rng, kind: &str) -> String {
        let dir = if self.dirs.is_empty() || rng.chance(40) { "" } else { rng.pick(&self.dirs).as_str() };
        // Long names fill blocks soon, short ones make many entries.
        let padding = if rng.chance(30) { "-".repeat(rng.below(150)) } else { String::new() };
        format!("{dir}/{kind}{}{padding}", self.made)
    }

    /// One change of names.
    fn change(&mut self, stage: &Stage<'_>, rng: &mut Rng) {
        self.made += 1;
        match rng.below(12) {
            0..=3 => {
                let path = self.path(rng, "f");
                stage.create(&path, self.made);
                self.files.push((path, self.made));
            }
            4 => {
                let path = self.path(rng, "d");
                let _ = stage.play(Op::Mkdir { path: path.clone() });
                self.dirs.push(path);
            }
            5 | 6 if !self.files.is_empty() => {
                let (path, file) = self.files.swap_remove(rng.below(self.files.len()));
                let _ = stage.play(Op::Unlink { path });
                let _ = stage.play(Op::Close { file });
            }
            7 | 8 if !self.files.is_empty() => {
                let at = rng.below(self.files.len());
                let to = if rng.chance(30) { rng.pick(&self.files).0.clone() } else { self.path(rng, "r") };
                if to != self.files[at].0 {
                    let from = std::mem::replace(&mut self.files[at].0, to.clone());
                    let file = self.files[at].1;
                    let _ = stage.play(Op::Rename { from, to: to.clone() });
                    self.files.retain(|(path, id)| *path != to || *id == file);
                }
            }
            9 if !self.files.is_empty() => {
                // The new name is a name only: files are found by the first one.
                let file = rng.pick(&self.files).1;
                let to = self.path(rng, "l");
                let _ = stage.play(Op::Link { file, to });
            }
            10 if !self.dirs.is_empty() => {
                let at = rng.below(self.dirs.len());
                // Fails where there are entries; then nothing has changed.
                if stage.play(Op::Rmdir { path: self.dirs[at].clone() }).is_ok() {
                    self.dirs.remove(at);
                }
            }
            _ if !self.dirs.is_empty() => {
                let at = rng.below(self.dirs.len());
                let from = self.dirs[at].clone();
                let to = self.path(rng, "m");
                if !to.starts_with(&format!("{from}/"))
                    && stage.play(Op::Rename { from: from.clone(), to: to.clone() }).is_ok()
                {
                    let below = format!("{from}/");
                    let moved = |path: &mut String| {
                        if *path == from || path.starts_with(&below) {
                            *path = format!("{to}{}", &path[from.len()..]);
                        }
                    };
                    self.dirs.iter_mut().for_each(moved);
                    self.files.iter_mut().for_each(|(path, _)| moved(path));
                }
            }
            _ => {}
        }
    }

    fn settle(&self, stage: &Stage<'_>, rng: &mut Rng) {
        match rng.below(4) {
            0 if !self.files.is_empty() => stage.fsync(rng.pick(&self.files).1, rng.chance(30)),
            1 if !self.dirs.is_empty() => _ = stage.play(Op::SyncDir { path: rng.pick(&self.dirs).clone() }),
            2 => _ = stage.play(Op::Sync),
            _ => stage.background(rng),
        }
    }
}

/// All changes of names at random.
pub fn names(stage: &Stage<'_>, rng: &mut Rng) {
    let mut tree = Tree::default();
    (0..20).for_each(|_| tree.change(stage, rng));
    stage.ready();
    for _ in 0..40 {
        tree.change(stage, rng);
        if rng.chance(20) {
            tree.settle(stage, rng);
        }
    }
    stage.end();
}

/// One directory that grows until its hashed index splits, and is emptied again.
pub fn directories(stage: &Stage<'_>, rng: &mut Rng) {
    let long = |n: usize| format!("/d/{n:04}{}", "x".repeat(120));
    let full = if stage.shape.block_size == 1024 { 50 } else { 90 };
    let _ = stage.play(Op::Mkdir { path: "/d".into() });
    let make = |n: usize| {
        stage.create(&long(n), n);
        let _ = stage.play(Op::Close { file: n });
    };
    (0..full).for_each(make);
    stage.ready();
    for n in full..full + 30 {
        make(n);
        match rng.below(8) {
            0 => stage.background(rng),
            1 => _ = stage.play(Op::SyncDir { path: "/d".into() }),
            2 | 3 => _ = stage.play(Op::Unlink { path: long(rng.below(n)) }),
            4 => _ = stage.play(Op::Rename { from: long(n), to: format!("/d/{n}") }),
            _ => {}
        }
    }
    stage.end();
}

/// Names and contents at random.
pub fn mix(stage: &Stage<'_>, rng: &mut Rng) {
    let block = stage.shape.block_size as usize;
    let mut tree = Tree::default();
    (0..8).for_each(|_| tree.change(stage, rng));
    stage.ready();
    for _ in 0..30 {
        match rng.below(10) {
            0..=2 => tree.change(stage, rng),
            3..=7 if !tree.files.is_empty() => {
                let file = rng.pick(&tree.files).1;
                let (pos, len) = (rng.below(10 * block) as u64, 1 + rng.below(4 * block) as u64);
                stage.write(file, pos, len, *rng.pick(&How::ALL));
            }
            8 if !tree.files.is_empty() => {
                let file = rng.pick(&tree.files).1;
                let _ = stage.play(Op::Truncate { file, size: rng.below(10 * block) as u64 });
            }
            _ => tree.settle(stage, rng),
        }
    }
    stage.end();
}
