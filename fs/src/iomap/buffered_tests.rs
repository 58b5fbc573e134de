//! Tests of buffered I/O on a file system in memory: the rules of A16, and a random walk against a model of bytes.
use super::*;
use crate::io::IoSource;
use crate::kiocb::{IoFlags, Kiocb};
use crate::page_cache::{CacheFigures, Tag};
use crate::testing::MemFile;
use base::block::{BioOp, Filter, Gate, RamDisk};
use base::lab::stop_at;
use base::sync::Arc;
use base::{Errno, Page, Result};
use std::vec;
use std::vec::Vec;

fn gated(block_size: u32, pages: usize) -> (MemFile, Arc<Gate>) {
    let disk = RamDisk::new(32 * 1024);
    let gate = Gate::new(disk.clone());
    (MemFile::on(disk, gate.clone(), block_size, pages), gate)
}

/// A file of `len` bytes of `byte`, MAPPED, uncached.
fn written(f: &MemFile, byte: u8, len: usize) {
    f.write(0, &vec![byte; len]).unwrap();
    f.fsync().unwrap();
    f.drop_caches();
    assert_eq!(f.inode.mapping.nr_pages(), 0);
}

/// Runs `work` on a task of its own, in the scope of this one.
fn task(f: &Arc<MemFile>, work: impl FnOnce(&MemFile) + Send + 'static) -> base::sched::Task {
    let f = f.clone();
    base::sched::spawn("rival", std::boxed::Box::new(move || work(&f))).unwrap()
}

fn reads(gate: &Gate) -> Vec<u64> {
    gate.log().iter().filter(|r| r.op == BioOp::Read).map(|r| r.len_bytes).collect()
}
fn writes(gate: &Gate) -> Vec<u64> {
    gate.log().iter().filter(|r| r.op == BioOp::Write).map(|r| r.len_bytes).collect()
}

#[test]
fn written_bytes_are_read_back_from_cache_and_disk() {
    for bs in [512, 1024, 2048, 4096] {
        let f = MemFile::new(bs, 64);
        f.write(5000, b"hello").unwrap();
        assert_eq!(f.inode.size(), 5005);
        assert_eq!(f.read(4998, 100).unwrap(), b"\0\0hello");
        f.fsync().unwrap();
        assert_eq!(f.fs.disk_size(), 5005);
        assert!(f.drop_caches() > 0);
        assert_eq!(f.read(0, 10_000).unwrap(), [&[0; 5000][..], b"hello"].concat());
        assert_eq!(f.fs.block_at(0), None, "the gap stays a hole (EOF-3)");
    }
}

#[test]
fn old_disk_bytes_never_show() {
    for bs in [1024, 4096] {
        let f = MemFile::new(bs, 64);
        f.fill_disk(b'S');
        f.write(10, b"x").unwrap();
        f.fsync().unwrap();
        f.drop_caches();
        f.truncate(20_000).unwrap();
        let mut want = vec![0; 20_000];
        want[10] = b'x';
        assert_eq!(f.read(0, 30_000).unwrap(), want);
        let disk = f.on_disk(0, bs as usize);
        assert!(disk.iter().enumerate().all(|(i, b)| *b == if i == 10 { b'x' } else { 0 }), "EOF-2");
    }
}

#[test]
fn a_dirty_run_goes_out_in_large_bios_and_comes_back_in_one() {
    let (f, gate) = gated(4096, 1024);
    f.write(0, &vec![1; 512 * 1024]).unwrap();
    // Held, so that no conversion moves the extent sequence meanwhile, which would end a bio early.
    gate.hold_completions(Filter::any().op(BioOp::Write));
    write_range(&f.inode, 0..u64::MAX, true).unwrap();
    gate.wait_held(2);
    assert_eq!(writes(&gate), [256 * 1024; 2], "split by the device's limits only");
    gate.open();
    f.fsync().unwrap();
    f.drop_caches();
    assert_eq!(f.read(0, 128 * 1024).unwrap(), vec![1; 128 * 1024]);
    assert_eq!(reads(&gate)[0], 128 * 1024);
}

#[test]
fn a_sequential_reader_finds_its_window_read_ahead() {
    let (f, gate) = gated(4096, 1024);
    written(&f, 7, 400 * 1024);
    for page in 0..100 {
        assert_eq!(f.read(page * 4096, 4096).unwrap(), vec![7; 4096]);
    }
    f.fs.settle();
    assert!(reads(&gate).len() < 20, "windows grow: {:?}", reads(&gate));
}

