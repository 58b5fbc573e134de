//! Directories: linear, and with an index of one and two levels.
use super::disk::Overlay;
use super::image::{Base, filled, fresh};
use super::input::Input;
use super::play::Play;
use fs::vfs::iput;
use std::sync::{Arc, OnceLock};

/// Folders, and how many names of how many bytes each holds.
const FOLDERS: [(&str, usize, usize); 3] = [("linear", 8, 20), ("one", 40, 200), ("two", 420, 250)];

fn bases() -> &'static [Base; 2] {
    static BASES: OnceLock<[Base; 2]> = OnceLock::new();
    BASES.get_or_init(|| [base("^metadata_csum"), base("metadata_csum")])
}

fn name(folder: &str, n: usize, len: usize) -> String {
    format!("{folder}/{n:04}{}", "n".repeat(len - 4))
}

fn base(feature: &str) -> Base {
    let image = filled(fresh(1024, &["-O", feature, "-O", "^has_journal"]), |play| {
        for (folder, names, len) in FOLDERS {
            play.mkdir(folder).expect("mkdir");
            let first = name(folder, 0, len);
            fs::vfs::fput(play.create(&first).expect("create"));
            let inode = play.lookup(&first).expect("lookup");
            for n in 1..names {
                play.link(&inode, &name(folder, n, len)).expect("link");
            }
        }
    });
    Base::new(image, |disk| assert_eq!(go_over(disk, 3), 3, "undamaged directories are gone over"))
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

/// Goes over one folder, or with 3 over all; how many had no error.
fn go_over(disk: Arc<Overlay>, which: usize) -> usize {
    let Ok(play) = Play::mount(disk, false) else { return 0 };
    let mut good = 0;
    for (at, (folder, names, len)) in FOLDERS.iter().enumerate() {
        if which == at || which == 3 {
            good += usize::from(use_folder(&play, folder, *names, *len));
        }
    }
    if play.unmount().is_ok() { good } else { 0 }
}

fn use_folder(play: &Play, folder: &str, names: usize, len: usize) -> bool {
    let listed = play.list(folder).is_ok_and(|found| found.len() == names);
    let mut found = true;
    for n in (0..names).step_by(1 + names / 6) {
        found &= play.lookup(&name(folder, n, len)).map(iput).is_ok();
    }
    found &= play.lookup(&name(folder, names, len)).is_err();
    let mut changed = true;
    if let Ok(inode) = play.lookup(&name(folder, 1, len)) {
        // Enough for a leaf to split.
        for n in names..names + 8 {
            changed &= play.link(&inode, &name(folder, n, len)).is_ok();
        }
        iput(inode);
    }
    for n in (1..names).step_by(1 + names / 5) {
        changed &= play.unlink(&name(folder, n, len)).is_ok();
    }
    changed &= play.rename(&name(folder, 0, len), &name(folder, names + 9, len)).is_ok();
    changed &= play.mkdir(&format!("{folder}/d")).is_ok() && play.rmdir(&format!("{folder}/d")).is_ok();
    listed && found && changed
}
