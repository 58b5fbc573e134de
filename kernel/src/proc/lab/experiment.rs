//! What the commands do.
use super::command::Command;
use alloc::string::String;
use alloc::vec::Vec;
use base::block::{BioOp, Filter, Gate};
use base::lab::{Stop, stop_at};
use base::memory::{FailAllocation, fail_allocation};
use base::sync::{Arc, SpinLock, Weak};
use base::{Errno, Result, time};
use core::fmt::Write;
use fs::page_cache::PageCache;
use fs::vfs::Vfs;

/// No wait lasts longer, so that a wrong experiment ends.
const LIMIT_NS: u64 = 30_000_000_000;

/// The experiment that is set up now.
pub(super) struct Experiment {
    gate: Arc<Gate>,
    vfs: Weak<Vfs>,
    cache: Arc<PageCache>,
    stops: SpinLock<Vec<(String, Arc<Stop>)>>,
    failing: SpinLock<Option<FailAllocation>>,
    #[cfg(feature = "museum")]
    guards_off: SpinLock<Vec<base::lab::SwitchedOff>>,
}

impl Experiment {
    /// Nothing is held, stopped or failing.
    pub(super) fn new(gate: Arc<Gate>, vfs: Weak<Vfs>, cache: Arc<PageCache>) -> Experiment {
        Experiment {
            gate,
            vfs,
            cache,
            stops: SpinLock::new(Vec::new()),
            failing: SpinLock::new(None),
            #[cfg(feature = "museum")]
            guards_off: SpinLock::new(Vec::new()),
        }
    }

    /// Task context; the waits sleep. Errors: those of the front page.
    pub(super) fn obey(&self, command: Command<'_>) -> Result<()> {
        let deadline_ns = time::now_ns().saturating_add(LIMIT_NS);
        match command {
            Command::Hold(op, n) => self.gate.hold(Filter::any().op(op).times(n)),
            Command::HoldEnd(op, n) => self.gate.hold_completions(Filter::any().op(op).times(n)),
            Command::Fail(op, n) => self.gate.fail(Filter::any().op(op).nth(n), Errno::EIO),
            Command::Pass => self.gate.pass(),
            Command::Release => self.gate.open(),
            Command::ReleaseRequest(number) => self.release_request(number)?,
            Command::ReleaseStop(name) => self.release_stop(name)?,
            Command::WaitHeld(n) => came(self.gate.wait_held_until(n, deadline_ns))?,
            Command::WaitEnd(n) => came(self.gate.wait_done(n, deadline_ns))?,
            Command::Stop(name, id) => self.stop(name, id)?,
            Command::WaitStop(name) => came(self.stop_named(name)?.wait_reached_until(deadline_ns))?,
            Command::FailMemory(n) => self.fail_memory(n),
            #[cfg(feature = "museum")]
            Command::GuardOff(name) => self.guards_off.lock().push(base::lab::switch_off(name)),
            Command::DropCaches(inode) => self.drop_caches(inode)?,
            Command::Reset => self.reset(),
        }
        Ok(())
    }

    fn release_request(&self, number: usize) -> Result<()> {
        let held = self.gate.held().iter().any(|request| request.number == number);
        if !held {
            return Err(Errno::EINVAL);
        }
        self.gate.release(number);
        Ok(())
    }

    fn stop(&self, name: &str, id: Option<u64>) -> Result<()> {
        if self.stop_named(name).is_ok() {
            return Err(Errno::EEXIST);
        }
        let stop = id.map_or_else(|| stop_at(name), |id| stop_at(name).id(id)).arm();
        self.stops.lock().push((name.into(), Arc::new(stop)));
        Ok(())
    }

    fn stop_named(&self, name: &str) -> Result<Arc<Stop>> {
        let stops = self.stops.lock();
        let found = stops.iter().find(|(other, _)| other == name).map(|(_, stop)| stop.clone());
        found.ok_or(Errno::ENOENT)
    }

    fn release_stop(&self, name: &str) -> Result<()> {
        let stop = self.stop_named(name)?;
        self.stops.lock().retain(|(other, _)| other != name);
        stop.release();
        Ok(())
    }

    /// The old plan ends before the new one begins.
    fn fail_memory(&self, n: u64) {
        drop(self.failing.lock().take());
        *self.failing.lock() = Some(fail_allocation(n, 1));
    }

    /// The gate's copies of ended requests go first: they are handles to the pages.
    fn drop_caches(&self, inode: Option<u64>) -> Result<()> {
        self.gate.settle();
        let Some(ino) = inode else {
            self.cache.drop_caches();
            return Ok(());
        };
        let root = self.vfs.upgrade().ok_or(Errno::ENODEV)?.root();
        let inode = root.sb.inodes().get(ino).ok_or(Errno::ENOENT)?;
        inode.mapping.invalidate_range_clean(0..u64::MAX);
        Ok(())
    }

    fn reset(&self) {
        let stops = core::mem::take(&mut *self.stops.lock());
        drop(stops);
        drop(self.failing.lock().take());
        #[cfg(feature = "museum")]
        self.guards_off.lock().clear();
        self.gate.open();
    }

    pub(super) fn show(&self, text: &mut String) {
        let behind = self.gate.held_completions();
        for request in self.gate.held() {
            let side = if behind.contains(&request.number) { "behind" } else { "before" };
            let (number, name, sector) = (request.number, name_of(request.op), request.sector.0);
            let _ = writeln!(text, "held {number} {name} {sector} {} {side}", request.len_bytes);
        }
        for (name, stop) in &*self.stops.lock() {
            let _ = match stop.task() {
                Some(task) => writeln!(text, "stop {name} reached {}", task.name()),
                None => writeln!(text, "stop {name} armed"),
            };
        }
    }
}

fn came(came: bool) -> Result<()> {
    if came { Ok(()) } else { Err(Errno::ETIMEDOUT) }
}

fn name_of(op: BioOp) -> &'static str {
    match op {
        BioOp::Read => "read",
        BioOp::Write => "write",
        BioOp::Flush => "flush",
        BioOp::Discard => "discard",
        BioOp::WriteZeroes => "write-zeroes",
    }
}
