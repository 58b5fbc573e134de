//! Resource limits. `NOFILE`, `FSIZE`, `STACK`, `MEMLOCK`, `AS`, `DATA` and `NPROC` have an effect; the others are stored.
use linux_raw_sys::general as abi;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A soft and a hard limit: `struct rlimit64` of the ABI; `u64::MAX` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct RLimit {
    /// What is enforced.
    pub soft: u64,
    /// How far the soft limit may be raised.
    pub hard: u64,
}

/// Processes and threads that there may be at a time. Each costs the kernel a stack, which it keeps for the next: all of them together
/// take no more than an eighth of the memory.
pub fn most_tasks() -> u64 {
    const FRAMES_PER_TASK: u64 = 8 * 8;
    match hal::mem::stats().total_frames / FRAMES_PER_TASK {
        // The host counts no frames.
        0 => u64::from(u32::MAX),
        tasks => tasks.max(64),
    }
}

/// The limits of a process by `RLIMIT_*` number.
#[derive(Clone, Debug)]
pub struct Limits([RLimit; Limits::COUNT]);

impl Limits {
    /// How many kinds there are.
    pub const COUNT: usize = 16;

    /// The limit of kind `resource`; `None` for a number that is none.
    pub fn get(&self, resource: u32) -> Option<RLimit> {
        self.0.get(resource as usize).copied()
    }
    /// Sets a limit; false for a number that is none.
    pub fn set(&mut self, resource: u32, limit: RLimit) -> bool {
        self.0.get_mut(resource as usize).map(|place| *place = limit).is_some()
    }
}

impl Default for Limits {
    fn default() -> Self {
        let none = RLimit { soft: u64::MAX, hard: u64::MAX };
        let mut limits = Limits([none; Limits::COUNT]);
        limits.set(abi::RLIMIT_STACK, RLimit { soft: 8 << 20, hard: u64::MAX });
        limits.set(abi::RLIMIT_NOFILE, RLimit { soft: 1024, hard: 4096 });
        limits.set(abi::RLIMIT_MEMLOCK, RLimit { soft: 8 << 20, hard: 8 << 20 });
        let tasks = most_tasks() / 2;
        limits.set(abi::RLIMIT_NPROC, RLimit { soft: tasks, hard: tasks });
        limits.set(abi::RLIMIT_CORE, RLimit { soft: 0, hard: u64::MAX });
        limits
    }
}
