//! A radix tree from folio index to folio, 64-way, with search tags.
//!
//! Every node has one 64-bit map for each [`Tag`]; the bit of a slot in an inner node says that something below has the
//! tag. A scan therefore skips what it does not look for 64 slots at a time. [`Tag::Present`] is kept the same way.
use super::Folio;
use alloc::boxed::Box;
use base::sync::Arc;
use core::ops::Range;

const BITS: u32 = 6;
const WIDTH: usize = 1 << BITS;
const TAGS: usize = 4;

/// What a scan looks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Tag {
    /// Any folio.
    Present,
    /// Folios with dirty blocks.
    Dirty,
    /// Folios under writeback.
    Writeback,
    /// Folios that were dirty when an integrity writeback started (SYN-2).
    ToWrite,
}

/// A subtree.
enum Node {
    Inner(Box<Inner>),
    Leaf(Box<Leaf>),
}

struct Inner {
    maps: [u64; TAGS],
    slots: [Option<Node>; WIDTH],
}

struct Leaf {
    maps: [u64; TAGS],
    slots: [Option<Arc<Folio>>; WIDTH],
}

/// The tree. The caller locks.
pub(super) struct Tree {
    root: Option<Node>,
    /// Levels below and including the root; 0 when empty.
    height: u32,
    len: usize,
}

impl Tree {
    pub(super) fn new() -> Tree {
        Tree { root: None, height: 0, len: 0 }
    }

    /// How many folios there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The folio at `index`.
    pub(super) fn get(&self, index: u64) -> Option<&Arc<Folio>> {
        if !self.covers(index) {
            return None;
        }
        let mut node = self.root.as_ref()?;
        let mut level = self.height;
        loop {
            level -= 1;
            match node {
                Node::Inner(inner) => node = inner.slots[slot(index, level)].as_ref()?,
                Node::Leaf(leaf) => return leaf.slots[slot(index, 0)].as_ref(),
            }
        }
    }

    /// Puts `folio` at `index`, which is free.
    pub(super) fn insert(&mut self, index: u64, folio: Arc<Folio>) {
        self.grow(index);
        let mut node = self.root.get_or_insert_with(|| Node::new(self.height));
        let mut level = self.height;
        loop {
            level -= 1;
            match node {
                Node::Inner(inner) => {
                    let i = slot(index, level);
                    inner.maps[Tag::Present as usize] |= 1 << i;
                    node = inner.slots[i].get_or_insert_with(|| Node::new(level));
                }
                Node::Leaf(leaf) => {
                    let i = slot(index, 0);
                    debug_assert!(leaf.slots[i].is_none(), "two folios for one index");
                    leaf.maps[Tag::Present as usize] |= 1 << i;
                    leaf.slots[i] = Some(folio);
                    self.len += 1;
                    return;
                }
            }
        }
    }

    /// Takes the folio at `index` out, with its tags.
    pub(super) fn remove(&mut self, index: u64) -> Option<Arc<Folio>> {
        if !self.covers(index) {
            return None;
        }
        let folio = self.root.as_mut()?.remove(index, self.height)?;
        self.len -= 1;
        if self.len == 0 {
            self.root = None;
            self.height = 0;
        }
        Some(folio)
    }

    /// Sets `tag` on the folio at `index`, if there is one.
    pub(super) fn set_tag(&mut self, index: u64, tag: Tag) {
        if self.get(index).is_none() {
            return;
        }
        let (mut node, mut level) = (self.root.as_mut(), self.height);
        while let Some(n) = node {
            level -= 1;
            node = match n {
                Node::Inner(inner) => {
                    inner.maps[tag as usize] |= 1 << slot(index, level);
                    inner.slots[slot(index, level)].as_mut()
                }
                Node::Leaf(leaf) => {
                    leaf.maps[tag as usize] |= 1 << slot(index, 0);
                    None
                }
            };
        }
    }

