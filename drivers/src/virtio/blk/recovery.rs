//! Timeouts and broken devices: reset, and when a disk is dead.
//!
//! The rule: a bio that the device has ends with `EIO` only after the device was reset and read back as
//! quiet, because until then it may still write to the bio's memory. If it does not come out of reset, its bios are
//! pinned: never ended, never freed.
//!
//! All of this runs in the device's task. `Phase::Resetting` is its licence: nobody else touches ring, entries or
//! transport meanwhile, though the lock is free between the steps.
use super::config;
use super::device::{BlkTransport, VirtioBlk};
use super::interrupt::Batch;
use super::protocol::Features;
use super::queue::{Core, Doorbell, Fault, Owner, Phase};
use base::errno::{Errno, Result};
use base::{sched, time};
use core::sync::atomic::Ordering;
use virtio_drivers::transport::DeviceStatus;

/// How long the task sleeps between two looks at a device in reset.
const RESET_POLL_NS: u64 = 1_000_000;

impl<T: BlkTransport> VirtioBlk<T> {
    /// Whether [`check_timeouts`](Self::check_timeouts) has something to do right now. Any context.
    pub fn needs_attention(&self) -> bool {
        self.needs_attention.load(Ordering::Acquire)
    }

    /// Sleeps until [`check_timeouts`](Self::check_timeouts) has something to do, or until `deadline_ns`. Task context.
    pub fn wait_for_attention(&self, deadline_ns: u64) {
        self.attention.wait_until_deadline(deadline_ns, || self.needs_attention());
    }

    /// The duty of the device's task: ends bios that need no device, kicks what nobody kicked, and resets a device that
    /// broke the protocol, asked for it, or has held a request for longer than the timeout. `now_ns` is
    /// [`time::now_ns`], or a test's own clock. Task context, sleeps; one caller at a time.
    pub fn check_timeouts(&self, now_ns: u64) {
        self.needs_attention.store(false, Ordering::Release);
        self.end_answered();
        if let Some(fault) = self.fault(now_ns) {
            self.recover(fault);
            self.end_answered();
        }
    }

    /// Why the device must be reset now, if it must; all queues then know that it is `Resetting`.
    fn fault(&self, now_ns: u64) -> Option<Fault> {
        let mut found = None;
        for queue in &self.queues {
            let expired = |core: &mut Core<_>| core.expired(now_ns, self.params.timeout_ns);
            if expired(&mut queue.core.lock()) {
                // The interrupt may have been lost and not the request.
                self.reap(queue);
            }
            queue.kick();
            let mut core = queue.core.lock();
            let expired = expired(&mut core);
            found = found.or(match core.phase {
                Phase::Broken(fault) => Some(fault),
                Phase::Live if expired => Some(Fault::Timeout),
                _ => None,
            });
        }
        let mut registers = self.registers.lock();
        let live = self.phase() == Phase::Live;
        if live && registers.get_status().contains(DeviceStatus::DEVICE_NEEDS_RESET) {
            found = Some(Fault::NeedsReset);
        }
        let fault = found?;
        self.set_phase(&mut registers, Phase::Resetting);
        Some(fault)
    }

    /// Resets the device and starts it again, or gives it up.
    fn recover(&self, fault: Fault) {
        use base::block::BlockDevice as _;
        log::error!("{}: {fault:?}, {} requests in flight: resetting", self.name(), self.in_flight());
        if !self.quieten() {
            log::error!("{}: does not come out of reset: the disk is dead, its requests stay pinned", self.name());
            let mut registers = self.registers.lock();
            self.set_phase(&mut registers, Phase::Dead);
            self.queues.iter().for_each(|queue| queue.core.lock().pin());
        } else {
            self.draw_back();
            if let Err(error) = self.restart() {
                log::error!("{}: cannot be started again ({error}): the disk is dead", self.name());
                self.set_phase(&mut self.registers.lock(), Phase::Dead);
            }
        }
        self.queues.iter().for_each(|queue| queue.core.lock().starved = false);
        self.room.wake_all();
    }

