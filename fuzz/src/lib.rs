//! Damaged images against ext4: whatever the bytes of a disk say, a call ends with an answer. It never panics, never runs in a
//! circle, and its memory stays bounded.
//!
//! An input is a list of patches to a small undamaged image; only blocks that the target reads are patched ([`image::Base`]).
//! Each target mounts the patched image, uses one part of the format, and unmounts.
//!
//! | target | part |
//! |---|---|
//! | `mount` | superblock, descriptors, bitmaps, inodes; the walk over a whole small image |
//! | `journal` | the replay of a log with several transactions |
//! | `directory` | linear and indexed directories: lookup, readdir, insert, remove |
//! | `extents` | extent trees of depth 0 to 2: lookup, insert, convert, remove |
//!
//! `make fuzz` runs them under libFuzzer; `make test` replays the corpus and seeded mutations (`fs/tests/fuzz.rs`).
mod directory;
mod disk;
mod extents;
mod image;
mod input;
mod journal;
mod mount;
mod play;

pub use input::Random;

/// A target: its name, what runs an input, and how many places an input can patch.
pub struct Target {
    /// The name of the binary and of the corpus folder.
    pub name: &'static str,
    /// Runs one input.
    pub run: fn(&[u8]),
    /// Makes the base images, and checks that the undamaged ones get through all the target does; the blocks of each that
    /// can be patched.
    pub places: fn() -> Vec<usize>,
}

/// All targets.
pub const TARGETS: [Target; 4] = [
    Target { name: "mount", run: mount::run, places: mount::places },
    Target { name: "journal", run: journal::run, places: journal::places },
    Target { name: "directory", run: directory::run, places: directory::places },
    Target { name: "extents", run: extents::run, places: extents::places },
];

/// Runs an input of the target with that name. Panics if there is none.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of that name");
    (target.run)(data);
}
