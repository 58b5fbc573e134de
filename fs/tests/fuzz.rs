//! Damaged images on the stable toolchain, without a fuzzer: each target goes over its undamaged images, replays its corpus, and
//! then seeded mutations of it. See `fuzz/src/lib.rs`; `make fuzz` is the search for more.
#![cfg(not(any(loom, shuttle)))]
#[path = "../../fuzz/src/lib.rs"]
#[allow(dead_code, reason = "the fuzzer runs targets by name")]
mod fuzz;
use fuzz::{Random, TARGETS, Target};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Mutations for each target.
const MUTATIONS: u64 = 5_000;
/// No input takes a hundredth of it.
const LIMIT: Duration = Duration::from_secs(60);

/// The committed inputs of a target, by name.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target.name);
    let mut paths: Vec<_> = std::fs::read_dir(&folder).expect("a corpus").map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("an input")).collect()
}

fn play(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of that name");
    assert!((target.places)().iter().all(|&places| places > 10), "hardly anything to damage");
    let seeds = corpus(target);
    let mut random = Random::new(1);
    let mutations = (0..MUTATIONS).map(|n| match seeds.get(n as usize % (2 * seeds.len().max(1))) {
        Some(seed) => random.mutate(seed.clone()),
        None => random.input(),
    });
    for input in seeds.iter().cloned().chain(mutations) {
        within_limit(target, input);
    }
}

fn within_limit(target: &Target, input: Vec<u8>) {
    (target.run)(&input);
}
