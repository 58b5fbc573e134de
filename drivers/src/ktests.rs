//! Tests of the disk drivers on the machine they run on. They want a virtio-blk disk as `vda` whose content may be lost,
//! of at least 1 MiB; only sectors below that are written. Without a disk each says so and passes.
use crate::pci::{Disk, probe_disks};
use crate::virtio::blk::Params;
use alloc::boxed::Box;
use alloc::vec::Vec;
use base::block::{Bio, BioEnd, BioOp, BlockDevice, SECTOR_SIZE, Sector, Segment};
use base::errno::{Errno, Result};
use base::stats::{self, Counter};
use base::sync::atomic::{AtomicUsize, Ordering};
use base::sync::{Arc, IrqLock, WaitQueue};
use base::{PAGE_SIZE, Page};

pub(crate) const SECTORS_PER_PAGE: u64 = PAGE_SIZE as u64 / SECTOR_SIZE;

/// The disk; without one the test has nothing to look at, which stands on its line.
pub(crate) fn disk_or_skip() -> Option<&'static Arc<Disk>> {
    let disk = probe_disks(Params::default()).first();
    if disk.is_none() {
        hal::bare::console::write_fmt(format_args!("skipped, there is no virtio-blk disk: "));
    }
    disk
}

/// Counts ends and keeps the bios until the task looks.
struct Ends {
    ended: AtomicUsize,
    list: IrqLock<Option<Box<Bio>>>,
    wait: WaitQueue,
}

impl BioEnd for Ends {
    fn bio_end(self: Arc<Self>, bio: Box<Bio>) {
        bio.chain(&mut self.list.lock());
        self.ended.fetch_add(1, Ordering::Release);
        self.wait.wake_all();
    }
}

impl Ends {
    fn new() -> Arc<Ends> {
        Arc::new(Ends { ended: AtomicUsize::new(0), list: IrqLock::new(None), wait: WaitQueue::new() })
    }

    /// Waits for `n` ends; the results, in no order.
    fn wait_for(&self, n: usize) -> Vec<Result<()>> {
        self.wait.wait_until(|| self.ended.load(Ordering::Acquire) >= n);
        let mut next = self.list.lock().take();
        let mut results = Vec::new();
        while let Some(mut bio) = next {
            results.push(bio.status());
            next = bio.take_next();
        }
        results
    }
}

pub(crate) fn page_of(fill: u8) -> Page {
    let page = Page::alloc_zeroed().expect("memory");
    page.write_from(0, &[fill; PAGE_SIZE]);
    page
}

fn submit(vda: &Arc<Disk>, op: BioOp, sector: u64, pages: &[&Page], end: &Arc<Ends>) {
    let mut bio = Bio::new(op, Sector(sector), end.clone());
    for &page in pages {
        bio.push(Segment { page: page.clone(), offset: 0, len: PAGE_SIZE as u32 });
    }
    bio.submit_to(&**vda);
}

fn all_ok(results: &[Result<()>]) -> bool {
    results.iter().all(|r| r.is_ok())
}

