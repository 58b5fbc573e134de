//! Leaves and index blocks on their own: against a map, and with damage.
use super::entry::{self, Entries};
use super::index::{self, Kind, Pair};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// A small generator (xorshift), so that runs repeat.
struct Random(u64);
impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % n
    }
}

fn empty_leaf(len: usize) -> Vec<u8> {
    let mut leaf = vec![0; len];
    entry::put(&mut leaf, 0, len, &[], 0, 0).unwrap();
    leaf
}

fn name(r: &mut Random) -> String {
    let n = r.below(60);
    format!("{n}{}", "x".repeat(n * 4))
}

#[test]
fn a_leaf_matches_a_map() {
    for seed in 1..40u64 {
        let mut r = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut leaf = empty_leaf(1012);
        let mut model: BTreeMap<String, u32> = BTreeMap::new();
        for step in 1..400u32 {
            let name = name(&mut r);
            let found = entry::find(&leaf, name.as_bytes()).unwrap();
            assert_eq!(found.map(|f| f.ino), model.get(&name).copied());
            match found {
                Some(found) => {
                    entry::remove(&mut leaf, found.offset).unwrap();
                    model.remove(&name);
                }
                None => {
                    let room = entry::has_room(&leaf, name.as_bytes()).unwrap();
                    assert_eq!(entry::add(&mut leaf, name.as_bytes(), step, 1).unwrap(), room);
                    if room {
                        model.insert(name, step);
                    } else {
                        let used: usize = model.keys().map(|n| entry::record_len(n.len())).sum();
                        assert!(used + entry::record_len(255) > 600, "full too early: {used}");
                    }
                }
            }
            entry::check(&leaf, 1000).unwrap();
            let live = Entries::new(&leaf).filter(|e| e.as_ref().unwrap().ino != 0).count();
            assert_eq!(live, model.len());
        }
    }
}

#[test]
fn damaged_leaves_give_errors() {
    let mut errors = 0;
    for seed in 1..3000u64 {
        let mut r = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut leaf = empty_leaf(1012);
        for ino in 1..12 {
            let _ = entry::add(&mut leaf, name(&mut r).as_bytes(), ino, 1);
        }
        for _ in 0..1 + r.below(3) {
            let at = r.below(leaf.len());
            leaf[at] = r.below(256) as u8;
        }
        assert!(Entries::new(&leaf).count() <= leaf.len() / 8, "an endless leaf");
        errors += usize::from(entry::check(&leaf, 1000).is_err());
        let wanted = name(&mut r);
        let _ = entry::find(&leaf, wanted.as_bytes());
        let _ = entry::add(&mut leaf, wanted.as_bytes(), 7, 1);
        let at = r.below(leaf.len());
        let _ = entry::remove(&mut leaf, at);
        let _ = entry::set_inode(&mut leaf, at, 5, 1);
    }
    assert!(errors > 100, "the damage was not found: {errors}");
}

#[test]
fn a_record_that_ends_nowhere_is_found_out() {
    for len in [0u16, 4, 7, 8, 10, 13, 2000, u16::MAX] {
        let mut leaf = empty_leaf(1012);
        entry::add(&mut leaf, b"name", 12, 1).unwrap();
        leaf[4..6].copy_from_slice(&len.to_le_bytes());
        assert!(entry::check(&leaf, 1000).is_err(), "record length {len}");
    }
}

fn pair_list(block: &[u8], kind: Kind) -> Vec<(u32, u32)> {
    index::pairs(block, kind, true).unwrap().iter().map(|p| (p.hash(), p.block())).collect()
}

#[test]
fn pairs_stay_sorted_and_bounded() {
    let mut root = vec![0; 1024];
    index::init_root(&mut root, 11, 2, 1, true).unwrap();
    let limit = Kind::Root.limit(1024, true);
    assert_eq!(limit, (1024 - 32 - 8) / 8);
    let mut r = Random(99);
    for block in 2..=limit as u32 {
        let hash = (r.below(1 << 31) as u32) << 1;
        let pairs = index::pairs(&root, Kind::Root, true).unwrap();
        let at = index::position(pairs, hash) + 1;
        index::insert(&mut root, Kind::Root, true, at, Pair::new(hash, block)).unwrap();
        index::check(&root, Kind::Root, true).unwrap();
        assert_eq!(index::root(&root).unwrap(), index::Root { hash_version: 1, levels: 0 });
    }
    assert_eq!(pair_list(&root, Kind::Root).len(), limit);
    let full = index::insert(&mut root, Kind::Root, true, 1, Pair::new(2, 3));
    assert!(full.is_err(), "one more than fits");
}

#[test]
fn damaged_index_blocks_give_errors() {
    let mut errors = 0;
    for seed in 1..3000u64 {
        let mut r = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (kind, mut block) = (if seed % 2 == 0 { Kind::Root } else { Kind::Node }, vec![0; 1024]);
        match kind {
            Kind::Root => index::init_root(&mut block, 11, 2, 1, true).unwrap(),
            Kind::Node => index::init_node(&mut block).unwrap(),
        }
        let pairs: Vec<Pair> = (1..60).map(|i| Pair::new(i * 2000, i)).collect();
        index::set_pairs(&mut block, kind, true, &pairs).unwrap();
        for _ in 0..1 + r.below(4) {
            let at = r.below(64);
            block[at] = r.below(256) as u8;
        }
        errors += usize::from(index::check(&block, kind, true).is_err() || index::root(&block).is_err());
        if let Ok(pairs) = index::pairs(&block, kind, true) {
            let at = index::position(pairs, r.below(1 << 30) as u32);
            assert!(at < pairs.len());
            let _ = index::insert(&mut block, kind, true, at + 1, Pair::new(1, 1));
        }
        let _ = (index::checksum_place(&block, kind), index::looks_like_node(&block));
    }
    assert!(errors > 1000, "the damage was not found: {errors}");
}
