//! The algorithms against a map from block to block, over nodes in memory with four to six entries.
use super::node::{Expect, Node, NodeMut, RawEntry};
use super::*;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use base::{Errno, Result};
use core::cell::Cell;

const DEVICE_BLOCKS: u64 = 1 << 32;

struct Store {
    root: Vec<u8>,
    nodes: BTreeMap<u64, Vec<u8>>,
    node_bytes: usize,
    next: u64,
    free_nodes: usize,
    freed: Vec<(u64, u32)>,
    seq: u64,
    /// Further leaves that the transaction has room for.
    room: Cell<u32>,
}

impl Store {
    fn new(entries_per_node: usize, root_entries: usize) -> Store {
        let mut root = vec![0; 12 + 12 * root_entries];
        NodeMut::init(&mut root, 0, &[]).unwrap();
        Store {
            root,
            nodes: BTreeMap::new(),
            node_bytes: 16 + 12 * entries_per_node,
            next: 1 << 20,
            free_nodes: usize::MAX,
            freed: vec![],
            seq: 0,
            room: Cell::new(u32::MAX),
        }
    }
    fn depth(&self) -> u16 {
        Node::parse(&self.root, None).unwrap().depth()
    }
}

impl NodeStore for Store {
    fn read<R>(&self, at: NodeAt, expect: &Expect, f: impl FnOnce(&Node<'_>) -> Result<R>) -> Result<R> {
        let bytes = match at {
            NodeAt::Root => &self.root,
            NodeAt::Block(b) => self.nodes.get(&b).ok_or(Errno::EIO)?,
        };
        let node = Node::parse(bytes, expect.depth)?;
        node.check(expect, DEVICE_BLOCKS)?;
        f(&node)
    }
}

impl NodeStoreMut for Store {
    fn change<R>(&mut self, at: NodeAt, f: impl FnOnce(&mut NodeMut<'_>) -> Result<R>) -> Result<R> {
        let bytes = match at {
            NodeAt::Root => &mut self.root,
            NodeAt::Block(b) => self.nodes.get_mut(&b).ok_or(Errno::EIO)?,
        };
        f(&mut NodeMut::parse(bytes)?)
    }
    fn create(&mut self, f: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<u64> {
        self.free_nodes = self.free_nodes.checked_sub(1).ok_or(Errno::ENOSPC)?;
        let mut bytes = vec![0; self.node_bytes];
        f(&mut bytes)?;
        self.next += 1;
        self.nodes.insert(self.next, bytes);
        Ok(self.next)
    }
    fn reset_root(&mut self, f: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<()> {
        f(&mut self.root)
    }
    fn free_node(&mut self, block: u64) -> Result<()> {
        self.free_nodes = self.free_nodes.saturating_add(1);
        self.nodes.remove(&block).map(|_| ()).ok_or(Errno::EUCLEAN)
    }
    fn free_data(&mut self, pblk: u64, len: u32) -> Result<()> {
        self.freed.push((pblk, len));
        Ok(())
    }
    fn may_go_on(&self) -> bool {
        self.room.replace(self.room.get().saturating_sub(1)) > 0
    }
    fn map_changed(&mut self) {
        self.seq += 1;
    }
}

/// File block to device block and whether it is unwritten.
type Model = BTreeMap<u32, (u64, bool)>;

/// Walks the whole tree: every rule of the format, every node reached once, and what it maps.
fn check(store: &Store) -> Model {
    let (mut model, mut seen) = (Model::new(), BTreeSet::new());
    walk(store, NodeAt::Root, &Expect::ROOT, &mut seen, &mut model);
    assert_eq!(seen.len(), store.nodes.len(), "leaked node");
    model
}

fn walk(store: &Store, at: NodeAt, expect: &Expect, seen: &mut BTreeSet<u64>, model: &mut Model) {
    let (depth, entries) = store.read(at, expect, |n| Ok((n.depth(), n.entries().to_vec()))).unwrap();
    assert!(at == NodeAt::Root || !entries.is_empty(), "empty node");
    if at != NodeAt::Root {
        assert_eq!(entries[0].key(), expect.range.start, "index entry is not its child's first block");
    }
    for (i, e) in entries.iter().enumerate() {
        if depth == 0 {
            let x = e.extent();
            (0..x.len).for_each(|k| assert!(model.insert(x.lblk + k, (x.pblk + u64::from(k), x.unwritten)).is_none()));
        } else {
            assert!(seen.insert(e.child()));
            let end = entries.get(i + 1).map_or(expect.range.end, RawEntry::key);
            let below = Expect { depth: Some(depth - 1), range: e.key()..end };
            walk(store, NodeAt::Block(e.child()), &below, seen, model);
        }
    }
}

fn check_lookups(store: &Store, model: &Model, blocks: u32) {
    let mut at = 0;
    while at < blocks {
        match lookup(store, at).unwrap() {
            Run::Extent(e) => {
                assert!(e.lblk <= at && at < e.end());
                for k in 0..e.len {
                    assert_eq!(model.get(&(e.lblk + k)), Some(&(e.pblk + u64::from(k), e.unwritten)));
                }
                at = e.end();
            }
            Run::Hole { len } => {
                assert!(len > 0);
                let end = at.saturating_add(len);
                assert_eq!(model.range(at..end).next(), None);
                at = end;
            }
        }
    }
}

/// A small generator (xorshift), so that runs repeat.
struct Random(u64);
impl Random {
    fn below(&mut self, n: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as u32 % n
    }
}

const BLOCKS: u32 = 400;

/// Fills the holes of `range` with runs of at most 7 blocks; every other run is contiguous with nothing.
fn allocate(store: &mut Store, model: &mut Model, range: core::ops::Range<u32>, r: &mut Random) {
    let mut at = range.start;
    while at < range.end {
        if model.contains_key(&at) {
            at += 1;
            continue;
        }
        let hole_end = model.range(at..).next().map_or(range.end, |(&k, _)| k).min(range.end);
        let len = (hole_end - at).min(1 + r.below(7));
        let base = if r.below(2) == 0 { 1000 } else { 10_000 * (2 + u64::from(r.below(9))) };
        insert(store, &Extent { lblk: at, len, pblk: base + u64::from(at), unwritten: true }).unwrap();
        (at..at + len).for_each(|b| assert!(model.insert(b, (base + u64::from(b), true)).is_none()));
        at += len;
    }
}

/// The whole range, a few extents at a time.
fn convert(store: &mut Store, range: core::ops::Range<u32>) -> Result<()> {
    let mut left = Some(range);
    while let Some(range) = left {
        left = super::convert(store, range, 3)?;
    }
    Ok(())
}

fn convert_both(store: &mut Store, model: &mut Model, range: core::ops::Range<u32>) {
    let hole = range.clone().find(|b| !model.contains_key(b));
    let done = range.start..hole.unwrap_or(range.end);
    let expected = if hole.is_some() { Err(Errno::EUCLEAN) } else { Ok(()) };
    assert_eq!(convert(store, range), expected);
    model.range_mut(done).for_each(|(_, (_, unwritten))| *unwritten = false);
}

fn remove_both(store: &mut Store, model: &mut Model, range: core::ops::Range<u32>, steps: u32) {
    let mut left = Some(range.clone());
    while let Some(range) = left {
        left = remove(store, range, steps).unwrap();
    }
    let mut freed: Vec<u64> = vec![];
    for (pblk, len) in store.freed.drain(..) {
        freed.extend(pblk..pblk + u64::from(len));
    }
    let mut expected: Vec<u64> = model.range(range.clone()).map(|(_, &(pblk, _))| pblk).collect();
    model.retain(|b, _| !range.contains(b));
    freed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(freed, expected, "freed blocks are those of the range");
}

fn split_both(store: &mut Store, lblk: u32) {
    split(store, lblk).unwrap();
    if let Run::Extent(e) = lookup(store, lblk).unwrap() {
        assert_eq!(e.lblk, lblk, "a boundary");
    }
}

/// TRC-7. Its ends are made boundaries before; then it needs no node.
fn unwrite_both(store: &mut Store, model: &mut Model, range: core::ops::Range<u32>, room: u32) {
    split_both(store, range.start);
    split_both(store, range.end);
    let free = core::mem::replace(&mut store.free_nodes, 0);
    let mut left = Some(range.clone());
    while let Some(range) = left {
        store.room.set(room);
        left = unwrite(store, range).unwrap();
    }
    store.free_nodes = store.free_nodes.saturating_add(free);
    store.room.set(u32::MAX);
    model.range_mut(range).for_each(|(_, (_, unwritten))| *unwritten = true);
}

/// TRC-8, `room` leaves and one at a time. In between too the tree is sound, and what has moved and what has not are in order. No shift needs
/// a node or more than the nodes that were counted.
fn collapse_both(store: &mut Store, model: &mut Model, range: core::ops::Range<u32>, room: u32) {
    remove_both(store, model, range.clone(), 3);
    let by = range.end - range.start;
    let nodes = nodes_from(store, range.end, usize::MAX).unwrap().unwrap();
    let saved = store.nodes.clone();
    let mut from = range.end;
    store.room.set(room);
    while let Some(next) = shift_down(store, from, by).unwrap() {
        store.room.set(room);
        let moved = model.iter().map(|(&b, &to)| (if (range.end..next).contains(&b) { b - by } else { b }, to));
        assert_eq!(check(store), moved.collect::<Model>());
        from = next;
    }
    *model = model.iter().map(|(&b, &to)| (if b >= range.end { b - by } else { b }, to)).collect();
    assert_counted(store, &saved, &nodes);
    store.room.set(u32::MAX);
    assert_eq!(check(store), *model);
    join(store, range.start).unwrap();
}

fn insert_both(store: &mut Store, model: &mut Model, range: core::ops::Range<u32>, room: u32) {
    split_both(store, range.start);
    let by = range.end - range.start;
    let nodes = nodes_from(store, range.start, usize::MAX).unwrap().unwrap();
    assert!(nodes.is_empty() || nodes_from(store, range.start, nodes.len() - 1).unwrap().is_none());
    assert_eq!(end_of(store).unwrap(), model.keys().next_back().map_or(0, |b| b + 1));
    let saved = store.nodes.clone();
    let mut left = range.start..END_OF_FILE_SPACE;
    store.room.set(room);
    while let Some(next) = shift_up(store, left, by).unwrap() {
        store.room.set(room);
        let moved = model.iter().map(|(&b, &to)| (if b >= next.end { b + by } else { b }, to));
        assert_eq!(check(store), moved.collect::<Model>());
        left = next;
    }
    *model = model.iter().map(|(&b, &to)| (if b >= range.start { b + by } else { b }, to)).collect();
    assert_counted(store, &saved, &nodes);
    store.room.set(u32::MAX);
}

fn assert_counted(store: &Store, before: &BTreeMap<u64, Vec<u8>>, counted: &[u64]) {
    assert_eq!(counted.iter().collect::<BTreeSet<_>>().len(), counted.len(), "a node counted twice");
    for (number, bytes) in &store.nodes {
        assert!(before.get(number) == Some(bytes) || counted.contains(number), "node {number} was not counted");
    }
}

fn range(r: &mut Random, longest: u32) -> core::ops::Range<u32> {
    let start = r.below(BLOCKS);
    start..(start + 1 + r.below(longest)).min(BLOCKS)
}

#[test]
fn random_changes_match_a_map() {
    let mut deepest = 0;
    for seed in 1..16u64 {
        let mut r = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut store = Store::new(4 + (seed % 3) as usize, 4);
        let mut model = Model::new();
        for _ in 0..160 {
            let before = (model.clone(), store.seq);
            match r.below(11) {
                8 => unwrite_both(&mut store, &mut model, range(&mut r, 40), r.below(3)),
                9 => collapse_both(&mut store, &mut model, range(&mut r, 20), r.below(4)),
                10 if model.keys().next_back().is_none_or(|&b| b < 2 * BLOCKS) => {
                    insert_both(&mut store, &mut model, range(&mut r, 20), r.below(4));
                }
                0..3 => allocate(&mut store, &mut model, range(&mut r, 40), &mut r),
                3..6 => convert_both(&mut store, &mut model, range(&mut r, 30)),
                6 => remove_both(&mut store, &mut model, range(&mut r, 50), 1 + r.below(3)),
                _ if r.below(6) == 0 => remove_both(&mut store, &mut model, r.below(BLOCKS)..u32::MAX, 2),
                _ => remove_both(&mut store, &mut model, range(&mut r, 3), 1),
            }
            assert_eq!(check(&store), model, "seed {seed}");
            assert!(before.0 == model || store.seq > before.1, "MAP-1");
            check_lookups(&store, &model, 3 * BLOCKS);
            deepest = deepest.max(store.depth());
        }
        remove_both(&mut store, &mut model, 0..u32::MAX, 100);
        assert_eq!((store.depth(), store.nodes.len()), (0, 0));
    }
    assert!(deepest >= 3, "the trees were too shallow to prove anything: {deepest}");
}

#[test]
fn appending_in_sequence_keeps_one_entry() {
    let mut store = Store::new(4, 4);
    for i in 0..1000u32 {
        let unwritten = Extent { lblk: i * 8, len: 8, pblk: 5000 + u64::from(i) * 8, unwritten: true };
        insert(&mut store, &unwritten).unwrap();
        convert(&mut store, i * 8..i * 8 + 8).unwrap();
        assert_eq!((store.depth(), Node::parse(&store.root, None).unwrap().entries().len()), (0, 1));
    }
    assert_eq!(lookup(&store, 7).unwrap(), Run::Extent(Extent { lblk: 0, len: 8000, pblk: 5000, unwritten: false }));
}

#[test]
fn a_preallocated_range_converts_in_sequence_with_two_entries() {
    let mut store = Store::new(4, 4);
    insert(&mut store, &Extent { lblk: 0, len: 1000, pblk: 5000, unwritten: true }).unwrap();
    for i in 0..1000 {
        convert(&mut store, i..i + 1).unwrap();
        assert!(Node::parse(&store.root, None).unwrap().entries().len() <= 2);
    }
    let seq = store.seq;
    convert(&mut store, 0..1000).unwrap();
    assert_eq!(store.seq, seq, "EXT-4: nothing changes where all is mapped");
}

/// Twenty extents of a block each with a hole before each, from `first` on.
fn crumbs(first: u32) -> Store {
    let mut store = Store::new(4, 4);
    for n in 0..20 {
        let extent = Extent { lblk: first + 2 * n, len: 1, pblk: 5000 + 2 * u64::from(n), unwritten: false };
        insert(&mut store, &extent).unwrap();
    }
    assert!(store.depth() > 1);
    store
}

#[test]
fn trc6_a_hole_before_all_extents_of_a_deep_tree_is_one_step() {
    assert_eq!(remove(&mut crumbs(1 << 24), 5..1 << 24, 1), Ok(None));
    assert_eq!(remove(&mut crumbs(1 << 24), 5..(1 << 24) + 1, 1), Ok(None));
}

/// Else a collapse of them is more than one handle.
#[test]
fn trc8_extents_of_two_leaves_behind_a_hole_go_in_two_steps() {
    for start in (101..137).step_by(2) {
        let mut store = crumbs(100);
        assert_eq!(remove(&mut store, start..start + 4, 2), Ok(None), "from {start}");
        assert_eq!(store.freed.len(), 2);
        check(&store);
    }
}

#[test]
fn lengths_stop_at_the_limits_of_the_format() {
    let mut store = Store::new(4, 4);
    insert(&mut store, &Extent { lblk: 0, len: 32767, pblk: 9000, unwritten: true }).unwrap();
    insert(&mut store, &Extent { lblk: 32767, len: 1, pblk: 9000 + 32767, unwritten: true }).unwrap();
    assert_eq!(
        Node::parse(&store.root, None).unwrap().entries().len(),
        2,
        "an unwritten extent has at most 32767 blocks"
    );
    convert(&mut store, 0..32768).unwrap();
    let whole = Extent { lblk: 0, len: 32768, pblk: 9000, unwritten: false };
    assert_eq!(lookup(&store, 32767).unwrap(), Run::Extent(whole), "a mapped one has 32768");
    insert(&mut store, &Extent { lblk: 32768, len: 1, pblk: 9000 + 32768, unwritten: false }).unwrap();
    assert_eq!(lookup(&store, 0).unwrap(), Run::Extent(whole));
    assert_eq!(insert(&mut store, &Extent { len: 32768, unwritten: true, ..whole }), Err(Errno::EINVAL));
    assert_eq!(insert(&mut store, &Extent { lblk: 5, len: 1, pblk: 1, unwritten: true }), Err(Errno::EUCLEAN));
}

/// A shift does not take an extent out of what a file can have, and splits and joins are the reverse of each other.
#[test]
fn shifts_stop_at_the_limits_of_a_file() {
    let mut store = Store::new(4, 4);
    let whole = Extent { lblk: 10, len: 8, pblk: 9000, unwritten: false };
    insert(&mut store, &whole).unwrap();
    assert_eq!(shift_up(&mut store, 0..END_OF_FILE_SPACE, u32::MAX - 17), Err(Errno::EFBIG));
    assert_eq!(shift_down(&mut store, 10, 11), Err(Errno::EUCLEAN));
    assert_eq!(lookup(&store, 10).unwrap(), Run::Extent(whole), "nothing has changed");
    assert_eq!(shift_up(&mut store, 0..END_OF_FILE_SPACE, u32::MAX - 18), Ok(None));
    assert_eq!(lookup(&store, u32::MAX - 1).unwrap(), Run::Extent(Extent { lblk: u32::MAX - 8, ..whole }));
    assert_eq!(shift_down(&mut store, u32::MAX - 8, u32::MAX - 18), Ok(None));
    split(&mut store, 13).unwrap();
    assert_eq!(lookup(&store, 12).unwrap(), Run::Extent(Extent { len: 3, ..whole }));
    join(&mut store, 13).unwrap();
    assert_eq!(lookup(&store, 12).unwrap(), Run::Extent(whole));
}

/// EXT-6: a mapped extent may be one block longer than an unwritten one.
#[test]
fn the_longest_mapped_extent_becomes_two_unwritten_ones() {
    let mut store = Store::new(4, 4);
    let whole = Extent { lblk: 0, len: MAX_MAPPED, pblk: 9000, unwritten: false };
    insert(&mut store, &whole).unwrap();
    assert_eq!(unwrite(&mut store, 0..MAX_MAPPED), Ok(None));
    assert_eq!(lookup(&store, 0).unwrap(), Run::Extent(Extent { len: MAX_UNWRITTEN, unwritten: true, ..whole }));
    let last = Extent { lblk: MAX_UNWRITTEN, len: 1, pblk: 9000 + u64::from(MAX_UNWRITTEN), unwritten: true };
    assert_eq!(lookup(&store, MAX_UNWRITTEN).unwrap(), Run::Extent(last));
}

/// EXT-2: the reserve that is promised is enough for the worst split, and a failed split leaves the map as it was.
#[test]
fn conversion_needs_no_more_than_its_reserve() {
    for seed in 1..8u64 {
        let mut r = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut store = Store::new(4, 4);
        let mut model = Model::new();
        allocate(&mut store, &mut model, 0..BLOCKS, &mut r);
        for _ in 0..200 {
            let range = range(&mut r, 9);
            let saved = check(&store);
            store.free_nodes = 0;
            if convert(&mut store, range.clone()).is_err() {
                let now = check(&store);
                assert!(saved.iter().zip(&now).all(|(a, b)| a.0 == b.0 && a.1.0 == b.1.0));
            }
            store.free_nodes = 2 * worst_case_blocks(store.depth()) as usize;
            convert_both(&mut store, &mut model, range);
            assert_eq!(check(&store), model);
        }
    }
}

/// Bytes at random places of a valid tree: errors or wrong answers, never a panic or a loop.
#[test]
fn corrupt_nodes_give_errors() {
    let mut errors = 0;
    for seed in 1..120u64 {
        let mut r = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut store = Store::new(5, 4);
        let mut model = Model::new();
        allocate(&mut store, &mut model, 0..BLOCKS, &mut r);
        for _ in 0..1 + r.below(4) {
            let victim = r.below(store.nodes.len() as u32 + 1) as usize;
            let bytes = store.nodes.values_mut().nth(victim).unwrap_or(&mut store.root);
            let at = r.below(bytes.len() as u32) as usize;
            bytes[at] ^= 1 << r.below(8);
        }
        for _ in 0..30 {
            let at = r.below(BLOCKS);
            let results = [
                lookup(&store, at).map(|_| ()),
                convert(&mut store, at..at + 9),
                remove(&mut store, at..at + 20, 50).map(|_| ()),
                insert(&mut store, &Extent { lblk: at, len: 2, pblk: 77, unwritten: true }),
                unwrite(&mut store, at..at + 20).map(|_| ()),
                split(&mut store, at),
                nodes_from(&store, at, 99).map(|_| ()),
                shift_up(&mut store, at..END_OF_FILE_SPACE, 5).map(|_| ()),
                shift_down(&mut store, at + 5, 5).map(|_| ()),
                join(&mut store, at),
            ];
            errors += results.iter().filter(|r| r.is_err()).count();
        }
    }
    assert!(errors > 300, "the damage was not found: {errors}");
}

#[test]
fn a_tree_that_points_back_into_itself_ends() {
    let mut store = Store::new(4, 4);
    let mut model = Model::new();
    allocate(&mut store, &mut model, 0..BLOCKS, &mut Random(77));
    let (&victim, _) = store.nodes.first_key_value().unwrap();
    let depth = store.depth();
    NodeMut::init(&mut store.root, depth, &[RawEntry::from_index(0, victim)]).unwrap();
    for (_, bytes) in store.nodes.iter_mut() {
        NodeMut::init(bytes, depth - 1, &[RawEntry::from_index(0, victim)]).unwrap();
    }
    assert_eq!(lookup(&store, 5), Err(Errno::EUCLEAN));
}
