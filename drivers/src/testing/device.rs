//! The device: registers, content, and the verbs of a test's script.
use super::rings::{Rings, WRITE};
use crate::virtio::blk::Features;
use hal::host::dma;
use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::vec::Vec;
use virtio_drivers::transport::DeviceStatus;

/// What the device offers.
#[derive(Clone, Debug)]
pub struct Config {
    pub features: Features,
    pub sectors: u64,
    pub size_max: u32,
    pub seg_max: u32,
    pub blk_size: u32,
    pub writeback: u8,
    pub queue_max: u32,
    /// What `num_queues` says, and how many there are.
    pub num_queues: u16,
    pub queues: u16,
    /// Clears FEATURES_OK whatever the driver accepts.
    pub refuse_features: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            features: Features::all() - Features::RO - Features::SIZE_MAX,
            sectors: 2048,
            size_max: 0,
            seg_max: 126,
            blk_size: 512,
            writeback: 1,
            queue_max: 16,
            num_queues: 1,
            queues: 1,
            refuse_features: false,
        }
    }
}

/// A request the device has fetched.
#[derive(Clone, Debug)]
pub struct Request {
    /// The queue it came by.
    pub queue: u16,
    /// The head of its chain.
    pub id: u16,
    pub kind: u32,
    pub sector: u64,
    /// Data: address, length.
    pub data: Vec<(u64, u32)>,
    status: u64,
}

/// What the registers and the device's own memory hold.
pub struct State {
    pub config: Config,
    pub accepted: Features,
    pub status: DeviceStatus,
    /// By queue, those that were set up.
    pub rings: BTreeMap<u16, Rings>,
    pub kicks: usize,
    pub interrupts: usize,
    pub resets: usize,
    /// The device does not come out of reset any more.
    pub stuck: bool,
    /// Queues that were kicked and not looked at since.
    pub kicked: BTreeSet<u16>,
    held: Vec<Request>,
    content: Vec<u8>,
}

type Handler = Box<dyn Fn() + Send + Sync>;
/// Is told which queue.
type QueueHandler = Box<dyn Fn(u16) + Send + Sync>;

/// A block device that does what the test says.
pub struct ScriptedDisk {
    state: Mutex<State>,
    kick_came: Condvar,
    queue_irq: Mutex<Option<QueueHandler>>,
    config_irq: Mutex<Option<Handler>>,
}

impl ScriptedDisk {
    pub fn new(config: Config) -> ScriptedDisk {
        let content = (0..config.sectors * 512).map(|i| (i / 512) as u8).collect();
        let state = State {
            config,
            accepted: Features::empty(),
            status: DeviceStatus::empty(),
            rings: BTreeMap::new(),
            kicks: 0,
            interrupts: 0,
            resets: 0,
            stuck: false,
            kicked: BTreeSet::new(),
            held: Vec::new(),
            content,
        };
        ScriptedDisk {
            state: Mutex::new(state),
            kick_came: Condvar::new(),
            queue_irq: Mutex::new(None),
            config_irq: Mutex::new(None),
        }
    }

    /// The registers.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the interrupts go.
    pub fn connect(&self, queue: QueueHandler, config: Handler) {
        *self.queue_irq.lock().unwrap() = Some(queue);
        *self.config_irq.lock().unwrap() = Some(config);
    }

    /// The doorbell of a queue.
    pub fn kick(&self, queue: u16) {
        let mut state = self.state();
        state.kicks += 1;
        state.kicked.insert(queue);
        self.kick_came.notify_all();
    }

    /// Waits for a kick that was not yet answered by [`fetch`](Self::fetch).
    pub fn wait_for_kick(&self) {
        let mut state = self.state();
        while state.kicked.is_empty() {
            state = self.kick_came.wait(state).unwrap();
        }
    }

    /// Takes the available requests of the queues that were kicked since they last slept; how many it holds now.
    pub fn fetch(&self) -> usize {
        let mut state = self.state();
        for queue in std::mem::take(&mut state.kicked) {
            let rings = state.rings.get_mut(&queue).expect("kicked without a queue");
            let heads = rings.take_available();
            let rings = &state.rings[&queue];
            let requests: Vec<Request> = heads.into_iter().map(|head| parse(queue, rings, head)).collect();
            state.held.extend(requests);
        }
        state.held.len()
    }

    /// The queues of the requests that are held, in their order.
    pub fn held_queues(&self) -> Vec<u16> {
        self.state().held.iter().map(|request| request.queue).collect()
    }

    /// Takes the held request number `n` away from the device, to be returned in a wrong way or never.
    pub fn remove(&self, n: usize) -> Request {
        self.state().held.remove(n)
    }

    /// Does the held request number `n` and returns it, as it should be; no interrupt yet.
    pub fn finish(&self, n: usize) {
        let mut state = self.state();
        let request = state.held.remove(n);
        let (status, written) = state.perform(&request);
        dma::write(request.status, &[status]).expect("status byte");
        state.rings.get_mut(&request.queue).expect("the queue").push_used(request.id.into(), written + 1);
    }

    /// Does `count` requests as they come, of those it holds always the one in the middle, and interrupts at every third and when it has none.
    pub fn finish_as_they_come(&self, count: usize) {
        let mut finished = 0;
        while finished < count {
            self.wait_for_kick();
            for left in (0..self.fetch()).rev() {
                self.finish(left.div_ceil(2));
                finished += 1;
                if left.is_multiple_of(3) {
                    self.interrupt();
                }
            }
            self.interrupt();
        }
    }

