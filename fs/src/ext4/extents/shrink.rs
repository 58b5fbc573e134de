//! Shrinking: empty nodes go, and a root with one small child takes its place.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::edit::set_first_key;
use super::node::{Expect, NodeMut};
use super::path::Path;
use super::store::{NodeAt, NodeStoreMut};
use base::{Errno, Result};

/// Takes the leaf at the end of `path`, which has become empty, out of the tree, with every index node that this empties.
/// A root without entries becomes an empty leaf.
pub fn drop_empty_leaf<S: NodeStoreMut>(store: &mut S, path: &Path) -> Result<()> {
    let mut empty = path.leaf.at;
    for (level, step) in path.parents.iter().enumerate().rev() {
        let NodeAt::Block(block) = empty else { return Err(Errno::EUCLEAN) };
        if step.count > 1 {
            let next = step.slot.saturating_add(1);
            let new_first = if step.slot == 0 { Some(key_at(store, step.at, next)?) } else { None };
            store.change(step.at, |n| n.replace(step.slot..next, &[]))?;
            store.free_node(block)?;
            if let Some(key) = new_first {
                set_first_key(store, path.parents.get(..level).ok_or(Errno::EUCLEAN)?, key)?;
            }
            return pull_up(store);
        }
        store.free_node(block)?;
        empty = step.at;
    }
    store.reset_root(|bytes| NodeMut::init(bytes, 0, &[]))
}

fn key_at<S: NodeStoreMut>(store: &S, at: NodeAt, slot: usize) -> Result<u32> {
    let expect = Expect { depth: None, ..Expect::ROOT };
    store.read(at, &expect, |n| n.entries().get(slot).map(|e| e.key()).ok_or(Errno::EUCLEAN))
}

/// Replaces a root that has one child by that child, as often as the child's entries fit into the inode.
pub fn pull_up<S: NodeStoreMut>(store: &mut S) -> Result<()> {
    loop {
        let only_child = store.read(NodeAt::Root, &Expect::ROOT, |n| match n.entries() {
            [one] if n.depth() > 0 => Ok(Some((one.child(), n.depth(), n.max()))),
            _ => Ok(None),
        })?;
        let Some((block, depth, room)) = only_child else { return Ok(()) };
        let child_depth = depth.checked_sub(1).ok_or(Errno::EUCLEAN)?;
        let expect = Expect { depth: Some(child_depth), ..Expect::ROOT };
        let entries = store
            .read(NodeAt::Block(block), &expect, |n| Ok((n.entries().len() <= room).then(|| n.entries().to_vec())))?;
        let Some(entries) = entries else { return Ok(()) };
        store.reset_root(|bytes| NodeMut::init(bytes, child_depth, &entries))?;
        store.free_node(block)?;
    }
}
