//! What happens when the device refuses metadata or a flush (DUR-9, SHD-2, CHK-5).
mod common;
use base::Errno;
use base::block::{BioOp, BlockDevice, Filter, Gate};
use common::{FileDisk, Image};
use fs::caller::KernelCaller;
use fs::ext4::{self, MountOptions};
use fs::io::SliceSource;
use fs::vfs::{self, File, OpenFlags, Site, SuperBlock, SyncKind, Vfs};
use std::sync::Arc;

const WRITETHROUGH: u32 = 0x200;

struct Stage {
    image: Image,
    gate: Arc<Gate>,
    sb: Arc<SuperBlock>,
    vfs: Arc<Vfs>,
}

impl Stage {
    fn new() -> Stage {
        let image = Image::make("16M", 4096, &[]);
        let gate = Gate::new(FileDisk::open(&image.path));
        let device: Arc<dyn BlockDevice> = gate.clone();
        let sb = ext4::mount(device, 1, MountOptions::default()).expect("the image mounts");
        let root = ext4::iget(&sb, ext4::ROOT_INO).expect("a root");
        let vfs = Vfs::new(root, b"/dev/file", None).expect("a directory");
        Stage { image, gate, sb, vfs }
    }

    fn create(&self, name: &str) -> base::Result<Arc<File>> {
        let root = self.vfs.root();
        let site = Site { cwd: &root, caller: &KernelCaller };
        self.vfs.open(site, name.as_bytes(), OpenFlags::RDWR | OpenFlags::CREAT, 0o644)
    }

    fn write(&self, file: &Arc<File>, pos: u64) -> base::Result<usize> {
        vfs::write_at(file, pos, WRITETHROUGH, &mut SliceSource::new(&[7; 4096]), &KernelCaller)
    }

    fn has_error_state(&self) -> bool {
        // `debugfs` would not open what a failed write left half done: bit 1 of `s_state`.
        let bytes = std::fs::read(&self.image.path).expect("the image");
        bytes[1024 + 0x3a] & 2 != 0
    }
}

/// Fails the first request of kind `op` in an fsync whose data is on the device already.
fn a_failed_fsync_ends_all_changes(op: BioOp) {
    let stage = Stage::new();
    let file = stage.create("f").expect("the file opens");
    assert_eq!(stage.write(&file, 0), Ok(4096));
    stage.gate.fail(Filter::any().op(op).times(1), Errno::EIO);
    let fsync = || file.ops().fsync(&file, SyncKind::All);
    assert_eq!(fsync(), Err(Errno::EIO));
    assert!(stage.sb.is_read_only());
    assert!(stage.has_error_state(), "the superblock tells of the error at once");

    assert_eq!(stage.write(&file, 4096), Err(Errno::EROFS));
    assert_eq!(fsync(), Err(Errno::EIO), "what was not durable then does not become it silently");
    assert_eq!(stage.create("g").err(), Some(Errno::EROFS));
    vfs::fput(file);
    let _ = stage.vfs.unmount_all();
    assert!(stage.has_error_state());
}

#[test]
fn dur9_a_failed_metadata_write_makes_the_file_system_read_only() {
    a_failed_fsync_ends_all_changes(BioOp::Write);
}

#[test]
fn dur9_a_failed_flush_makes_the_file_system_read_only() {
    a_failed_fsync_ends_all_changes(BioOp::Flush);
}

#[test]
fn dur9_a_device_that_refuses_everything_gives_errors_only() {
    let stage = Stage::new();
    let file = stage.create("f").expect("the file opens");
    assert_eq!(stage.write(&file, 0), Ok(4096));
    stage.gate.fail(Filter::any().op(BioOp::Write), Errno::EIO);
    assert_eq!(file.ops().fsync(&file, SyncKind::All), Err(Errno::EIO));
    assert_eq!(stage.sb.ops().sync(), Err(Errno::EIO));
    assert_eq!(stage.write(&file, 4096), Err(Errno::EROFS));
    vfs::fput(file);
    assert_eq!(stage.vfs.unmount_all(), Err(Errno::EIO));
}

#[test]
fn a_read_of_damaged_metadata_makes_the_file_system_read_only() {
    let stage = Stage::new();
    let handed_on = ext4::Ext4Fs::of(&stage.sb).corrupt("test block", 7);
    assert_eq!(handed_on, Errno::EUCLEAN);
    assert_eq!(stage.create("f").err(), Some(Errno::EROFS));
    stage.vfs.unmount_all().expect("unmount");
    assert!(stage.has_error_state());
}
