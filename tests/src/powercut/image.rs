//! The file systems that workloads run on: made by `mke2fs` over blocks full of [`STALE`] bytes, so that a block that shows what
//! it held before is seen.
use super::op::STALE;
use super::store::Store;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

/// The shape of a file system.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Shape {
    /// Bytes of a block.
    pub block_size: u32,
    /// Size in MiB.
    pub mib: u32,
    /// Whether it has a journal.
    pub journal: bool,
}

impl Shape {
    /// Blocks of 4 KiB, with a journal: what `mke2fs -t ext4 -b 4096` makes.
    pub const USUAL: Shape = Shape { block_size: 4096, mib: 16, journal: true };
    /// Blocks of 1 KiB: pages of several blocks, small directories, deep trees.
    pub const SMALL_BLOCKS: Shape = Shape { block_size: 1024, mib: 16, journal: true };
    /// Without a journal.
    pub const PLAIN: Shape = Shape { block_size: 4096, mib: 16, journal: false };
    /// Room for a file of so many extents that they are not moved in one transaction.
    pub const ROOMY: Shape = Shape { block_size: 1024, mib: 24, journal: true };
    /// Hardly any free space.
    pub const TIGHT: Shape = Shape { block_size: 1024, mib: 4, journal: true };
}

/// A fresh file system of that shape. Each shape is made once.
pub fn fresh(shape: Shape) -> Result<Store> {
    static MADE: Mutex<BTreeMap<Shape, Arc<Vec<u8>>>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().map_err(|_| anyhow::anyhow!("another image could not be made"))?;
    if let Some(bytes) = made.get(&shape) {
        return Ok(Store::new(bytes.clone()));
    }
    let bytes = Arc::new(make(shape)?);
    made.insert(shape, bytes.clone());
    Ok(Store::new(bytes))
}

fn make(shape: Shape) -> Result<Vec<u8>> {
    let file = tempfile::NamedTempFile::new_in(scratch())?;
    std::fs::write(file.path(), vec![STALE; (shape.mib as usize) << 20])?;
    let block = shape.block_size.to_string();
    let mut mke2fs = e2fsprogs("mke2fs");
    mke2fs.args(["-q", "-F", "-t", "ext4", "-b", &block]);
    // The same image for the same seed.
    let uuid = "5175ce00-0000-4000-8000-00000000c070";
    mke2fs.args(["-U", uuid, "-E", &format!("nodiscard,lazy_itable_init=0,hash_seed={uuid}")]);
    mke2fs.env("E2FSPROGS_FAKE_TIME", "1700000000");
    if !shape.journal {
        mke2fs.args(["-O", "^has_journal"]);
    } else if shape.mib < 8 {
        mke2fs.args(["-J", "size=1", "-m", "0", "-N", "128"]);
    }
    let out = mke2fs.arg(file.path()).output().context("cannot run mke2fs")?;
    ensure!(out.status.success(), "mke2fs: {}", String::from_utf8_lossy(&out.stderr));
    Ok(std::fs::read(file.path())?)
}

/// Where images are made and checked: memory, where there is such a folder.
pub fn scratch() -> &'static Path {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory } else { Path::new("/tmp") }
}

/// A program of e2fsprogs, also where the path has no `sbin`. Found first and named in full: to look for it in a changed path, the
/// child would have to be a copy of this process, which has much memory.
pub fn e2fsprogs(name: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/sbin"]);
    let found = folders.map(|folder| Path::new(folder).join(name)).find(|program| program.is_file());
    Command::new(found.unwrap_or_else(|| name.into()))
}
