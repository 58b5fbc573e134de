//! A disk in memory, for tests.
//!
//! It behaves as a disk with a volatile write cache at its worst: a request is not looked at before the kick; it is served by
//! a thread of the disk that plays the interrupt, never inside `submit`; and a completed write is durable only once a flush
//! that was submitted after its completion has completed (DUR-3). [`RamDisk::durable_image`] is what a power cut leaves.
use super::{BioOp, BlockDevice, Durability, Limits, SECTOR_SIZE, SubmittedBio, complete_as_interrupt};
use crate::errno::{Errno, Result};
use crate::sched;
use crate::sync::{Arc, IrqLock, SpinLock, WaitQueue};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// A disk in memory. Dropping it ends its thread; requests it still has end with `EIO`.
pub struct RamDisk(Arc<Shared>);

/// Describes a [`RamDisk`]; see [`RamDisk::builder`].
#[must_use = "`build` makes the disk"]
pub struct RamDiskBuilder {
    name: String,
    limits: Limits,
    durability: Durability,
    contents: Option<Vec<u8>>,
}

impl RamDiskBuilder {
    /// The name; `ram0` by default.
    pub fn name(self, name: &str) -> Self {
        RamDiskBuilder { name: name.into(), ..self }
    }
    /// Changes the limits. By default 4 KiB blocks are not required, a bio has up to 64 segments and 256 KiB, and discard and
    /// write-zeroes are taken.
    pub fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }
    /// What a completed write promises; [`Durability::OnFlush`] by default. With [`Durability::OnCompletion`] it is durable.
    pub fn durability(self, durability: Durability) -> Self {
        RamDiskBuilder { durability, ..self }
    }
    /// The first bytes; zeros by default and behind them.
    pub fn contents(self, bytes: Vec<u8>) -> Self {
        RamDiskBuilder { contents: Some(bytes), ..self }
    }
    /// Makes the disk and starts its thread. Errors: `ENOMEM`.
    pub fn build(self) -> Result<Arc<RamDisk>> {
        let size = (self.limits.capacity_sectors * SECTOR_SIZE) as usize;
        let mut bytes = self.contents.unwrap_or_default();
        bytes.resize(size, 0);
        let volatile = self.durability != Durability::OnCompletion;
        let shared = Arc::new(Shared {
            name: self.name,
            limits: self.limits,
            durability: self.durability,
            queue: IrqLock::new(Queue::default()),
            work: WaitQueue::new(),
            disk: SpinLock::new(Disk { durable: volatile.then(|| bytes.clone()), bytes, cached: Vec::new() }),
            failures: SpinLock::new(Vec::new()),
        });
        let server = shared.clone();
        sched::spawn(&shared.name, Box::new(move || server.serve()))?;
        Ok(Arc::new(RamDisk(shared)))
    }
}

