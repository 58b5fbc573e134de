//! Damaged images on the stable toolchain, without a fuzzer: each target goes over its undamaged images, replays its corpus, and
//! then seeded mutations of it. See `fuzz/src/lib.rs`; `make fuzz` is the search for more.
#![cfg(not(any(loom, shuttle)))]
#[path = "../../fuzz/src/lib.rs"]
#[allow(dead_code, reason = "the fuzzer runs targets by name")]
mod fuzz;
use fuzz::{Random, TARGETS, Target};
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Mutations for each target.
const MUTATIONS: usize = 5_000;
/// No input takes a hundredth of it.
const LIMIT: Duration = Duration::from_secs(60);

/// The committed inputs of a target, by name.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target.name);
    let mut paths: Vec<_> =
        std::fs::read_dir(&folder).expect("a corpus").map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("an input")).collect()
}

/// Runs the corpus and the mutations of it in a thread of its own, which is not waited for if it does not come back.
fn play(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of that name");
    assert!((target.places)().iter().all(|&places| places > 10), "hardly anything to damage");
    let inputs = inputs(target);
    let (ended, progress) = channel();
    let player = std::thread::spawn({
        let inputs = inputs.clone();
        move || {
            for input in &inputs {
                (target.run)(input);
                ended.send(()).expect("somebody counts");
            }
        }
    });
    for input in &inputs {
        match progress.recv_timeout(LIMIT) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => panic!("no end of {input:02x?}"),
            Err(RecvTimeoutError::Disconnected) => {
                let panic = player.join().expect_err("it has stopped early");
                eprintln!("the input was {input:02x?}");
                resume_unwind(panic);
            }
        }
    }
}

fn inputs(target: &Target) -> Vec<Vec<u8>> {
    let seeds = corpus(target);
    let mut random = Random::new(1);
    let mutations = (0..MUTATIONS).map(|n| match seeds.get(n % (2 * seeds.len().max(1))) {
        Some(seed) => random.mutate(seed.clone()),
        None => random.input(),
    });
    seeds.iter().cloned().chain(mutations).collect()
}

#[test]
fn damaged_images_are_survived() {
    play("mount");
}

#[test]
fn damaged_logs_are_survived() {
    play("journal");
}

#[test]
fn damaged_directories_are_survived() {
    play("directory");
}

#[test]
fn damaged_extent_trees_are_survived() {
    play("extents");
}