#[test]
fn buf2_only_missing_blocks_are_read() {
    let (f, gate) = gated(1024, 64);
    written(&f, b'o', 4096);
    f.write(1024, &[b'n'; 1024]).unwrap();
    assert_eq!(reads(&gate).len(), 0, "a whole block is not read before it is overwritten (ALN-4)");
    let want = [vec![b'o'; 1024], vec![b'n'; 1024], vec![b'o'; 2048]].concat();
    assert_eq!(f.read(0, 4096).unwrap(), want);
    assert_eq!(reads(&gate).iter().sum::<u64>(), 3072);
    f.write(2100, b"m").unwrap();
    assert_eq!(reads(&gate).iter().sum::<u64>(), 3072, "and what is there is not read again");
}

#[test]
fn r14_read_in_flight_does_not_overwrite_a_later_write() {
    let (f, gate) = gated(1024, 64);
    written(&f, b'o', 4096);
    gate.hold(Filter::any().op(BioOp::Read));
    std::thread::scope(|s| {
        let reader = s.spawn(|| f.read(1024, 1024));
        gate.wait_held(1);
        let writer = s.spawn(|| f.write(0, &[b'n'; 1024]));
        gate.open();
        assert_eq!(reader.join().unwrap().unwrap(), vec![b'o'; 1024]);
        writer.join().unwrap().unwrap();
    });
    assert_eq!(f.read(0, 1024).unwrap(), vec![b'n'; 1024]);
    f.fsync().unwrap();
    assert_eq!(f.on_disk(0, 2048), [[b'n'; 1024], [b'o'; 1024]].concat());
}

#[test]
fn r16_stale_mapping_does_not_zero_converted_data() {
    let f = MemFile::new(4096, 64);
    f.fs.allocate(0, 4096);
    f.inode.set_size(4096);
    let f = Arc::new(f);
    let stop = stop_at("bw.after_map").id(1).arm();
    let late = task(&f, |f| {
        let mut kiocb = Kiocb::sync(&f.file, 100, IoFlags::empty(), &crate::caller::KernelCaller);
        let n = buffered_write(&f.inode, &mut kiocb, &mut crate::io::SliceSource::new(&[b'w'; 10]));
        assert_eq!(n, Ok(10));
    });
    stop.wait_reached();
    // What another writer's write-through would do meanwhile: data on the device, block converted, cache dropped.
    let block = f.fs.block_at(0).unwrap();
    f.disk.poke(block.physical * 4096, &[b'n'; 4096]);
    f.fs.finish_write(&f.inode, 0, 4096).unwrap();
    f.drop_caches();
    stop.release();
    late.join();
    let mut want = vec![b'n'; 4096];
    want[100..110].fill(b'w');
    assert_eq!(f.read(0, 4096).unwrap(), want);
}

#[test]
fn r17_readahead_over_a_later_write() {
    let f = MemFile::new(4096, 64);
    f.truncate(65_536).unwrap();
    let f = Arc::new(f);
    let stop = stop_at("read.after_map").id(1).arm();
    let reader = task(&f, |f| assert_eq!(f.read(0, 65_536).unwrap().len(), 65_536));
    stop.wait_reached();
    f.write(32_768, &[b'n'; 4096]).unwrap();
    f.fsync().unwrap();
    f.drop_caches();
    stop.release();
    reader.join();
    assert_eq!(f.read(32_768, 4096).unwrap(), vec![b'n'; 4096]);
}

#[test]
fn r12_reclaim_before_convert_in_ordinary_writeback() {
    let (f, gate) = gated(4096, 64);
    f.write(0, &[b'n'; 4096]).unwrap();
    gate.hold_completions(Filter::any().op(BioOp::Write));
    write_range(&f.inode, 0..u64::MAX, false).unwrap();
    gate.wait_held(1);
    assert_eq!(f.inode.sb.page_cache.drop_caches(), 0, "BUF-7: the folio is neither clean nor to be dropped");
    assert_eq!(f.read(0, 4096).unwrap(), vec![b'n'; 4096], "STB-6: a reader does not wait");
    gate.open();
    wait_range(&f.inode.mapping, 0..u64::MAX, f.inode.mapping.stamp());
    f.drop_caches();
    assert_eq!(f.read(0, 4096).unwrap(), vec![b'n'; 4096]);
}