    /// Returns a request with this status, without doing anything.
    pub fn finish_with(&self, request: &Request, status: Option<u8>, written: u32) {
        if let Some(status) = status {
            dma::write(request.status, &[status]).expect("status byte");
        }
        self.lie_in(request.queue, |rings| rings.push_used(request.id.into(), written));
    }

    /// Lets the script write to the used ring of the first queue as it likes.
    pub fn lie(&self, lie: impl FnOnce(&mut Rings)) {
        self.lie_in(0, lie);
    }

    /// The same for another queue.
    pub fn lie_in(&self, queue: u16, lie: impl FnOnce(&mut Rings)) {
        lie(self.state().rings.get_mut(&queue).expect("the queue"));
    }

    /// Interrupts the driver for each queue, if it wants to know of what was returned there.
    pub fn interrupt(&self) {
        let queues: Vec<u16> = self.state().rings.keys().copied().collect();
        queues.into_iter().for_each(|queue| self.interrupt_for(queue));
    }

    /// The same for one queue.
    pub fn interrupt_for(&self, queue: u16) {
        let wanted = self.state().rings.get_mut(&queue).expect("the queue").interrupt_wanted();
        if wanted {
            self.state().interrupts += 1;
            let handler = self.queue_irq.lock().unwrap();
            hal::irq::as_interrupt(|| handler.as_ref().expect("connected")(queue));
        }
    }

    /// Sets DEVICE_NEEDS_RESET and tells so.
    pub fn need_reset(&self) {
        self.state().status |= DeviceStatus::DEVICE_NEEDS_RESET;
        self.config_interrupt();
    }

    /// Tells of a configuration change.
    pub fn config_interrupt(&self) {
        let handler = self.config_irq.lock().unwrap();
        hal::irq::as_interrupt(|| handler.as_ref().expect("connected")());
    }

    /// Behaves: fetches and finishes in order until nothing is left, with one interrupt for each round.
    pub fn run(&self) {
        while self.fetch() > 0 {
            while !self.state().held.is_empty() {
                self.finish(0);
            }
            self.interrupt();
        }
    }
}

impl State {
    /// Writing 0 to the status register.
    pub fn reset(&mut self) {
        if self.stuck {
            return;
        }
        self.resets += 1;
        self.status = DeviceStatus::empty();
        self.rings.clear();
        self.kicked.clear();
        self.held.clear();
    }

    /// The configuration space.
    pub fn config_bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &self.config.sectors.to_le_bytes());
        put(8, &self.config.size_max.to_le_bytes());
        put(12, &self.config.seg_max.to_le_bytes());
        put(20, &self.config.blk_size.to_le_bytes());
        put(32, &[self.config.writeback]);
        put(34, &self.config.num_queues.to_le_bytes());
        put(36, &1024u32.to_le_bytes());
        put(40, &1u32.to_le_bytes());
        put(48, &2048u32.to_le_bytes());
        put(52, &1u32.to_le_bytes());
        bytes
    }

    /// Does what is asked: the status, and the bytes written to the driver's memory.
    fn perform(&mut self, request: &Request) -> (u8, u32) {
        match request.kind {
            0 | 1 => self.transfer(request),
            4 => (0, 0),
            8 => {
                dma::write(request.data[0].0, b"scripted-disk-000001").expect("identity");
                (0, 20)
            }
            11 | 13 => self.clear(request),
            _ => (2, 0),
        }
    }

    fn transfer(&mut self, request: &Request) -> (u8, u32) {
        let mut at = request.sector as usize * 512;
        let total: u32 = request.data.iter().map(|d| d.1).sum();
        if at + total as usize > self.content.len() {
            return (1, 0);
        }
        for &(address, len) in &request.data {
            let bytes = &mut self.content[at..at + len as usize];
            let access = if request.kind == 0 { dma::write(address, bytes) } else { dma::read(address, bytes) };
            access.expect("data lies in shared memory");
            at += len as usize;
        }
        (0, if request.kind == 0 { total } else { 0 })
    }

    fn clear(&mut self, request: &Request) -> (u8, u32) {
        let mut raw = [0; 16];
        assert_eq!(request.data.len(), 1);
        dma::read(request.data[0].0, &mut raw).expect("the range");
        let sector = u64::from_le_bytes(raw[..8].try_into().unwrap()) as usize;
        let sectors = u32::from_le_bytes(raw[8..12].try_into().unwrap()) as usize;
        match self.content.get_mut(sector * 512..(sector + sectors) * 512) {
            Some(bytes) => bytes.fill(0),
            None => return (1, 0),
        }
        (0, 0)
    }
}

/// Reads a request as the specification lays it out: header, data, status.
fn parse(queue: u16, rings: &Rings, head: u16) -> Request {
    let chain = rings.chain(head);
    let [header, data @ .., status] = chain.as_slice() else { panic!("a request without header and status") };
    assert_eq!((header.len, header.flags & WRITE), (16, 0));
    assert_eq!((status.len, status.flags & WRITE), (1, WRITE));
    let mut raw = [0; 16];
    dma::read(header.address, &mut raw).expect("the header");
    let kind = u32::from_le_bytes(raw[..4].try_into().unwrap());
    let device_writes = matches!(kind, 0 | 8);
    for d in data {
        assert_eq!(d.flags & WRITE != 0, device_writes, "the direction of data");
    }
    Request {
        queue,
        id: head,
        kind,
        sector: u64::from_le_bytes(raw[8..].try_into().unwrap()),
        data: data.iter().map(|d| (d.address, d.len)).collect(),
        status: status.address,
    }
}
