//! The gauges rise with what they count and come back to zero (CTX-9). A process of its own, because they are global.
mod common;
use base::block::{BioOp, BlockDevice, Filter, Gate};
use base::stats::{Gauge, level};
use common::{FileDisk, Image};
use fs::caller::KernelCaller;
use fs::ext4::{self, MountOptions};
use fs::io::SliceSource;
use fs::vfs::{self, OpenFlags, Site, Vfs};
use std::sync::Arc;

const WRITETHROUGH: u32 = 0x200;

#[test]
fn a_write_through_is_seen_in_the_gauges_while_its_io_runs() {
    let image = Image::make("16M", 4096, &[]);
    let gate = Gate::new(FileDisk::open(&image.path));
    let device: Arc<dyn BlockDevice> = gate.clone();
    let sb = ext4::mount(device, 1, MountOptions::default()).expect("the image mounts");
    let vfs = Vfs::new(ext4::iget(&sb, ext4::ROOT_INO).expect("a root"), b"/dev/file", None).expect("a directory");
    let root = vfs.root();
    let site = Site { cwd: &root, caller: &KernelCaller };
    let file = vfs.open(site, b"f", OpenFlags::RDWR | OpenFlags::CREAT, 0o644).expect("the file opens");

    gate.hold(Filter::any().op(BioOp::Write).nth(1));
    let writing = file.clone();
    let write = move || {
        let mut source = SliceSource::new(&[7; 8192]);
        let done = vfs::write_at(&writing, 0, WRITETHROUGH, &mut source, &KernelCaller);
        assert_eq!(done, Ok(8192));
    };
    let writer = base::sched::spawn("writer", Box::new(write)).expect("a task");
    gate.wait_held(1);
    assert_eq!(level(Gauge::WtFolios), 2);
    assert_eq!(level(Gauge::FreezeHolders), 1);
    assert_eq!(level(Gauge::LiveContexts), 1);
    gate.open();
    writer.join();
    vfs::fput(file);
    sb.freeze().and_then(|()| sb.thaw()).expect("nothing holds the freeze protection");
    for gauge in [Gauge::WtFolios, Gauge::FreezeHolders, Gauge::LiveContexts, Gauge::DrainCounts, Gauge::RangeLocks] {
        assert_eq!(level(gauge), 0, "{gauge:?}");
    }
}