#[test]
fn buf5_background_skips_and_integrity_waits() {
    let (f, gate) = gated(1024, 64);
    f.write(0, &[1; 1024]).unwrap();
    gate.hold(Filter::any().op(BioOp::Write).times(1));
    write_range(&f.inode, 0..u64::MAX, false).unwrap();
    gate.wait_held(1);
    f.write(1024, &[2; 1024]).unwrap();
    write_range(&f.inode, 0..u64::MAX, false).unwrap();
    assert_eq!(writes(&gate).len(), 1, "FS-7: skipped, without a wait");
    let f = Arc::new(f);
    let waiting = stop_at("folio.wait_writeback").id(0).arm();
    let fsync = task(&f, |f| f.fsync().unwrap());
    waiting.wait_reached();
    waiting.release();
    assert!(!fsync.has_exited());
    assert_eq!(writes(&gate).len(), 1, "BUF-6: one write of the folio at a time");
    gate.open();
    fsync.join();
    assert_eq!(f.on_disk(0, 2048), [[1; 1024], [2; 1024]].concat());
}

#[test]
fn syn2_fsync_does_not_wait_for_later_write_through() {
    let f = MemFile::new(4096, 64);
    f.write(0, &[1; 8192]).unwrap();
    f.fsync().unwrap();
    let mapping = &f.inode.mapping;
    let early = mapping.find_or_create(0).unwrap();
    early.begin_writeback(0, 4096, true);
    let early = early.into_locked().folio().clone();
    let stamp = mapping.stamp();
    let late = mapping.find_or_create(1).unwrap();
    late.begin_writeback(0, 4096, true);
    let late = late.into_locked().folio().clone();
    std::thread::scope(|s| {
        let waiter = s.spawn(|| wait_range(mapping, 0..u64::MAX, stamp));
        mapping.end_writeback(&early, 4096);
        waiter.join().unwrap();
    });
    assert!(late.state().writeback());
    mapping.end_writeback(&late, 4096);
}

#[test]
fn err4_a_failed_writeback_is_reported_once_and_not_retried_for_ever() {
    let f = MemFile::new(4096, 64);
    f.write(0, &[1; 4096]).unwrap();
    f.disk.fail_nth(Some(BioOp::Write), 1, Errno::EIO);
    assert_eq!(f.fsync(), Err(Errno::EIO));
    assert_eq!(f.fsync(), Ok(()));
    assert_eq!(f.inode.mapping.nr_dirty(), 0);
    assert!(!f.fs.block_at(0).unwrap().written, "ERR-7: nothing is converted");
    assert_eq!(f.fs.disk_size(), 0);
}

#[test]
fn a_failed_read_is_an_error_and_not_zeros() {
    let f = MemFile::new(4096, 64);
    written(&f, 3, 4096);
    f.disk.fail_nth(Some(BioOp::Read), 1, Errno::EIO);
    f.disk.fail_nth(Some(BioOp::Read), 2, Errno::EIO);
    assert_eq!(f.read(0, 10), Err(Errno::EIO));
    assert_eq!(f.read(0, 10).unwrap(), vec![3; 10]);
}

#[test]
fn enospc_midway_is_a_short_count() {
    let f = MemFile::new(4096, 8192);
    let n = f.write(0, &vec![1; 17 << 20]).unwrap();
    assert_eq!(n, (4096 - 1) * 4096);
    assert_eq!(f.inode.size(), n as u64);
    assert_eq!(f.write(n as u64, &[1]), Err(Errno::ENOSPC));
    assert_eq!(f.inode.size(), n as u64);
    assert_eq!(f.inode.mapping.nr_pages(), n / 4096, "ERR-10: no folio past the end is left");
}

#[test]
fn size7_disk_size_follows_what_was_written() {
    let (f, gate) = gated(4096, 64);
    f.write(0, &[1; 100]).unwrap();
    gate.hold(Filter::any().op(BioOp::Write));
    write_range(&f.inode, 0..u64::MAX, false).unwrap();
    gate.wait_held(1);
    f.write(100, &[2; 100]).unwrap();
    gate.open();
    wait_range(&f.inode.mapping, 0..u64::MAX, f.inode.mapping.stamp());
    assert_eq!(f.fs.disk_size(), 100);
    f.fsync().unwrap();
    assert_eq!(f.fs.disk_size(), 200);
}

