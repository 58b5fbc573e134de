//! What is done in the background: a commit every few seconds (5 in the kernel, as with Linux) of what nobody asked to be durable,
//! and checkpoints, so that those who commit need not wait for them.
use super::Ext4Fs;
use crate::vfs::SuperBlock;
use alloc::boxed::Box;
use base::Result;
use base::sched::{self, Task};
use base::sync::atomic::{AtomicBool, Ordering};
use base::sync::{Arc, WaitQueue, Weak};

/// What is asked of the task. Without a task, whoever asks does it himself.
pub(super) struct Background {
    running: AtomicBool,
    stopped: AtomicBool,
    commit: AtomicBool,
    checkpoint: AtomicBool,
    wait: WaitQueue,
}

impl Background {
    pub fn new() -> Self {
        let no = || AtomicBool::new(false);
        Background { running: no(), stopped: no(), commit: no(), checkpoint: no(), wait: WaitQueue::new() }
    }

    /// Whether there is a task.
    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    /// Asks for a commit. Any task.
    pub fn ask_for_commit(&self) {
        self.ask(&self.commit);
    }
    /// Asks for a checkpoint. Any task.
    pub fn ask_for_checkpoint(&self) {
        self.ask(&self.checkpoint);
    }

    fn ask(&self, what: &AtomicBool) {
        if !what.swap(true, Ordering::AcqRel) {
            self.wait.wake_all();
        }
    }

    /// Starts the task. Errors: `ENOMEM`.
    pub fn start(&self, sb: &Arc<SuperBlock>, interval_s: u32) -> Result<Task> {
        self.stopped.store(false, Ordering::Release);
        let weak = Arc::downgrade(sb);
        let interval_ns = u64::from(interval_s) * 1_000_000_000;
        let fs = Ext4Fs::of(sb).clone();
        let task = sched::spawn("ext4-commit", Box::new(move || run(&fs, &weak, interval_ns)))?;
        self.running.store(true, Ordering::Release);
        Ok(task)
    }

    /// Ends the task, after a commit or checkpoint under way. Task context.
    pub fn stop(&self, task: &Task) {
        self.running.store(false, Ordering::Release);
        self.stopped.store(true, Ordering::Release);
        self.wait.wake_all();
        task.join();
    }
}

fn run(fs: &Ext4Fs, sb: &Weak<SuperBlock>, interval_ns: u64) {
    let asked = &fs.background;
    let mut deadline = base::time::now_ns() + interval_ns;
    loop {
        let wakers = [&asked.stopped, &asked.commit, &asked.checkpoint];
        asked.wait.wait_until_deadline(deadline, || wakers.iter().any(|flag| flag.load(Ordering::Acquire)));
        if asked.stopped.load(Ordering::Acquire) {
            return;
        }
        let result = if asked.checkpoint.swap(false, Ordering::AcqRel) {
            fs.checkpoint()
        } else if asked.commit.swap(false, Ordering::AcqRel) {
            fs.commit_all()
        } else {
            deadline = base::time::now_ns() + interval_ns;
            let Some(sb) = sb.upgrade() else { return };
            if fs.check_writable().is_err() { Ok(()) } else { fs.sync_metadata(&sb) }
        };
        // Whoever asks for durability hears of an error by himself; this task only does early what has time.
        if let Err(error) = result {
            log::warn!("ext4 {}: in the background: {error}", fs.device.name());
        }
    }
}
