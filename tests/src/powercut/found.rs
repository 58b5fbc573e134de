//! What a mount finds after a cut: all names with their contents.
use super::player::Mounted;
use base::{Errno, Result};
use fs::caller::KernelCaller;
use fs::io::SliceSink;
use fs::vfs::{self, FileType, OpenFlags};
use std::collections::BTreeMap;

/// A file or directory.
pub enum Node {
    /// With what it holds.
    File(Vec<u8>),
    /// Its entries are nodes of their own.
    Dir,
}

/// The nodes by path; `lost+found` itself is left out.
pub struct Found(BTreeMap<String, Node>);

/// Longer files are nobody's: no workload writes that much.
const LONGEST: u64 = 64 << 20;

impl Found {
    /// Walks the whole tree. Errors: those of reading, `EFBIG` for a file longer than any workload makes.
    pub fn walk(mounted: &Mounted) -> Result<Found> {
        let mut nodes = BTreeMap::new();
        let mut folders = vec!["/".to_owned()];
        while let Some(folder) = folders.pop() {
            for (name, kind) in entries(mounted, &folder)? {
                let path = if folder == "/" { format!("/{name}") } else { format!("{folder}/{name}") };
                match kind {
                    FileType::Directory => {
                        folders.push(path.clone());
                        if path != "/lost+found" {
                            nodes.insert(path, Node::Dir);
                        }
                    }
                    _ => _ = nodes.insert(path.clone(), Node::File(content(mounted, &path)?)),
                }
            }
        }
        Ok(Found(nodes))
    }

    /// The node at a path.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.0.get(path)
    }
    /// All nodes.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.0.iter().map(|(path, node)| (path.as_str(), node))
    }
    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn entries(mounted: &Mounted, folder: &str) -> Result<Vec<(String, FileType)>> {
    let dir = mounted.open(folder, OpenFlags::DIRECTORY)?;
    let mut entries = Vec::new();
    vfs::readdir(&dir, &mut |entry| {
        let name = String::from_utf8_lossy(entry.name).into_owned();
        if name != "." && name != ".." {
            entries.push((name, entry.kind));
        }
        true
    })?;
    // Names that are listed are also found.
    for (name, _) in &entries {
        mounted.open(&format!("{folder}/{name}"), OpenFlags::PATH)?;
    }
    Ok(entries)
}

fn content(mounted: &Mounted, path: &str) -> Result<Vec<u8>> {
    let file = mounted.open(path, OpenFlags::empty())?;
    let size = file.inode.as_ref().map_or(0, |inode| inode.size());
    if size > LONGEST {
        return Err(Errno::EFBIG);
    }
    let mut bytes = vec![0xee; size as usize];
    let n = vfs::read_at(&file, 0, 0, &mut SliceSink::new(&mut bytes), &KernelCaller)?;
    if n as u64 != size {
        return Err(Errno::EIO);
    }
    Ok(bytes)
}
