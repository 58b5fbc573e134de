//! A disk without a thread: a shared image, and beside it the sectors that were written. Requests end in the kick.
use base::block::{BioOp, BlockDevice, Durability, Limits, SECTOR_SIZE, SubmittedBio};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR: usize = SECTOR_SIZE as usize;
/// More requests than any run needs: who gets there runs in a circle.
const MOST_REQUESTS: u64 = 50_000;

type Sector = [u8; SECTOR];

/// A copy-on-write disk over an image.
pub struct Overlay {
    image: Arc<[u8]>,
    written: Mutex<HashMap<u64, Sector>>,
    queue: Mutex<Vec<SubmittedBio>>,
    requests: AtomicU64,
    /// Sectors that were read, if somebody wants to know.
    read: Option<Mutex<BTreeSet<u64>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("a run that panicked is not continued")
}

impl Overlay {
    /// A disk that holds `image`; `record` notes which sectors are read.
    pub fn new(image: Arc<[u8]>, record: bool) -> Arc<Overlay> {
        Arc::new(Overlay {
            image,
            written: Mutex::default(),
            queue: Mutex::default(),
            requests: AtomicU64::new(0),
            read: record.then(Mutex::default),
        })
    }
    /// The sectors that were read so far.
    pub fn read_sectors(&self) -> BTreeSet<u64> {
        self.read.as_ref().map(|read| lock(read).clone()).unwrap_or_default()
    }
    /// The whole content.
    pub fn contents(&self) -> Vec<u8> {
        let mut bytes = self.image.to_vec();
        for (sector, data) in lock(&self.written).iter() {
            bytes[*sector as usize * SECTOR..][..SECTOR].copy_from_slice(data);
        }
        bytes
    }
    /// Changes bytes, which lie in one sector.
    pub fn patch(&self, offset: usize, bytes: &[u8]) {
        let sector = (offset / SECTOR) as u64;
        let mut written = lock(&self.written);
        let data = written.entry(sector).or_insert_with(|| self.original(sector));
        let at = offset % SECTOR;
        let len = bytes.len().min(SECTOR - at);
        data[at..at + len].copy_from_slice(&bytes[..len]);
    }

    fn original(&self, sector: u64) -> Sector {
        self.image[sector as usize * SECTOR..][..SECTOR].try_into().expect("a sector")
    }

    fn transfer(&self, bio: &SubmittedBio) -> base::Result<()> {
        if bio.end_sector().0 > self.limits().capacity_sectors {
            return Err(base::Errno::EIO);
        }
        let mut written = lock(&self.written);
        let mut sector = bio.sector().0;
        for segment in bio.segments() {
            for offset in (segment.offset..segment.offset + segment.len).step_by(SECTOR) {
                if bio.op() == BioOp::Read {
                    let data = written.get(&sector).copied().unwrap_or_else(|| self.original(sector));
                    segment.page.write_from(offset as usize, &data);
                    self.read.iter().for_each(|read| _ = lock(read).insert(sector));
                } else {
                    let mut data = [0; SECTOR];
                    segment.page.read_into(offset as usize, &mut data);
                    written.insert(sector, data);
                }
                sector += 1;
            }
        }
        Ok(())
    }
}

impl BlockDevice for Overlay {
    fn name(&self) -> &str {
        "overlay"
    }
    fn limits(&self) -> Limits {
        Limits {
            capacity_sectors: (self.image.len() / SECTOR) as u64,
            logical_block_size: 512,
            max_segments: 64,
            max_bytes: 1 << 20,
            read_only: false,
            discard: false,
            write_zeroes: false,
        }
    }
    fn durability(&self) -> Durability {
        Durability::OnFlush
    }
    fn submit(&self, bio: SubmittedBio) {
        assert!(self.requests.fetch_add(1, Ordering::Relaxed) < MOST_REQUESTS, "requests without end");
        lock(&self.queue).push(bio);
    }
    fn kick(&self) {
        let queue = std::mem::take(&mut *lock(&self.queue));
        for bio in queue {
            let status = self.transfer(&bio);
            bio.complete(status);
        }
    }
}
