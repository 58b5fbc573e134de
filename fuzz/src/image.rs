//! The images that are damaged: made by `mke2fs`, filled by Sluice itself, the same at every start.
use super::disk::Overlay;
use super::input::Input;
use super::play::Play;
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;

/// Bytes of a block.
pub const BLOCK: usize = 1024;
/// Names and places depend on it.
const UUID: &str = "5106e0f5-0000-4000-8000-000000000001";

/// An undamaged image and the blocks of it that a target reads.
pub struct Base {
    image: Arc<[u8]>,
    places: Vec<usize>,
}

impl Base {
    /// The image, and as places for patches the blocks that `run` reads of it.
    pub fn new(image: Vec<u8>, run: impl FnOnce(Arc<Overlay>)) -> Base {
        let image: Arc<[u8]> = image.into();
        let disk = Overlay::new(image.clone(), true);
        run(disk.clone());
        let blocks: BTreeSet<usize> = disk.read_sectors().iter().map(|sector| *sector as usize / 2).collect();
        Base { image, places: blocks.into_iter().collect() }
    }
    /// How many blocks can be patched.
    pub fn places(&self) -> usize {
        self.places.len()
    }
    /// A disk with the patches of an input.
    pub fn damaged(&self, input: &Input<'_>) -> Arc<Overlay> {
        let disk = Overlay::new(self.image.clone(), false);
        for patch in input.patches() {
            let block = self.places[patch.place % self.places.len()];
            disk.patch(block * BLOCK + patch.offset % BLOCK, patch.bytes);
        }
        disk
    }
}

/// What `mke2fs` makes.
pub fn fresh(kib: usize, options: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("base.img");
    std::fs::File::create(&path).and_then(|file| file.set_len(kib as u64 * 1024)).expect("an image file");
    let hash_seed = format!("hash_seed={UUID}");
    let out = Command::new("mke2fs")
        .env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()))
        .env("E2FSPROGS_FAKE_TIME", "1700000000")
        .args(["-q", "-F", "-t", "ext4", "-b", "1024", "-I", "256", "-N", "128", "-O", "^resize_inode"])
        .args(["-U", UUID, "-E", &hash_seed])
        .args(options)
        .arg(&path)
        .output()
        .expect("mke2fs is installed");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    std::fs::read(&path).expect("the image")
}

/// An image that `fill` has filled; unmounted in order.
pub fn filled(image: Vec<u8>, fill: impl FnOnce(&Play)) -> Vec<u8> {
    let disk = Overlay::new(image.into(), false);
    let play = Play::mount(disk.clone(), false).expect("an undamaged image mounts");
    fill(&play);
    play.unmount().expect("an undamaged image unmounts");
    disk.contents()
}