    /// Clears `tag` on the folio at `index`.
    pub(super) fn clear_tag(&mut self, index: u64, tag: Tag) {
        if self.covers(index)
            && let Some(root) = self.root.as_mut()
        {
            root.clear_tag(index, self.height, tag);
        }
    }

    /// The first folio of `indices` that has `tag`.
    pub(super) fn next(&self, indices: Range<u64>, tag: Tag) -> Option<&Arc<Folio>> {
        let last = indices.end.checked_sub(1).filter(|&last| indices.start <= last)?;
        if !self.covers(indices.start) {
            return None;
        }
        self.root.as_ref()?.next(indices.start, last, self.height, tag)
    }

    fn covers(&self, index: u64) -> bool {
        index.checked_shr(self.height * BITS).unwrap_or(0) == 0
    }

    /// Adds levels above the root until `index` is covered.
    fn grow(&mut self, index: u64) {
        self.height = self.height.max(1);
        while !self.covers(index) {
            self.height += 1;
            if let Some(old) = self.root.take() {
                let mut inner = Inner::new();
                for tag in 0..TAGS {
                    inner.maps[tag] = u64::from(old.maps()[tag] != 0);
                }
                inner.slots[0] = Some(old);
                self.root = Some(Node::Inner(inner));
            }
        }
    }
}

/// The slot of `index` in a node of `level`, 0 for a leaf.
fn slot(index: u64, level: u32) -> usize {
    (index >> (level * BITS)) as usize % WIDTH
}

impl Inner {
    fn new() -> Box<Inner> {
        Box::new(Inner { maps: [0; TAGS], slots: [const { None }; WIDTH] })
    }
}

impl Node {
    /// An empty node that covers `height` levels.
    fn new(height: u32) -> Node {
        if height == 1 {
            return Node::Leaf(Box::new(Leaf { maps: [0; TAGS], slots: [const { None }; WIDTH] }));
        }
        Node::Inner(Inner::new())
    }

    fn maps(&self) -> &[u64; TAGS] {
        match self {
            Node::Inner(inner) => &inner.maps,
            Node::Leaf(leaf) => &leaf.maps,
        }
    }

    /// Recursion is bounded by the height, at most 11.
    fn remove(&mut self, index: u64, height: u32) -> Option<Arc<Folio>> {
        let i = slot(index, height - 1);
        match self {
            Node::Leaf(leaf) => {
                let folio = leaf.slots[i].take()?;
                leaf.maps.iter_mut().for_each(|m| *m &= !(1 << i));
                Some(folio)
            }
            Node::Inner(inner) => {
                let child = inner.slots[i].as_mut()?;
                let folio = child.remove(index, height - 1)?;
                let below = *child.maps();
                for (map, below) in inner.maps.iter_mut().zip(below) {
                    if below == 0 {
                        *map &= !(1 << i);
                    }
                }
                if below[Tag::Present as usize] == 0 {
                    inner.slots[i] = None;
                }
                Some(folio)
            }
        }
    }

    /// Clears the tag below; returns whether anything below still has it.
    fn clear_tag(&mut self, index: u64, height: u32, tag: Tag) -> bool {
        let i = slot(index, height - 1);
        match self {
            Node::Leaf(leaf) => {
                leaf.maps[tag as usize] &= !(1 << i);
                leaf.maps[tag as usize] != 0
            }
            Node::Inner(inner) => {
                let left = inner.slots[i].as_mut().is_some_and(|child| child.clear_tag(index, height - 1, tag));
                if !left {
                    inner.maps[tag as usize] &= !(1 << i);
                }
                inner.maps[tag as usize] != 0
            }
        }
    }