hal::ktest! {
    fn a_disk_is_found() {
        let Some(vda) = disk_or_skip() else { return };
        let limits = vda.limits();
        assert_eq!(vda.name(), "vda");
        assert!(limits.capacity_sectors >= 2048 && limits.max_segments >= 2);
        vda.identify().expect("the device has an identity");
    }

    fn sixty_four_requests_in_one_kick() {
        let Some(vda) = disk_or_skip() else { return };
        let pages: Vec<Page> = (0..128).map(|i| page_of(i as u8 + 1)).collect();
        let (kicks, writes) = (stats::get(Counter::Kicks), Ends::new());
        for i in 0..64 {
            submit(vda, BioOp::Write, 2 * SECTORS_PER_PAGE * i as u64, &[&pages[2 * i], &pages[2 * i + 1]], &writes);
        }
        vda.kick();
        assert!(all_ok(&writes.wait_for(64)));
        // A smaller ring has to be kicked whenever it is full.
        assert!(stats::get(Counter::Kicks) - kicks == 1 || vda.queue_size() < 64);

        let (back, reads): (Vec<Page>, _) = ((0..128).map(|_| page_of(0)).collect(), Ends::new());
        for (i, page) in back.iter().enumerate() {
            submit(vda, BioOp::Read, SECTORS_PER_PAGE * i as u64, &[page], &reads);
        }
        vda.kick();
        assert!(all_ok(&reads.wait_for(128)));
        for (i, page) in back.iter().enumerate() {
            let mut bytes = [0; PAGE_SIZE];
            page.read_into(0, &mut bytes);
            assert!(bytes.iter().all(|&b| b == i as u8 + 1), "page {i}");
        }
        assert_eq!(vda.in_flight(), 0);
    }

    fn a_flush_completes() {
        let Some(vda) = disk_or_skip() else { return };
        let ends = Ends::new();
        Bio::without_data(BioOp::Flush, Sector(0), 0, ends.clone()).submit_to(&**vda);
        vda.kick();
        assert_eq!(ends.wait_for(1), [Ok(())]);
    }

    fn sectors_past_the_end_are_an_error() {
        let Some(vda) = disk_or_skip() else { return };
        let (ends, page) = (Ends::new(), page_of(0));
        submit(vda, BioOp::Read, vda.limits().capacity_sectors, &[&page], &ends);
        vda.kick();
        assert_eq!(ends.wait_for(1), [Err(Errno::EIO)]);
    }

    fn a_malformed_bio_ends_by_the_device_task() {
        let Some(vda) = disk_or_skip() else { return };
        let ends = Ends::new();
        submit(vda, BioOp::Read, 0, &[], &ends);
        assert_eq!(ends.wait_for(1), [Err(Errno::EINVAL)]);
    }

    fn a_full_ring_is_slept_on() {
        let Some(vda) = disk_or_skip() else { return };
        let (ends, page) = (Ends::new(), page_of(0));
        let n = 3 * usize::from(vda.queue_size());
        for i in 0..n {
            submit(vda, BioOp::Read, SECTORS_PER_PAGE * (i % 128) as u64, &[&page], &ends);
        }
        vda.kick();
        assert!(all_ok(&ends.wait_for(n)));
    }

    /// A clock an hour ahead makes every request late: the disk is reset under them. Each ends once, well or with EIO, and
    /// the disk works on.
    fn a_reset_under_load_is_survived() {
        let Some(vda) = disk_or_skip() else { return };
        let (ends, page) = (Ends::new(), page_of(0));
        for i in 0..100 {
            submit(vda, BioOp::Read, SECTORS_PER_PAGE * i, &[&page], &ends);
        }
        let now_ns = base::time::now_ns();
        vda.check_timeouts(now_ns);
        vda.check_timeouts(now_ns + 3_600_000_000_000);
        let results = ends.wait_for(100);
        assert!(results.iter().all(|r| matches!(r, Ok(()) | Err(Errno::EIO))));
        assert!(!vda.is_dead());
        let again = Ends::new();
        submit(vda, BioOp::Read, 0, &[&page], &again);
        vda.kick();
        assert_eq!(again.wait_for(1), [Ok(())]);
    }

    /// Through the wrap of the 16-bit ring indices.
    fn many_requests_through_the_index_wrap() {
        let Some(vda) = disk_or_skip() else { return };
        let page = page_of(0);
        for batch in 0..1050u64 {
            let ends = Ends::new();
            for i in 0..63 {
                submit(vda, BioOp::Read, (batch + i) % 1024, &[&page], &ends);
            }
            vda.kick();
            assert!(all_ok(&ends.wait_for(63)), "batch {batch}");
        }
    }

    /// A burst as aio makes it, more than the ring holds: no interrupt allocates or frees memory, since boot or in the burst.
    fn interrupts_neither_allocate_nor_free() {
        let Some(vda) = disk_or_skip() else { return };
        let (pages, ends) = ((0..32).map(|_| page_of(9)).collect::<Vec<Page>>(), Ends::new());
        let interrupts = stats::get(Counter::Interrupts);
        for i in 0..512 {
            let op = if i % 4 == 3 { BioOp::Read } else { BioOp::Write };
            submit(vda, op, SECTORS_PER_PAGE * (i % 128), &[&pages[i as usize % 32]], &ends);
            if i % 32 == 31 {
                vda.kick();
            }
        }
        assert!(all_ok(&ends.wait_for(512)));
        assert!(stats::get(Counter::Interrupts) > interrupts, "the requests ended by interrupts");
        let memory = hal::mem::stats();
        assert_eq!((memory.irq_allocs, memory.irq_frees), (0, 0));
    }
}
