//! What all processes share.
use super::{Family, FutexTable, Process, Thread};
use crate::disks::Disks;
use crate::files::Fifos;
use crate::ipc::Semaphores;
use crate::locks::LockTable;
use crate::mm::segments::Segments;
use crate::timers::Timers;
use base::sync::{Arc, Once, Rank};
use base::workqueue::WorkQueue;
use base::{Errno, Result};
use core::sync::atomic::{AtomicU32, Ordering};
use fs::vfs::{Inode, Vfs};

/// The device number that `stat` shows for memory that is shared.
const DEV_SHARED: u64 = 7;
/// Files in memory that no directory has: shared anonymous mappings among them.
const MEMORY_FILES: u64 = 64 * 1024;

/// The processes of a kernel, and what stands between them. A test makes its own.
pub struct System {
    /// Who waits on which word of user memory.
    pub futexes: FutexTable,
    /// The processes and who is whose child.
    pub family: Family,
    /// The locks that programs have on files.
    pub locks: Arc<LockTable>,
    /// The timers of programs.
    pub timers: Timers,
    /// Where files in memory are made that no directory has.
    pub shared_memory: Arc<Inode>,
    /// System V shared memory.
    pub segments: Arc<Segments>,
    /// System V semaphores.
    pub semaphores: Semaphores,
    next_id: AtomicU32,
    boot_ns: u64,
    /// Runs aio requests that wait for the device: fsync.
    aio_worker: Option<Arc<WorkQueue>>,
    vfs: Once<Arc<Vfs>>,
    disks: Once<Disks>,
}

impl System {
    /// A system without processes.
    pub fn new() -> Arc<System> {
        let shared_memory = fs::tmpfs::new(DEV_SHARED, 0o700, u64::MAX, MEMORY_FILES);
        // On the host, where memory is not counted, there is enough.
        let frames = match hal::mem::stats().total_frames {
            0 => u64::from(u32::MAX),
            frames => frames,
        };
        Arc::new(System {
            segments: Segments::new(shared_memory.clone(), frames / 2),
            shared_memory,
            futexes: FutexTable::new(),
            family: Family::new(),
            locks: Arc::new(LockTable::new()),
            timers: Timers::new(),
            semaphores: Semaphores::new(),
            next_id: AtomicU32::new(1),
            boot_ns: base::time::now_ns(),
            aio_worker: WorkQueue::new("aio", 1).ok(),
            vfs: Once::new(Rank::Leaf),
            disks: Once::new(Rank::Leaf),
        })
    }
    /// The queue for aio requests that sleep; `None` when there was no memory for it, and then they run where they are submitted.
    pub fn aio_worker(&self) -> Option<&Arc<WorkQueue>> {
        self.aio_worker.as_ref()
    }
    /// The file-system tree. Errors: `ENOENT` before [`Self::set_vfs`].
    #[inline]
    pub fn vfs(&self) -> Result<&Arc<Vfs>> {
        self.vfs.get().ok_or(Errno::ENOENT)
    }
    /// Gives the system its tree, once, before the first process runs; a second call changes nothing.
    pub fn set_vfs(&self, vfs: Arc<Vfs>) {
        vfs.devices.open_fifos_with(Arc::new(Fifos::new()));
        // Making it cannot fail, because it is there already.
        let _there = self.vfs.get_or_try_init(|| Ok(vfs));
    }
    /// The disks that can be mounted; `None` in a system without.
    pub fn disks(&self) -> Option<&Disks> {
        self.disks.get()
    }
    /// Gives the system its disks, once; as [`Self::set_vfs`].
    pub fn set_disks(&self, disks: Disks) {
        let _there = self.disks.get_or_try_init(|| Ok(disks));
    }
    /// A number no process or thread has had.
    pub fn new_id(&self) -> u32 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
    /// The last number that was given.
    pub fn last_id(&self) -> u32 {
        self.next_id.load(Ordering::Relaxed) - 1
    }
    /// Monotonic time at which the system was made, in nanoseconds.
    pub fn boot_ns(&self) -> u64 {
        self.boot_ns
    }
    /// The process `pid`; also one that has ended and was not waited for yet.
    pub fn process(&self, pid: u32) -> Option<Arc<Process>> {
        self.family.get(pid)
    }
    /// The thread `tid` of any process.
    pub fn thread(&self, tid: u32) -> Option<Arc<Thread>> {
        self.all().iter().find_map(|process| process.thread(tid))
    }
    /// All processes, in order of their ids.
    pub fn all(&self) -> alloc::vec::Vec<Arc<Process>> {
        self.family.all()
    }
}
