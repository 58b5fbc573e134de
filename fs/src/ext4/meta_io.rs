//! Moving metadata blocks between the device and memory: synchronous, sorted, in bios as large as the device takes.
use alloc::boxed::Box;
use base::block::{Bio, BioEnd, BioOp, BlockDevice, SECTOR_SIZE, Sector, Segment};
use base::sync::atomic::{AtomicUsize, Ordering};
use base::sync::{Arc, IrqLock, WaitQueue};
use base::{Errno, PAGE_SIZE, Page, Result};

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

/// Writes blocks, each from the beginning of its page, and waits; neighbours that follow one another go in one bio. Errors: the first
/// `EIO`, after all were tried.
pub fn write_pages<'p>(
    device: &Arc<dyn BlockDevice>,
    block_size: u32,
    blocks: impl IntoIterator<Item = (u64, &'p Page)>,
) -> Result<()> {
    let batch = Batch::new();
    let limits = device.limits();
    let mut open: Option<(Box<Bio>, u64)> = None;
    for (number, page) in blocks {
        let fits = |bio: &Bio| {
            bio.segments().len() < limits.max_segments as usize
                && bio.len_bytes() + u64::from(block_size) <= u64::from(limits.max_bytes)
        };
        let (mut bio, next) = match open.take() {
            Some((bio, next)) if next == number && fits(&bio) => (bio, next),
            other => {
                if let Some((full, _)) = other {
                    batch.submit(full, device);
                }
                (Bio::new(BioOp::Write, sector_of(number, block_size), batch.clone()), number)
            }
        };
        bio.push(Segment { page: page.clone(), offset: 0, len: block_size });
        open = Some((bio, next + 1));
    }
    if let Some((bio, _)) = open {
        batch.submit(bio, device);
    }
    let mut result = Ok(());
    let mut list = batch.finish(device);
    while let Some(mut bio) = list {
        list = bio.take_next();
        result = result.and(bio.status());
    }
    result
}

fn sector_of(number: u64, block_size: u32) -> Sector {
    Sector(number * (u64::from(block_size) / SECTOR_SIZE))
}