    /// `from` lies below this node; `last`, which is not before it, may lie behind.
    fn next(&self, from: u64, last: u64, height: u32, tag: Tag) -> Option<&Arc<Folio>> {
        let first = slot(from, height - 1);
        let ends_here = (from ^ last).checked_shr(height * BITS).unwrap_or(0) == 0;
        let end = if ends_here { slot(last, height - 1) } else { WIDTH - 1 };
        let mut map = self.maps()[tag as usize] & (u64::MAX << first) & (u64::MAX >> (WIDTH - 1 - end));
        while map != 0 {
            let i = map.trailing_zeros() as usize;
            map &= map - 1;
            match self {
                Node::Leaf(leaf) => return leaf.slots[i].as_ref(),
                Node::Inner(inner) => {
                    // Below the first slot the scan starts in its middle, below the others at their first index.
                    let below = (height - 1) * BITS;
                    let from = if i == first { from } else { ((from >> below) + (i - first) as u64) << below };
                    if let Some(found) = inner.slots[i].as_ref().and_then(|n| n.next(from, last, height - 1, tag)) {
                        return Some(found);
                    }
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    fn folio(index: u64) -> Arc<Folio> {
        Folio::detached(index)
    }

    fn scan(tree: &Tree, tag: Tag) -> Vec<u64> {
        let (mut found, mut from) = (Vec::new(), 0);
        while let Some(f) = tree.next(from..u64::MAX, tag) {
            found.push(f.index());
            from = f.index() + 1;
        }
        found
    }

    #[test]
    fn sparse_indices_are_found_and_scanned_in_order() {
        let mut tree = Tree::new();
        let indices = [5, 0, 63, 64, 4095, 4096, 1 << 40, u64::MAX >> 12];
        for i in indices {
            tree.insert(i, folio(i));
        }
        let mut sorted = indices.to_vec();
        sorted.sort_unstable();
        assert_eq!(scan(&tree, Tag::Present), sorted);
        assert!(indices.iter().all(|&i| tree.get(i).is_some_and(|f| f.index() == i)));
        assert!(tree.get(6).is_none() && tree.get(u64::MAX).is_none());
        for i in indices {
            assert_eq!(tree.remove(i).map(|f| f.index()), Some(i));
        }
        assert_eq!((tree.len(), tree.height), (0, 0));
    }

    #[test]
    fn tags_follow_a_model_through_random_changes() {
        let mut tree = Tree::new();
        let mut model: BTreeMap<u64, [bool; TAGS]> = BTreeMap::new();
        let mut seed = 88_172_645_463_325_252u64;
        for _ in 0..20_000 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let index = (seed >> 8) % 300 * if seed & 4 == 0 { 1 } else { 70 };
            let tag = [Tag::Dirty, Tag::Writeback, Tag::ToWrite][(seed >> 40) as usize % 3];
            match seed >> 60 {
                0..5 if !model.contains_key(&index) => {
                    tree.insert(index, folio(index));
                    model.insert(index, [true, false, false, false]);
                }
                0..5 => assert!(tree.get(index).is_some()),
                5..8 => assert_eq!(tree.remove(index).is_some(), model.remove(&index).is_some()),
                8..13 => {
                    tree.set_tag(index, tag);
                    if let Some(m) = model.get_mut(&index) {
                        m[tag as usize] = true;
                    }
                }
                _ => {
                    tree.clear_tag(index, tag);
                    if let Some(m) = model.get_mut(&index) {
                        m[tag as usize] = false;
                    }
                }
            }
            if seed & 0xff00 == 0 {
                for t in [Tag::Present, Tag::Dirty, Tag::Writeback, Tag::ToWrite] {
                    let want: Vec<u64> = model.iter().filter(|(_, m)| m[t as usize]).map(|(i, _)| *i).collect();
                    assert_eq!(scan(&tree, t), want);
                    let end = index + (seed >> 20) % 5000;
                    let first = tree.next(index..end, t).map(|f| f.index());
                    assert_eq!(first, want.into_iter().find(|i| (index..end).contains(i)));
                }
                assert_eq!(tree.len(), model.len());
            }
        }
    }
}