#[test]
fn a_folio_over_many_extents_is_written_without_waiting_for_itself() {
    let f = MemFile::new(512, 64);
    f.fs.limit_extents(1);
    f.write(0, &[9; 12 * 1024]).unwrap();
    f.fsync().unwrap();
    f.drop_caches();
    assert_eq!(f.read(0, 12 * 1024).unwrap(), vec![9; 12 * 1024]);
    assert_eq!(f.inode.sb.page_cache.figures().writeback, 0);
}

#[test]
fn dirty_limits_keep_a_writer_back_and_the_flusher_lets_it_go_on() {
    let f = MemFile::new(4096, 64);
    let cache = f.inode.sb.page_cache.clone();
    let limits = cache.limits();
    std::thread::scope(|s| {
        s.spawn(|| run_flusher(&cache));
        for i in 0..300 {
            f.write(i * 4096, &[i as u8; 4096]).unwrap();
            let CacheFigures { dirty, .. } = cache.figures();
            assert!(dirty <= limits.dirty + 1, "{dirty} dirty folios");
        }
        cache.stop_flusher();
    });
    f.fsync().unwrap();
    f.drop_caches();
    for i in 0..300 {
        assert_eq!(f.read(i * 4096, 4096).unwrap(), vec![i as u8; 4096]);
    }
}

/// A source whose bytes cannot be copied the first time: each copy ends short after `most` bytes until faulted in.
struct Faulting<'a> {
    inner: crate::io::SliceSource<'a>,
    resident: usize,
    readable: usize,
}

impl IoSource for Faulting<'_> {
    fn remaining(&self) -> usize {
        self.inner.remaining()
    }
    fn fault_in(&mut self, len: usize) -> usize {
        self.resident = len.min(self.readable).min(700);
        // Says more than the copy will find: what was faulted in may be gone again.
        len.min(self.readable)
    }
    fn resident(&self, len: usize) -> usize {
        len.min(self.resident)
    }
    fn copy_to_page(&mut self, page: &Page, offset: usize, len: usize) -> usize {
        let n = self.inner.copy_to_page(page, offset, len.min(self.resident));
        self.resident -= n;
        self.readable -= n;
        n
    }
    fn copy_to_slice(&mut self, dst: &mut [u8]) -> usize {
        self.inner.copy_to_slice(dst)
    }
    fn revert(&mut self, len: usize) {
        self.readable += len;
        self.inner.revert(len);
    }
    fn pin(&mut self, _len: usize, _out: &mut crate::io::Pinned) -> Result<usize> {
        Err(Errno::EFAULT)
    }
    fn is_aligned(&self, _align: usize) -> bool {
        false
    }
}

#[test]
fn err2_short_copies_publish_nothing_invalid() {
    let f = MemFile::new(512, 64);
    f.fill_disk(b'S');
    let bytes: Vec<u8> = (0..10_000).map(|i| i as u8 | 1).collect();
    let mut source = Faulting { inner: crate::io::SliceSource::new(&bytes), resident: 0, readable: 8000 };
    let mut kiocb = Kiocb::sync(&f.file, 50, IoFlags::empty(), &crate::caller::KernelCaller);
    let n = buffered_write(&f.inode, &mut kiocb, &mut source).unwrap();
    assert_eq!(n, 8000, "bytes before the bad address are written");
    let want = [&[0; 50][..], &bytes[..8000]].concat();
    assert_eq!(f.read(0, 20_000).unwrap(), want);
    f.fsync().unwrap();
    f.drop_caches();
    assert_eq!(f.read(0, 20_000).unwrap(), want);
}

/// A source that calls a function in the middle of each copy.
struct Halfway<'a> {
    inner: crate::io::SliceSource<'a>,
    halfway: &'a mut dyn FnMut(),
}

impl IoSource for Halfway<'_> {
    fn remaining(&self) -> usize {
        self.inner.remaining()
    }
    fn fault_in(&mut self, len: usize) -> usize {
        self.inner.fault_in(len)
    }
    fn resident(&self, len: usize) -> usize {
        self.inner.resident(len)
    }
    fn copy_to_page(&mut self, page: &Page, offset: usize, len: usize) -> usize {
        let first = self.inner.copy_to_page(page, offset, len / 2);
        (self.halfway)();
        first + self.inner.copy_to_page(page, offset + first, len - first)
    }
    fn copy_to_slice(&mut self, dst: &mut [u8]) -> usize {
        self.inner.copy_to_slice(dst)
    }
    fn revert(&mut self, len: usize) {
        self.inner.revert(len);
    }
    fn pin(&mut self, _len: usize, _out: &mut crate::io::Pinned) -> Result<usize> {
        Err(Errno::EFAULT)
    }
    fn is_aligned(&self, _align: usize) -> bool {
        false
    }
}