    /// Resets the device; whether it read back as reset within the time allowed. From then on it touches no memory.
    fn quieten(&self) -> bool {
        self.registers.lock().set_status(DeviceStatus::empty());
        let deadline_ns = time::now_ns().saturating_add(self.params.reset_timeout_ns);
        loop {
            if self.registers.lock().get_status().is_empty() {
                return true;
            }
            let now_ns = time::now_ns();
            if now_ns >= deadline_ns {
                return false;
            }
            sched::park_until(now_ns.saturating_add(RESET_POLL_NS));
        }
    }

    /// Ends every request of the quiet device with `EIO`.
    fn draw_back(&self) {
        for queue in &self.queues {
            loop {
                let mut batch = Batch::new();
                queue.core.lock().take_back(&mut batch);
                if batch.is_empty() {
                    break;
                }
                for (bio, result) in batch {
                    bio.complete(result);
                }
            }
        }
    }

    /// Starts the quiet device again. Errors: `EIO` if it is not the device it was; those of negotiation.
    fn restart(&self) -> Result<()> {
        let mut registers = self.registers.lock();
        let agreement = config::negotiate(&mut *registers, &self.params)?;
        let (old, new) = (&self.agreement.limits, &agreement.limits);
        let same = agreement.features == self.agreement.features
            && agreement.segment_bytes_max >= self.agreement.segment_bytes_max
            && new.logical_block_size == old.logical_block_size
            && new.max_segments >= old.max_segments
            && new.capacity_sectors == old.capacity_sectors
            && self.queues.iter().all(|queue| {
                let size = queue.core.lock().ring.size();
                registers.max_queue_size(queue.number) >= u32::from(size)
            });
        if !same {
            return Err(Errno::EIO);
        }
        self.set_durability(config::durability(&*registers, agreement.features));
        let event_idx = agreement.features.contains(Features::EVENT_IDX);
        self.queues.iter().for_each(|queue| queue.core.lock().ring.forget(event_idx));
        self.run(&mut registers)
    }

    /// Ends the bios that were answered without the device.
    fn end_answered(&self) {
        for queue in &self.queues {
            loop {
                let (next, starved) = {
                    let mut core = queue.core.lock();
                    let starved = core::mem::take(&mut core.starved);
                    (core.answered.pop(), starved)
                };
                if starved {
                    self.room.wake_all();
                }
                let Some((bio, error)) = next else { break };
                bio.complete(Err(error));
            }
        }
    }
}

impl<D: Doorbell> Core<D> {
    /// Whether a request has been with the device for `timeout_ns` since a call of this saw it first.
    fn expired(&mut self, now_ns: u64, timeout_ns: u64) -> bool {
        let mut expired = false;
        for entry in self.entries.iter_mut().filter(|e| e.owner.is_some()) {
            if entry.since_ns == 0 {
                entry.since_ns = now_ns.max(1);
            }
            expired |= now_ns.saturating_sub(entry.since_ns) >= timeout_ns;
        }
        expired
    }

    /// Takes bios from a quiet device.
    fn take_back(&mut self, batch: &mut Batch) {
        debug_assert!(self.phase == Phase::Resetting);
        for entry in self.entries.iter_mut() {
            if batch.is_full() {
                return;
            }
            match entry.owner.take() {
                Some(Owner::Bio(bio)) => batch.push((bio, Err(Errno::EIO))),
                Some(Owner::Identify) => self.identity = Some(Err(Errno::EIO)),
                None => {}
            }
        }
    }

    /// Gives up a device that may still write to the memory of its requests: that memory is never freed.
    fn pin(&mut self) {
        for entry in self.entries.iter_mut() {
            if let Some(Owner::Bio(bio)) = entry.owner.take() {
                core::mem::forget(bio);
            }
        }
    }
}
