//! The way from the root to a leaf.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::node::{Expect, Extent, MAX_DEPTH, Node};
use super::store::{NodeAt, NodeStore};
use arrayvec::ArrayVec;
use base::{Errno, Result};

/// One level of the way.
#[derive(Clone, Debug)]
pub struct Step {
    /// The node.
    pub at: NodeAt,
    /// In an index node the entry that was followed; in a leaf the number of entries that begin at or before the block that
    /// was looked for.
    pub slot: usize,
    /// Entries in use.
    pub count: usize,
    /// Entries that fit.
    pub max: usize,
    /// The first logical block that belongs to the next node of this level.
    pub end: u32,
}

impl Step {
    /// Free entries.
    pub fn room(&self) -> usize {
        self.max.saturating_sub(self.count)
    }
}

/// The way from the root to the leaf that holds, or would hold, a block.
#[derive(Clone, Debug)]
pub struct Path {
    /// Index nodes from the root on; empty where the root is the leaf.
    pub parents: ArrayVec<Step, { MAX_DEPTH as usize }>,
    /// The leaf.
    pub leaf: Step,
    /// What the leaf's parent says about it.
    pub expect: Expect,
    /// The first logical block that the leaf is there for: before it are other leaves' blocks, or it is 0. Never behind the block that was
    /// looked for, as `expect` may begin in a leaf that has none before it.
    pub begin: u32,
}

impl Path {
    /// All levels, from the root to the leaf.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.parents.iter().chain([&self.leaf])
    }
}

/// Descends to the leaf for `lblk` and gives what `f` makes of that leaf and the way there. The depth falls by one with each
/// level, so that a tree that points back into itself is found out. Errors: `EIO`, `EUCLEAN`.
pub fn descend<S: NodeStore, R>(store: &S, lblk: u32, f: impl FnOnce(Path, &Node<'_>) -> Result<R>) -> Result<R> {
    let mut parents = ArrayVec::new();
    let (mut at, mut expect) = (NodeAt::Root, Expect::ROOT);
    let mut begin = 0;
    let mut f = Some(f);
    loop {
        let below = store.read(at, &expect, |node| {
            let step = Step {
                at,
                slot: node.position(lblk),
                count: node.entries().len(),
                max: node.max(),
                end: expect.range.end,
            };
            if node.depth() == 0 {
                let path = Path { parents: core::mem::take(&mut parents), leaf: step, expect: expect.clone(), begin };
                let f = f.take().ok_or(Errno::EUCLEAN)?;
                return f(path, node).map(Below::Leaf);
            }
            let slot = step.slot.saturating_sub(1);
            parents.try_push(Step { slot, ..step }).map_err(|_| Errno::EUCLEAN)?;
            child(node, slot, &expect)
        })?;
        match below {
            Below::Leaf(r) => return Ok(r),
            Below::Child(block, child_expect) => {
                // A first child has what comes before it as well.
                if parents.last().is_some_and(|step| step.slot > 0) {
                    begin = child_expect.range.start;
                }
                (at, expect) = (NodeAt::Block(block), child_expect);
            }
        }
    }
}

enum Below<R> {
    Leaf(R),
    Child(u64, Expect),
}

/// The child at `slot` of an index node and what is known about it.
fn child<R>(node: &Node<'_>, slot: usize, expect: &Expect) -> Result<Below<R>> {
    let entry = node.entries().get(slot).ok_or(Errno::EUCLEAN)?;
    let end = node.entries().get(slot.saturating_add(1)).map_or(expect.range.end, |next| next.key());
    let depth = node.depth().checked_sub(1).ok_or(Errno::EUCLEAN)?;
    Ok(Below::Child(entry.child(), Expect { depth: Some(depth), range: entry.key()..end }))
}

/// The extent at `slot` of a leaf, if there is one.
pub fn extent_at(leaf: &Node<'_>, slot: usize) -> Option<Extent> {
    leaf.entries().get(slot).map(|e| e.extent())
}
