//! A driver on a scripted device, and bios that remember how they ended.
use super::device::{Config, ScriptedDisk};
use super::transport::ScriptedTransport;
use crate::virtio::blk::{Params, VirtioBlk};
use base::block::{Bio, BioEnd, BioOp, Sector, Segment};
use base::errno::Result;
use base::{PAGE_SIZE, Page};
use hal::host::dma::Grant;
use std::boxed::Box;
use std::string::String;
use std::sync::{Arc, Mutex};
use std::vec::Vec;

/// A driver and its device.
pub struct Bench {
    pub disk: Arc<VirtioBlk<ScriptedTransport>>,
    pub device: Arc<ScriptedDisk>,
}

/// Timeouts of the tests' own clock.
pub const PARAMS: Params =
    Params { queue_size: 256, max_segments: 64, queues: 4, timeout_ns: 1000, reset_timeout_ns: 0 };

impl Bench {
    /// A running driver. Errors: those of bring-up.
    pub fn try_new(config: Config) -> Result<Bench> {
        let device = Arc::new(ScriptedDisk::new(config));
        let disk = VirtioBlk::new(String::from("vda"), ScriptedTransport(device.clone()), PARAMS)?;
        let disk = Arc::new(disk);
        // Weak: the device must not keep the driver that keeps the device.
        let (on_queue, on_config) = (Arc::downgrade(&disk), Arc::downgrade(&disk));
        device.connect(
            Box::new(move |queue| on_queue.upgrade().expect("the driver lives").interrupt(queue)),
            Box::new(move || on_config.upgrade().expect("the driver lives").config_changed()),
        );
        disk.start()?;
        Ok(Bench { disk, device })
    }

    /// A running driver of the default device, changed by `change`.
    pub fn new(change: impl FnOnce(&mut Config)) -> Bench {
        let mut config = Config::default();
        change(&mut config);
        Bench::try_new(config).expect("the device is good")
    }

    /// The same with so many queues, and what the device says of them is true.
    pub fn with_queues(queues: u16) -> Bench {
        Bench::new(|config| {
            config.queues = queues;
            config.num_queues = queues;
        })
    }

    /// Submits without a kick.
    pub fn submit(&self, op: BioOp, sector: u64, pages: &[Page]) -> Arc<Io> {
        let io = Io::new(pages);
        io.bio(op, sector).submit_to(&*self.disk);
        io
    }

    /// Submits and kicks.
    pub fn start(&self, op: BioOp, sector: u64, pages: &[Page]) -> Arc<Io> {
        let io = self.submit(op, sector, pages);
        self.kick();
        io
    }

    /// Kicks.
    pub fn kick(&self) {
        use base::block::BlockDevice as _;
        self.disk.kick();
    }

    /// Submits a bio without memory and kicks.
    pub fn start_range(&self, op: BioOp, sector: u64, len_bytes: u64) -> Arc<Io> {
        let io = Io::new(&[]);
        Bio::without_data(op, Sector(sector), len_bytes, io.clone()).submit_to(&*self.disk);
        self.kick();
        io
    }
}

/// The end of one bio. Its pages are the device's until then, and not a moment longer.
pub struct Io {
    pages: Vec<Page>,
    grants: Mutex<Vec<Grant>>,
    result: Mutex<Option<Result<()>>>,
    bio: Mutex<Option<Box<Bio>>>,
}

impl Io {
    pub fn new(pages: &[Page]) -> Arc<Io> {
        Arc::new(Io {
            pages: pages.to_vec(),
            grants: Mutex::new(pages.iter().map(Grant::new).collect()),
            result: Mutex::new(None),
            bio: Mutex::new(None),
        })
    }

    /// A bio of whole pages.
    pub fn bio(self: &Arc<Self>, op: BioOp, sector: u64) -> Box<Bio> {
        let mut bio = Bio::new(op, Sector(sector), self.clone());
        for page in &self.pages {
            bio.push(Segment { page: page.clone(), offset: 0, len: PAGE_SIZE as u32 });
        }
        bio
    }

    /// How it ended, if it did.
    pub fn result(&self) -> Option<Result<()>> {
        *self.result.lock().unwrap()
    }
}

impl BioEnd for Io {
    fn bio_end(self: Arc<Self>, bio: Box<Bio>) {
        self.grants.lock().unwrap().clear();
        let before = self.result.lock().unwrap().replace(bio.status());
        assert!(before.is_none(), "a bio ended twice");
        *self.bio.lock().unwrap() = Some(bio);
    }
}
