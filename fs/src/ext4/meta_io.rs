//! Moving metadata blocks between the device and memory: synchronous, sorted, in bios as large as the device takes.
use super::meta::MetaBlock;
use alloc::boxed::Box;
use alloc::vec::Vec;
use base::block::{Bio, BioEnd, BioOp, BlockDevice, SECTOR_SIZE, Sector, Segment};
use base::sync::atomic::{AtomicUsize, Ordering};
use base::sync::{Arc, IrqLock, WaitQueue};
use base::{Errno, PAGE_SIZE, Result};

/// Collects the ends of a batch of bios; one task waits for all of them.
struct Batch {
    in_flight: AtomicUsize,
    ended: IrqLock<Option<Box<Bio>>>,
    wait: WaitQueue,
}

impl BioEnd for Batch {
    fn bio_end(self: Arc<Self>, bio: Box<Bio>) {
        bio.chain(&mut self.ended.lock());
        // The waiter holds a reference of its own, so `self` outlives the wake; the count falls after the bio is in the list.
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.wait.wake_all();
    }
}

impl Batch {
    fn new() -> Arc<Batch> {
        Arc::new(Batch { in_flight: AtomicUsize::new(0), ended: IrqLock::new(None), wait: WaitQueue::new() })
    }
    fn submit(&self, bio: Box<Bio>, device: &Arc<dyn BlockDevice>) {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        bio.submit_to(&**device);
    }
    /// Waits until every bio has ended and gives the list of them.
    fn finish(&self, device: &Arc<dyn BlockDevice>) -> Option<Box<Bio>> {
        device.kick();
        self.wait.wait_until(|| self.in_flight.load(Ordering::Acquire) == 0);
        self.ended.lock().take()
    }
}

/// Reads block `number` into `data`, whose length is the block size. Errors: `EIO`, `ENOMEM`.
pub fn read_block(device: &Arc<dyn BlockDevice>, number: u64, data: &mut [u8]) -> Result<()> {
    let byte = number.checked_mul(data.len() as u64).ok_or(Errno::EUCLEAN)?;
    read_bytes(device, byte, data)
}

/// Reads `data.len()` bytes, at most a page, at byte `pos` of the device. Both are multiples of 512. Errors: `EIO`, `ENOMEM`.
pub fn read_bytes(device: &Arc<dyn BlockDevice>, pos: u64, data: &mut [u8]) -> Result<()> {
    let sectors = device.limits().capacity_sectors;
    let end = pos.checked_add(data.len() as u64).ok_or(Errno::EIO)?;
    if end > sectors.saturating_mul(SECTOR_SIZE) || data.len() > PAGE_SIZE {
        return Err(Errno::EIO);
    }
    let page = base::memory::alloc_page_zeroed()?;
    let batch = Batch::new();
    let mut bio = Bio::new(BioOp::Read, Sector(pos / SECTOR_SIZE), batch.clone());
    bio.push(Segment { page: page.clone(), offset: 0, len: data.len() as u32 });
    batch.submit(bio, device);
    batch.finish(device).map_or(Err(Errno::EIO), |bio| bio.status())?;
    page.read_into(0, data);
    Ok(())
}

/// Writes the dirty ones of `blocks`, which are in ascending order, and waits. Gives the blocks that failed.
pub fn write_blocks(device: &Arc<dyn BlockDevice>, blocks: &[Arc<MetaBlock>]) -> Vec<(Arc<MetaBlock>, Errno)> {
    let batch = Batch::new();
    let mut failed = Vec::new();
    let mut open: Option<Run> = None;
    for (index, block) in blocks.iter().enumerate() {
        let bytes = block.read().len();
        let page = match base::memory::alloc_page_zeroed() {
            Ok(page) => page,
            Err(error) => {
                failed.push((block.clone(), error));
                continue;
            }
        };
        if !block.take_for_write(|data| page.write_from(0, data)) {
            continue;
        }
        let segment = Segment { page, offset: 0, len: bytes as u32 };
        if !open.as_ref().is_some_and(|run| run.takes(device, block.number(), bytes)) {
            if let Some(run) = open.take() {
                batch.submit(run.bio, device);
            }
            let mut bio = Bio::new(BioOp::Write, sector_of(block.number(), bytes), batch.clone());
            bio.cookie = index as u64;
            open = Some(Run { bio, next: block.number() });
        }
        if let Some(run) = &mut open {
            run.bio.push(segment);
            run.next += 1;
        }
    }
    if let Some(run) = open {
        batch.submit(run.bio, device);
    }
    let mut list = batch.finish(device);
    while let Some(mut bio) = list {
        list = bio.take_next();
        if let Err(error) = bio.status() {
            failed.extend(blocks_of(&bio, blocks).map(|b| (b.clone(), error)));
        }
    }
    failed
}

/// A write bio that grows block by block.
struct Run {
    bio: Box<Bio>,
    next: u64,
}

impl Run {
    fn takes(&self, device: &Arc<dyn BlockDevice>, number: u64, bytes: usize) -> bool {
        let limits = device.limits();
        self.next == number
            && self.bio.segments().len() < limits.max_segments as usize
            && self.bio.len_bytes() + bytes as u64 <= u64::from(limits.max_bytes)
    }
}

fn sector_of(number: u64, bytes: usize) -> Sector {
    Sector(number * (bytes as u64 / SECTOR_SIZE))
}

/// The blocks that `bio` carried: those from its first on whose place lies inside it.
fn blocks_of<'a>(bio: &Bio, blocks: &'a [Arc<MetaBlock>]) -> impl Iterator<Item = &'a Arc<MetaBlock>> {
    let (start, end) = (bio.sector(), bio.end_sector());
    blocks.iter().skip(bio.cookie as usize).filter(move |b| {
        let sector = sector_of(b.number(), b.read().len());
        sector >= start && sector < end
    })
}
