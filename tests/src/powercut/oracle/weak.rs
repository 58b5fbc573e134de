//! What is promised without a journal (decisions 7 and 10): data that fsync covered survives `e2fsck -fy`, under its name or in
//! `lost+found`, and no file shows what its blocks held before. Changes of names are not atomic.
use super::content::Content;
use super::names::{Entry, Names};
use super::span::Seen;
use crate::powercut::found::{Found, Node};
use crate::powercut::op::{FileId, Op, STALE};
use std::collections::{BTreeMap, BTreeSet};

/// Whether what was found is allowed. Errors: one sentence.
pub fn judge(seen: &Seen<'_>, found: &Found, block_size: u64) -> Result<(), String> {
    for (path, node) in found.iter() {
        if let Node::File(bytes) = node
            && let Some(at) = bytes.iter().position(|&byte| byte == STALE)
        {
            return Err(format!("{path}: byte {at} is what the block held before it was the file's"));
        }
    }
    for (file, paths) in alive(seen) {
        let content = Content::of(seen, file, block_size);
        // In the middle of a commit, a block of the extent tree may be new and the inode old: `e2fsck` then gives up extents. A tree
        // that fits into the inode, as that of a file of one write does, has no such block.
        if !content.has_durable() || (seen.commit_in_flight() && content.changes() > 1) {
            continue;
        }
        let candidates = found.iter().filter(|(path, _)| paths.contains(*path) || path.starts_with("/lost+found/"));
        let mut why = format!("file {file}, of which fsync has told that it is durable, is missing; it was {paths:?}");
        let survived = candidates.into_iter().any(|(path, node)| match node {
            Node::File(bytes) => match content.check(bytes) {
                Ok(()) => true,
                Err(error) => {
                    if paths.contains(path) {
                        why = format!("{path}: {error}");
                    }
                    false
                }
            },
            Node::Dir => false,
        });
        if !survived {
            return Err(why);
        }
    }
    Ok(())
}

/// Files that had a name at each moment since the last durable one, with the names they had.
fn alive(seen: &Seen<'_>) -> BTreeMap<FileId, BTreeSet<String>> {
    let changes = seen.changes();
    let least = seen.durable_changes(&changes);
    let mut names = Names::default();
    let mut alive: BTreeMap<FileId, BTreeSet<String>> = BTreeMap::new();
    for count in 0..=changes.len() {
        if count > 0 {
            names.apply(seen.op(changes[count - 1]));
        }
        if count < least {
            continue;
        }
        let mut now: BTreeMap<FileId, BTreeSet<String>> = BTreeMap::new();
        for (path, entry) in names.iter() {
            if let Entry::File(file) = entry {
                now.entry(*file).or_default().insert(path.to_owned());
            }
        }
        if count == least {
            alive = now;
            continue;
        }
        alive.retain(|file, _| now.contains_key(file));
        for (file, paths) in &mut alive {
            paths.extend(now.remove(file).unwrap_or_default());
        }
    }
    // Half of an unlink may have reached the disk.
    let gone = |step: &usize| matches!(seen.op(*step), Op::Unlink { .. }) && seen.returned(*step).is_none();
    if seen.begun().any(|step| gone(&step)) {
        alive.retain(|_, paths| paths.len() > 1);
    }
    alive
}
