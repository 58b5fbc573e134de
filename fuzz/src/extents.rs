//! Extent trees of depth 0, 1 and 2.
use super::disk::Overlay;
use super::image::{BLOCK, Base, filled, fresh};
use super::input::Input;
use super::play::{self, Play};
use fs::vfs::{FallocMode, File, OpenFlags, fput};
use std::sync::{Arc, OnceLock};

/// Files, and how many extents each has. A node of 1 KiB holds 84 entries, the root 4.
const FILES: [(&str, u64); 3] = [("flat", 4), ("one", 100), ("two", 370)];

fn bases() -> &'static [Base; 2] {
    static BASES: OnceLock<[Base; 2]> = OnceLock::new();
    BASES.get_or_init(|| [base("^metadata_csum"), base("metadata_csum")])
}

fn base(feature: &str) -> Base {
    let image = filled(fresh(2048, &["-O", feature, "-O", "^has_journal"]), |play| {
        for (name, extents) in FILES {
            let file = play.create(name).expect("create");
            for n in 0..extents {
                let pos = n * 3 * BLOCK as u64;
                // Every second one is unwritten.
                if n % 2 == 0 {
                    play::allocate(&file, pos, BLOCK as u64).expect("allocate");
                } else {
                    assert_eq!(play::write_through(&file, pos, &[n as u8; BLOCK]), Ok(BLOCK));
                }
            }
            fput(file);
        }
    });
    Base::new(image, |disk| assert_eq!(go_over(disk, 3), 3, "undamaged trees are gone over"))
}

/// See [`super::Target`].
pub fn places() -> Vec<usize> {
    bases().iter().map(Base::places).collect()
}

/// See [`super::Target`].
pub fn run(data: &[u8]) {
    let input = Input::parse(data);
    let disk = bases()[usize::from(input.choices & 1)].damaged(&input);
    go_over(disk, usize::from(input.choices >> 1 & 3));
}

/// Goes over one file, or with 3 over all; how many had no error.
fn go_over(disk: Arc<Overlay>, which: usize) -> usize {
    let Ok(play) = Play::mount(disk, false) else { return 0 };
    let mut good = 0;
    for (at, (name, extents)) in FILES.iter().enumerate() {
        if (which == at || which == 3)
            && let Ok(file) = play.open(name, OpenFlags::empty())
        {
            good += usize::from(use_file(&play, &file, *extents));
            fput(file);
        }
    }
    for (name, _) in FILES {
        let _ = play.unlink(name);
    }
    if play.unmount().is_ok() { good } else { 0 }
}

fn use_file(play: &Play, file: &Arc<File>, extents: u64) -> bool {
    let at = |extent: u64| extent * 3 * BLOCK as u64;
    let walked = play::seek_over(file, 24) >= 4;
    let middle = extents / 4 * 2;
    // Lookup; convert in the middle and at the front; insert into holes; remove from the end.
    let results = [
        play::read(file, at(middle), 5000).is_ok(),
        play::write_through(file, at(middle), &[1; BLOCK]).is_ok(),
        play::write(file, at(0), &[2; 10]).is_ok(),
        play::allocate(file, at(middle) + BLOCK as u64, 2 * BLOCK as u64).is_ok(),
        play::write_through(file, at(1) + BLOCK as u64, &[3; 5 * BLOCK]).is_ok(),
        play::write(file, at(extents) + 100, &[4; 2 * BLOCK]).is_ok(),
        play::fsync(file).is_ok(),
        // Split; map to unwritten; remove from the middle; move to the front and to the back, and join.
        play::change(file, FallocMode::ZeroRange { keep_size: true }, at(middle) + 10, 4 * BLOCK as u64).is_ok(),
        play::change(file, FallocMode::PunchHole, at(3) + 10, 3 * BLOCK as u64).is_ok(),
        play::change(file, FallocMode::InsertRange, at(1), 5 * BLOCK as u64).is_ok(),
        play::change(file, FallocMode::CollapseRange, at(1), 5 * BLOCK as u64).is_ok(),
        play::count_extents(file).is_ok(),
        play::truncate(file, at(extents - extents / 4) + 5).is_ok(),
        play::truncate(file, at(2) + 7).is_ok(),
        play.sync().is_ok(),
        play::truncate(file, 0).is_ok(),
        play::write(file, 3000, &[5; 3000]).is_ok(),
    ];
    walked && results.iter().all(|&good| good)
}
