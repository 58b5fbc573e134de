//! Whole small images: mount, the walk over everything, changes, unmount.
use super::disk::Overlay;
use super::image::{Base, filled, fresh};
use super::input::Input;
use super::play::{self, Play};
use fs::ext4;
use fs::vfs::{FileType, iput};
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

fn bases() -> &'static [Base; 2] {
    static BASES: OnceLock<[Base; 2]> = OnceLock::new();
    BASES.get_or_init(|| [base("^metadata_csum"), base("metadata_csum")])
}

fn base(feature: &str) -> Base {
    // Four groups, so that there are descriptors to damage.
    let image = filled(fresh(1024, &["-g", "256", "-O", feature, "-O", "^has_journal"]), |play| {
        play.mkdir("d").expect("mkdir");
        play.mkdir("d/e").expect("mkdir");
        play.symlink("d/file", "short").expect("symlink");
        play.symlink(&"x/".repeat(60), "long").expect("symlink");
        let file = play.create("d/file").expect("create");
        play::write(&file, 0, &[7; 9000]).expect("write");
        let pieces = play.create("pieces").expect("create");
        for piece in 0..10 {
            play::write(&pieces, piece * 4096, b"piece").expect("write");
        }
        play.link(&play.lookup("pieces").expect("lookup"), "d/link").expect("link");
        fs::vfs::fput(file);
        fs::vfs::fput(pieces);
    });
    Base::new(image, |disk| assert_eq!(go_over(disk, false), 8, "an undamaged image is walked over"))
}

/// See [`super::Target`].
pub fn places() -> Vec<usize> {
    bases().iter().map(Base::places).collect()
}

/// See [`super::Target`].
pub fn run(data: &[u8]) {
    let input = Input::parse(data);
    let disk = bases()[usize::from(input.choices & 1)].damaged(&input);
    go_over(disk, input.choices & 6 == 6);
}

/// Looks at everything that can be reached, and changes some of it; how many inodes were met.
fn go_over(disk: Arc<Overlay>, read_only: bool) -> usize {
    let Ok(play) = Play::mount(disk, read_only) else { return 0 };
    let mut seen = BTreeSet::new();
    let mut todo = vec![u64::from(ext4::ROOT_INO)];
    while let Some(ino) = todo.pop() {
        if !seen.insert(ino) || seen.len() > 300 {
            continue;
        }
        let Ok(inode) = ext4::iget(&play.sb, ino as u32) else { continue };
        match inode.kind {
            FileType::Directory => todo.extend(play::entries(&inode).unwrap_or_default().iter().map(|(_, ino)| *ino)),
            FileType::Symlink => _ = inode.ops().readlink(&inode),
            _ => {}
        }
        iput(inode);
    }
    for path in ["d/file", "pieces", "long", "d/link"] {
        if let Ok(file) = play.open(path, fs::vfs::OpenFlags::empty()) {
            let _ = play::read(&file, 4000, 5000);
            let _ = play::write(&file, 5000, &[3; 6000]);
        }
    }
    let _ = change(&play);
    let _ = play.sb.ops().statfs();
    let _ = play.sync();
    let _ = play.unmount();
    seen.len()
}

fn change(play: &Play) -> base::Result<()> {
    if let Ok(file) = play.create("new") {
        let _ = play::write_through(&file, 5000, &[3; 20_000]);
        let _ = play::truncate(&file, 6000);
    }
    for result in [
        play.mkdir("n"),
        play.rename("new", "d/e/new"),
        play.unlink("long"),
        play.unlink("d/file"),
        play.unlink("pieces"),
        play.rmdir("n"),
    ] {
        // Each is tried, whatever became of those before.
        let _ = result;
    }
    Ok(())
}