/// BUF-1: a reader that comes in the middle of a copy sees the folio of one moment.
#[test]
fn buf1_a_reader_never_sees_half_a_copy() {
    let f = Arc::new(MemFile::new(4096, 64));
    f.write(0, &[b'o'; 4096]).unwrap();
    let seen = Arc::new(base::sync::SpinLock::new(Vec::new()));
    let torn = stop_at("read.torn").id(0).arm();
    let mut reader = None;
    let mut halfway = || {
        let seen = seen.clone();
        let task = task(&f, move |f| {
            let bytes = f.read(0, 4096).unwrap();
            *seen.lock() = bytes;
        });
        while !torn.is_reached() && !task.has_exited() {
            base::sched::yield_now();
        }
        reader = Some(task);
    };
    let bytes = [b'n'; 4096];
    let mut source = Halfway { inner: crate::io::SliceSource::new(&bytes), halfway: &mut halfway };
    let mut kiocb = Kiocb::sync(&f.file, 0, IoFlags::empty(), &crate::caller::KernelCaller);
    assert_eq!(buffered_write(&f.inode, &mut kiocb, &mut source), Ok(4096));
    torn.release();
    reader.expect("the copy had a middle").join();
    assert_eq!(*seen.lock(), bytes);
}

struct Random(u64);
impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}

/// A file against a model of its bytes through random writes, reads, truncates, syncs and losses of cache.
fn walk(bs: u32, pages: usize, extent_blocks: u64, seed: u64) {
    const SPAN: u64 = 96 * 1024;
    let f = MemFile::new(bs, pages);
    f.fill_disk(b'S');
    f.fs.limit_extents(extent_blocks);
    let mut random = Random(seed);
    let mut model: Vec<u8> = Vec::new();
    for step in 0..400 {
        let pos = random.below(SPAN);
        let len = (if random.below(4) == 0 { random.below(20_000) } else { random.below(3000) }) as usize + 1;
        match random.below(16) {
            0..7 => {
                let bytes: Vec<u8> = (0..len).map(|i| (step + i) as u8 | 1).collect();
                assert_eq!(f.write(pos, &bytes), Ok(len));
                let end = pos as usize + len;
                model.resize(model.len().max(end), 0);
                model[pos as usize..end].copy_from_slice(&bytes);
            }
            7..12 => {
                let start = (pos as usize).min(model.len());
                let want = &model[start..(pos as usize + len).min(model.len()).max(start)];
                assert_eq!(f.read(pos, len).unwrap(), want, "step {step}, {len} bytes at {pos}");
            }
            12 => {
                f.truncate(pos).unwrap();
                model.resize(pos as usize, 0);
            }
            13 => write_range(&f.inode, pos..pos + len as u64, false).unwrap(),
            14 => {
                f.fsync().unwrap();
                assert_eq!(f.on_disk(0, model.len()), model, "step {step}");
                assert_eq!(f.fs.disk_size(), model.len() as u64);
            }
            _ => drop(f.drop_caches()),
        }
        assert_eq!(f.inode.size(), model.len() as u64);
    }
    f.fsync().unwrap();
    f.drop_caches();
    assert_eq!(f.inode.mapping.nr_pages(), 0, "everything is clean and can go");
    assert_eq!(f.read(0, SPAN as usize * 2).unwrap(), model);
    assert!(f.inode.mapping.next_tagged(0..u64::MAX, Tag::Dirty).is_none());
    assert_eq!(f.inode.sb.page_cache.figures().dirty, 0);
}

#[test]
fn random_walk_4k_blocks() {
    walk(4096, 64, u64::MAX, 0x1234_5678_9abc_def1);
    walk(4096, 8, 2, 77);
}

#[test]
fn random_walk_1k_blocks() {
    walk(1024, 64, u64::MAX, 4242);
    walk(1024, 8, 3, 987_654_321);
}

#[test]
fn random_walk_small_blocks_of_one_block_extents() {
    walk(512, 16, 1, 31_337);
    walk(2048, 16, 1, 99);
}
