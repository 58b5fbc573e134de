//! Replay of a log: several transactions, with revoked blocks and a copy that begins with the magic number.
use super::disk::Overlay;
use super::image::{Base, fresh};
use super::input::Input;
use super::play::{self, Play};
use std::sync::{Arc, OnceLock};

fn bases() -> &'static [Base; 2] {
    static BASES: OnceLock<[Base; 2]> = OnceLock::new();
    BASES.get_or_init(|| [base("^metadata_csum"), base("metadata_csum")])
}

/// What a power cut leaves after some commits.
fn base(feature: &str) -> Base {
    let disk = Overlay::new(fresh(2560, &["-O", feature, "-J", "size=1"]).into(), false);
    let play = Play::mount(disk.clone(), false).expect("an undamaged image mounts");
    for round in 0..6 {
        let (dir, name) = (format!("d{round}"), format!("f{round}"));
        play.mkdir(&dir).expect("mkdir");
        let file = play.create(&name).expect("create");
        for piece in 0..6 {
            play::write(&file, piece * 4096, b"piece").expect("write");
        }
        play::fsync(&file).expect("fsync");
        fs::vfs::fput(file);
        if round % 2 == 1 {
            // Freed metadata blocks that have a copy in the log are revoked.
            play.rmdir(&dir).expect("rmdir");
            play.unlink(&format!("f{}", round - 1)).expect("unlink");
        }
        play.sync().expect("sync");
    }
    let image = disk.contents();
    let _ = play.unmount();
    Base::new(image, |disk| assert!(go_over(disk, false), "an undamaged log is replayed"))
}

/// See [`super::Target`].
pub fn places() -> Vec<usize> {
    bases().iter().map(Base::places).collect()
}

/// See [`super::Target`].
pub fn run(data: &[u8]) {
    let input = Input::parse(data);
    let disk = bases()[usize::from(input.choices & 1)].damaged(&input);
    go_over(disk, input.choices & 14 == 14);
}

/// Mounts, looks, commits something, unmounts; whether all went well.
fn go_over(disk: Arc<Overlay>, read_only: bool) -> bool {
    let Ok(play) = Play::mount(disk, read_only) else { return false };
    let listed = play.list(".").is_ok_and(|names| names.len() == 7);
    let changed = play.mkdir("after").and_then(|()| play.sync());
    play.unmount().is_ok() && listed && changed.is_ok()
}
