//! One test for each row of FLAG-5.
use super::*;
use crate::vfs::{FileOps, OpenFlags};
use base::sync::Arc;

struct Ops(FileFeatures);
impl FileOps for Ops {
    fn features(&self) -> FileFeatures {
        self.0
    }
}

const WT: u32 = 0x200;

fn file(open: OpenFlags, features: FileFeatures) -> Arc<File> {
    File::new(None, open, Arc::new(Ops(features)))
}
fn disk(open: OpenFlags) -> Arc<File> {
    file(
        open,
        FileFeatures::WRITETHROUGH | FileFeatures::DIRECT | FileFeatures::NOWAIT_THROUGH | FileFeatures::NOWAIT_READ,
    )
}
fn write(open: OpenFlags, rwf: u32) -> Result<IoFlags> {
    request_flags(&disk(open), rwf, Request::Write)
}

#[test]
fn an_unknown_bit_is_refused_first() {
    assert_eq!(write(OpenFlags::RDWR, 0x400), Err(Errno::EOPNOTSUPP));
    assert_eq!(write(OpenFlags::RDWR, 0x8000_0000 | 0x30), Err(Errno::EOPNOTSUPP));
}
#[test]
fn append_with_noappend() {
    assert_eq!(write(OpenFlags::RDWR, 0x30), Err(Errno::EINVAL));
}
#[test]
fn write_through_on_a_read() {
    assert_eq!(request_flags(&disk(OpenFlags::RDWR), WT, Request::Read), Err(Errno::EOPNOTSUPP));
    assert_eq!(request_flags(&disk(OpenFlags::RDWR), WT, Request::AioRead), Err(Errno::EOPNOTSUPP));
}
#[test]
fn write_through_without_support() {
    let plain = file(OpenFlags::RDWR, FileFeatures::empty());
    assert_eq!(request_flags(&plain, WT, Request::Write), Err(Errno::EOPNOTSUPP));
}
#[test]
fn not_open_for_writing() {
    assert_eq!(write(OpenFlags::empty(), WT), Err(Errno::EBADF));
    assert_eq!(write(OpenFlags::empty(), 0), Err(Errno::EBADF));
    assert_eq!(request_flags(&disk(OpenFlags::WRONLY), 0, Request::Read), Err(Errno::EBADF));
}
#[test]
fn write_through_on_a_direct_file_is_accepted() {
    let flags = write(OpenFlags::RDWR | OpenFlags::DIRECT, WT).unwrap();
    assert!(flags.contains(IoFlags::DIRECT | IoFlags::WRITETHROUGH));
}
#[test]
fn write_through_with_nowait() {
    assert_eq!(write(OpenFlags::RDWR, WT | 0x8), Ok(IoFlags::WRITETHROUGH | IoFlags::NOWAIT));
    assert_eq!(write(OpenFlags::RDWR, WT | 0xa), Ok(IoFlags::WRITETHROUGH | IoFlags::NOWAIT | IoFlags::DSYNC));
    assert_eq!(write(OpenFlags::RDWR | OpenFlags::DIRECT, WT | 0x8), Err(Errno::EOPNOTSUPP));
    assert_eq!(write(OpenFlags::RDWR, WT | 0x48), Err(Errno::EOPNOTSUPP), "ATOMIC");
    let waits = file(OpenFlags::RDWR, FileFeatures::WRITETHROUGH | FileFeatures::NOWAIT_WRITE);
    assert_eq!(request_flags(&waits, WT | 0x8, Request::Write), Err(Errno::EOPNOTSUPP));
}
#[test]
fn write_through_with_dontcache() {
    assert_eq!(write(OpenFlags::RDWR, WT | 0x80), Ok(IoFlags::WRITETHROUGH | IoFlags::DONTCACHE));
    assert_eq!(write(OpenFlags::RDWR, 0x80), Err(Errno::EOPNOTSUPP), "only with write-through");
}
#[test]
fn write_through_with_atomic() {
    assert_eq!(write(OpenFlags::RDWR, WT | 0x40), Err(Errno::EOPNOTSUPP));
}
#[test]
fn write_through_with_integrity_flags() {
    assert_eq!(write(OpenFlags::RDWR, WT | 0x2), Ok(IoFlags::WRITETHROUGH | IoFlags::DSYNC));
    assert_eq!(write(OpenFlags::RDWR, WT | 0x4), Ok(IoFlags::WRITETHROUGH | IoFlags::DSYNC | IoFlags::SYNC));
    let o_sync = OpenFlags::DSYNC | OpenFlags::SYNC_BIT;
    assert_eq!(write(OpenFlags::RDWR | o_sync, WT), Ok(IoFlags::WRITETHROUGH | IoFlags::DSYNC | IoFlags::SYNC));
}
/// HIP-1.
#[test]
fn hipri_is_cleared() {
    assert_eq!(write(OpenFlags::RDWR, WT | 0x1), Ok(IoFlags::WRITETHROUGH));
}
#[test]
fn write_through_with_append_and_nosignal() {
    let all = IoFlags::WRITETHROUGH | IoFlags::APPEND | IoFlags::NOSIGNAL;
    assert_eq!(write(OpenFlags::RDWR, WT | 0x110), Ok(all));
}
#[test]
fn nowait_without_support() {
    assert_eq!(write(OpenFlags::RDWR, 0x8), Err(Errno::EOPNOTSUPP));
    assert_eq!(write(OpenFlags::RDWR, 0xa), Err(Errno::EOPNOTSUPP), "DSYNC does not make it a write-through");
    let direct = disk(OpenFlags::RDWR | OpenFlags::DIRECT);
    let plain = file(OpenFlags::RDWR, FileFeatures::empty());
    for file in [direct, plain] {
        assert_eq!(request_flags(&file, 0x8, Request::Read), Err(Errno::EOPNOTSUPP));
    }
}
#[test]
fn nowait_with_support() {
    assert_eq!(request_flags(&disk(OpenFlags::RDWR), 0x8, Request::Read), Ok(IoFlags::NOWAIT));
    assert_eq!(request_flags(&disk(OpenFlags::RDWR), 0x8, Request::AioRead), Ok(IoFlags::NOWAIT));
    let pipe = file(OpenFlags::RDWR, FileFeatures::NOWAIT_WRITE);
    assert_eq!(request_flags(&pipe, 0x8, Request::Write), Ok(IoFlags::NOWAIT));
    assert_eq!(request_flags(&pipe, 0x8, Request::Read), Err(Errno::EOPNOTSUPP));
}
#[test]
fn noappend_overrides_the_open_flag() {
    assert_eq!(write(OpenFlags::RDWR | OpenFlags::APPEND, 0), Ok(IoFlags::APPEND));
    assert_eq!(write(OpenFlags::RDWR | OpenFlags::APPEND, 0x20), Ok(IoFlags::empty()));
}
#[test]
fn r36_flags_are_sampled_once() {
    let file = disk(OpenFlags::RDWR);
    let before = request_flags(&file, 0, Request::Write).unwrap();
    file.set_flags(OpenFlags::DIRECT | OpenFlags::TRUNC);
    assert!(!before.contains(IoFlags::DIRECT));
    assert_eq!(request_flags(&file, 0, Request::Write), Ok(IoFlags::DIRECT));
    assert!(!file.flags().contains(OpenFlags::TRUNC), "F_SETFL changes only what it may");
}
#[test]
fn flag_8_routes_durable_aio_through() {
    let o_dsync = disk(OpenFlags::RDWR | OpenFlags::DSYNC);
    let through = IoFlags::WRITETHROUGH | IoFlags::DSYNC;
    assert_eq!(request_flags(&o_dsync, 0, Request::AioWrite), Ok(through));
    assert_eq!(request_flags(&o_dsync, 0, Request::Write), Ok(IoFlags::DSYNC));
    let plain = file(OpenFlags::RDWR | OpenFlags::DSYNC, FileFeatures::empty());
    assert_eq!(request_flags(&plain, 0, Request::AioWrite), Ok(IoFlags::DSYNC));
    let direct = disk(OpenFlags::RDWR | OpenFlags::DSYNC | OpenFlags::DIRECT);
    assert_eq!(request_flags(&direct, 0, Request::AioWrite), Ok(IoFlags::DSYNC | IoFlags::DIRECT));
}
