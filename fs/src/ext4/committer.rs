//! The task that commits what nobody asked to be durable, every few seconds (5 in the kernel, as with Linux).
use super::Ext4Fs;
use crate::vfs::SuperBlock;
use alloc::boxed::Box;
use base::Result;
use base::sched::{self, Task};
use base::sync::atomic::{AtomicBool, Ordering};
use base::sync::{Arc, WaitQueue, Weak};

struct Shared {
    stopped: AtomicBool,
    wait: WaitQueue,
}

/// The running task.
pub(super) struct Committer {
    shared: Arc<Shared>,
    task: Task,
}

impl Committer {
    /// Starts it. Errors: `ENOMEM`.
    pub fn start(sb: &Arc<SuperBlock>, interval_s: u32) -> Result<Committer> {
        let shared = Arc::new(Shared { stopped: AtomicBool::new(false), wait: WaitQueue::new() });
        let (of_task, weak) = (shared.clone(), Arc::downgrade(sb));
        let interval_ns = u64::from(interval_s) * 1_000_000_000;
        let task = sched::spawn("ext4-commit", Box::new(move || run(&of_task, &weak, interval_ns)))?;
        Ok(Committer { shared, task })
    }

    /// Ends it, and waits for a commit under way. Task context.
    pub fn stop(self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.shared.wait.wake_all();
        self.task.join();
    }
}

fn run(shared: &Shared, sb: &Weak<SuperBlock>, interval_ns: u64) {
    loop {
        let deadline = base::time::now_ns() + interval_ns;
        if shared.wait.wait_until_deadline(deadline, || shared.stopped.load(Ordering::Acquire)) {
            return;
        }
        let Some(sb) = sb.upgrade() else { return };
        let fs = Ext4Fs::of(&sb);
        if fs.is_read_only() {
            continue;
        }
        // Whoever asks for durability hears of the error; this task only does early what has time.
        if let Err(error) = fs.sync_metadata(&sb) {
            log::warn!("ext4 {}: commit in the background: {error}", fs.device.name());
        }
    }
}