impl RamDisk {
    /// A disk of `capacity_sectors` sectors of 512 bytes, to be described further.
    pub fn builder(capacity_sectors: u64) -> RamDiskBuilder {
        RamDiskBuilder {
            name: "ram0".into(),
            limits: Limits {
                capacity_sectors,
                logical_block_size: 512,
                max_segments: 64,
                max_bytes: 256 * 1024,
                read_only: false,
                discard: true,
                write_zeroes: true,
            },
            durability: Durability::OnFlush,
            contents: None,
        }
    }
    /// A disk of zeros with the usual limits.
    pub fn new(capacity_sectors: u64) -> Arc<RamDisk> {
        RamDisk::builder(capacity_sectors).build().expect("a test has memory for its disk")
    }
    /// The `n`-th request of kind `op` from now (from 1; `None`: of any kind) ends with `status` and changes nothing.
    pub fn fail_nth(&self, op: Option<BioOp>, n: u64, status: Errno) {
        self.0.failures.lock().push(Failure { op, left: n.max(1), status });
    }
    /// What a read finds now.
    pub fn image(&self) -> Vec<u8> {
        self.0.disk.lock().bytes.clone()
    }
    /// What a power cut now leaves if everything is lost that may be.
    pub fn durable_image(&self) -> Vec<u8> {
        let disk = self.0.disk.lock();
        disk.durable.as_ref().unwrap_or(&disk.bytes).clone()
    }
    /// Copies bytes out, past all queues.
    pub fn peek(&self, offset: u64, len: usize) -> Vec<u8> {
        self.0.disk.lock().bytes[offset as usize..][..len].to_vec()
    }
    /// Changes bytes, durably and past all queues: a disk that decays.
    pub fn poke(&self, offset: u64, bytes: &[u8]) {
        let mut disk = self.0.disk.lock();
        disk.bytes[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        if let Some(durable) = &mut disk.durable {
            durable[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        }
    }
}

impl Drop for RamDisk {
    fn drop(&mut self) {
        self.0.queue.lock().closed = true;
        self.0.work.wake_all();
    }
}

impl BlockDevice for RamDisk {
    fn name(&self) -> &str {
        &self.0.name
    }
    fn limits(&self) -> Limits {
        self.0.limits
    }
    fn durability(&self) -> Durability {
        self.0.durability
    }
    fn submit(&self, bio: SubmittedBio) {
        self.0.check(&bio);
        let mut queue = self.0.queue.lock();
        let at = queue.clock;
        queue.submitted.push_back((at, bio));
    }
    fn kick(&self) {
        let mut queue = self.0.queue.lock();
        let Queue { submitted, kicked, .. } = &mut *queue;
        kicked.append(submitted);
        drop(queue);
        self.0.work.wake_all();
    }
}

#[derive(Default)]
struct Queue {
    /// Each with the disk's clock at its submission.
    submitted: VecDeque<(u64, SubmittedBio)>,
    kicked: VecDeque<(u64, SubmittedBio)>,
    /// Number of completions.
    clock: u64,
    closed: bool,
}

struct Disk {
    bytes: Vec<u8>,
    /// Without the writes in `cached`; `None` if completion is durability.
    durable: Option<Vec<u8>>,
    /// Completed writes that no flush covers, in order.
    cached: Vec<Cached>,
}

struct Cached {
    completed_at: u64,
    offset: usize,
    bytes: Vec<u8>,
}

struct Failure {
    op: Option<BioOp>,
    left: u64,
    status: Errno,
}

struct Shared {
    name: String,
    limits: Limits,
    durability: Durability,
    queue: IrqLock<Queue>,
    work: WaitQueue,
    disk: SpinLock<Disk>,
    failures: SpinLock<Vec<Failure>>,
}

impl Shared {
    /// A submitter keeps to the limits; one that doesn't fails its test here. A place behind the end is the disk's to refuse.
    fn check(&self, bio: &SubmittedBio) {
        let block = u64::from(self.limits.logical_block_size);
        assert!(bio.segments().len() <= self.limits.max_segments as usize, "a bio has too many segments");
        assert!(bio.len_bytes().is_multiple_of(block), "a bio is not made of whole blocks");
        assert!(bio.sector().0.is_multiple_of(block / SECTOR_SIZE), "a bio doesn't begin at a block");
        if matches!(bio.op(), BioOp::Read | BioOp::Write) {
            assert!(bio.len_bytes() <= u64::from(self.limits.max_bytes), "a bio is too long");
            assert!(bio.len_bytes() > 0, "a bio moves nothing");
        }
    }

    /// The disk's thread.
    fn serve(&self) {
        loop {
            let mut next = None;
            let mut closed = false;
            self.work.wait_until(|| {
                let mut queue = self.queue.lock();
                closed = queue.closed;
                next = queue.kicked.pop_front().or_else(|| closed.then(|| queue.submitted.pop_front()).flatten());
                next.is_some() || closed
            });
            let Some((submitted_at, bio)) = next else { return };
            let completed_at = self.queue.lock().clock + 1;
            let status = if closed { Err(Errno::EIO) } else { self.transfer(&bio, submitted_at, completed_at) };
            self.queue.lock().clock = completed_at;
            complete_as_interrupt(bio, status);
        }
    }

    fn transfer(&self, bio: &SubmittedBio, submitted_at: u64, completed_at: u64) -> Result<()> {
        self.planned_failure(bio.op())?;
        if bio.end_sector().0 > self.limits.capacity_sectors {
            return Err(Errno::EIO);
        }
        if self.limits.read_only && !matches!(bio.op(), BioOp::Read | BioOp::Flush) {
            return Err(Errno::EIO);
        }
        let mut disk = self.disk.lock();
        let offset = (bio.sector().0 * SECTOR_SIZE) as usize;
        match bio.op() {
            BioOp::Read => disk.read(offset, bio),
            BioOp::Write => {
                let mut bytes = vec![0; bio.len_bytes() as usize];
                let mut at = 0;
                for s in bio.segments() {
                    s.page.read_into(s.offset as usize, &mut bytes[at..at + s.len as usize]);
                    at += s.len as usize;
                }
                disk.write(offset, bytes, completed_at);
            }
            BioOp::Discard | BioOp::WriteZeroes => {
                disk.write(offset, vec![0; bio.len_bytes() as usize], completed_at);
            }
            BioOp::Flush => disk.flush(submitted_at),
        }
        Ok(())
    }

    fn planned_failure(&self, op: BioOp) -> Result<()> {
        let mut failures = self.failures.lock();
        let mut status = Ok(());
        for failure in failures.iter_mut().filter(|f| f.op.is_none_or(|o| o == op)) {
            failure.left -= 1;
            if failure.left == 0 {
                status = Err(failure.status);
            }
        }
        failures.retain(|f| f.left > 0);
        status
    }
}

impl Disk {
    fn read(&self, offset: usize, bio: &SubmittedBio) {
        let mut at = offset;
        for s in bio.segments() {
            s.page.write_from(s.offset as usize, &self.bytes[at..at + s.len as usize]);
            at += s.len as usize;
        }
    }

    fn write(&mut self, offset: usize, bytes: Vec<u8>, completed_at: u64) {
        self.bytes[offset..offset + bytes.len()].copy_from_slice(&bytes);
        if self.durable.is_some() {
            self.cached.push(Cached { completed_at, offset, bytes });
        }
    }

    /// Covers the writes that had completed when the flush was submitted.
    fn flush(&mut self, submitted_at: u64) {
        let Some(durable) = &mut self.durable else { return };
        let covered = self.cached.iter().take_while(|c| c.completed_at <= submitted_at).count();
        for write in self.cached.drain(..covered) {
            durable[write.offset..write.offset + write.bytes.len()].copy_from_slice(&write.bytes);
        }
    }
}

#[cfg(all(test, not(loom), not(shuttle)))]
mod tests {
    use super::*;
    use crate::Page;
    use crate::block::{Bio, Plug, Sector, Segment, flush_and_wait, submit_and_wait};

    fn device(disk: &Arc<RamDisk>) -> Arc<dyn BlockDevice> {
        disk.clone()
    }
    fn write(disk: &Arc<RamDisk>, sector: u64, byte: u8) -> Result<()> {
        let page = Page::alloc_zeroed().unwrap();
        page.write_from(0, &[byte; 512]);
        let mut bio = Bio::for_wait(BioOp::Write, Sector(sector));
        bio.push(Segment { page, offset: 0, len: 512 });
        submit_and_wait(&device(disk), bio).map(drop)
    }

    #[test]
    fn a_write_is_read_back() {
        let disk = RamDisk::new(16);
        write(&disk, 3, 0xab).unwrap();
        let mut bio = Bio::for_wait(BioOp::Read, Sector(2));
        let page = Page::alloc_zeroed().unwrap();
        bio.push(Segment { page: page.clone(), offset: 0, len: 1024 });
        submit_and_wait(&device(&disk), bio).unwrap();
        let mut bytes = [1; 1024];
        page.read_into(0, &mut bytes);
        assert!(bytes[..512].iter().all(|&b| b == 0) && bytes[512..].iter().all(|&b| b == 0xab));
    }

    #[test]
    fn a_power_cut_takes_what_no_flush_covered() {
        let disk = RamDisk::new(16);
        write(&disk, 0, 1).unwrap();
        assert_eq!(disk.durable_image()[0], 0);
        flush_and_wait(&device(&disk)).unwrap();
        write(&disk, 0, 2).unwrap();
        assert_eq!((disk.durable_image()[0], disk.image()[0]), (1, 2));
    }

    #[test]
    fn a_flush_does_not_cover_writes_in_flight_at_its_submission() {
        let disk = RamDisk::new(16);
        let dev = device(&disk);
        let plug = Plug::start();
        let page = Page::alloc_zeroed().unwrap();
        page.write_from(0, &[7; 512]);
        let end = Arc::new(Keep(IrqLock::new(None)));
        let mut bio = Bio::new(BioOp::Write, Sector(0), end.clone());
        bio.push(Segment { page, offset: 0, len: 512 });
        bio.submit_to(&*dev);
        Plug::submitted(&dev);
        flush_and_wait(&dev).unwrap();
        drop(plug);
        assert!(end.0.lock().is_some());
        assert_eq!((disk.image()[0], disk.durable_image()[0]), (7, 0));
    }
    struct Keep(IrqLock<Option<Box<Bio>>>);
    impl crate::block::BioEnd for Keep {
        fn bio_end(self: Arc<Self>, bio: Box<Bio>) {
            *self.0.lock() = Some(bio);
        }
    }

    #[test]
    fn the_nth_request_fails_and_changes_nothing() {
        let disk = RamDisk::new(16);
        disk.fail_nth(Some(BioOp::Write), 2, Errno::ENOSPC);
        write(&disk, 0, 1).unwrap();
        assert_eq!(write(&disk, 0, 2), Err(Errno::ENOSPC));
        assert_eq!(disk.image()[0], 1);
        write(&disk, 0, 3).unwrap();
        assert_eq!(write(&disk, 16, 3), Err(Errno::EIO));
    }
}
