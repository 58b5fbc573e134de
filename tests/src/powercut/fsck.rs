//! `e2fsck` on a state (CRA-2): one file for each worker, of which only what has changed is written.
use super::image::{e2fsprogs, scratch};
use super::store::{CHUNK, Store};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// A file that holds one state after the other.
pub struct Fsck {
    file: tempfile::NamedTempFile,
    /// The image whose bytes the file has, but for these chunks.
    base: Option<Arc<Vec<u8>>>,
    changed: BTreeSet<usize>,
}

impl Fsck {
    /// With an empty file.
    pub fn new() -> Result<Fsck> {
        let file = tempfile::Builder::new().prefix("sluice-cut-").tempfile_in(scratch())?;
        Ok(Fsck { file, base: None, changed: BTreeSet::new() })
    }

    /// Looks without changing anything. Errors: what is wrong.
    pub fn check(&mut self, store: &Store) -> Result<Result<(), String>> {
        self.put(store)?;
        let (code, text) = self.run("-fn")?;
        Ok(if code == 0 { Ok(()) } else { Err(format!("e2fsck -fn finds damage: {}", problems(&text))) })
    }

    /// Repairs; `strictly` allows no more than to recover a journal and to bring sums in the superblock up to date, which are
    /// stored at unmount. Gives the repaired disk. Errors: what was wrong.
    pub fn repair(&mut self, store: &Store, strictly: bool) -> Result<Result<Store, String>> {
        self.put(store)?;
        let (code, text) = self.run("-fy")?;
        let bytes = std::fs::read(self.file.path())?;
        let mut repaired = store.clone();
        for chunk in 0..bytes.len() / CHUNK {
            let (now, mut before) = (&bytes[chunk * CHUNK..][..CHUNK], [0; CHUNK]);
            store.read(chunk * CHUNK, &mut before);
            if now != before {
                repaired.write(chunk * CHUNK, now);
                self.changed.insert(chunk);
            }
        }
        if code & !3 != 0 || (strictly && (code > 1 || !text.lines().all(is_harmless))) {
            return Ok(Err(format!("e2fsck -fy (status {code}) finds more than a journal: {}", problems(&text))));
        }
        Ok(Ok(repaired))
    }

    fn run(&self, mode: &str) -> Result<(i32, String)> {
        let out = e2fsprogs("e2fsck").arg(mode).arg(self.file.path()).output().context("cannot run e2fsck")?;
        Ok((out.status.code().unwrap_or(-1), String::from_utf8_lossy(&out.stdout).into_owned()))
    }

    fn put(&mut self, store: &Store) -> Result<()> {
        let file: &File = self.file.as_file();
        if !self.base.as_ref().is_some_and(|base| Arc::ptr_eq(base, store.base())) {
            file.set_len(0)?;
            file.write_all_at(store.base(), 0)?;
            self.base = Some(store.base().clone());
            self.changed.clear();
        }
        let now: BTreeSet<usize> = store.changes().map(|(chunk, _)| chunk).collect();
        for &chunk in self.changed.difference(&now) {
            file.write_all_at(&store.base()[chunk * CHUNK..][..CHUNK], (chunk * CHUNK) as u64)?;
        }
        for (chunk, bytes) in store.changes() {
            file.write_all_at(bytes, (chunk * CHUNK) as u64)?;
        }
        self.changed = now;
        Ok(())
    }
}

/// Lines that `e2fsck -fy` prints of a file system which was only not unmounted.
fn is_harmless(line: &str) -> bool {
    const BEGINNINGS: [&str; 5] =
        ["Pass ", "Free blocks count wrong (", "Free inodes count wrong (", "Fix? yes", "e2fsck "];
    const PARTS: [&str; 8] = [
        "recovering journal",
        "FILE SYSTEM WAS MODIFIED",
        " files (",
        "Clearing orphaned inode",
        "Truncating orphaned inode",
        "Optimize? yes",
        "could be narrower",
        "could be shorter",
    ];
    line.trim().is_empty()
        || BEGINNINGS.iter().any(|start| line.starts_with(start))
        || PARTS.iter().any(|part| line.contains(part))
}

fn problems(text: &str) -> String {
    let lines: Vec<&str> =
        text.lines().filter(|line| !is_harmless(line) && !line.starts_with("Fix?")).take(4).collect();
    lines.join(" / ")
}
