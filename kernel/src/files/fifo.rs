//! Pipes that have names in a file system.
//!
//! All who have a fifo open share one pipe. It is gone with the last of them, and what nobody has read with it.
use super::pipe::{Pipe, Shared};
use alloc::collections::BTreeMap;
use base::sync::{Arc, SpinLock, Weak};
use base::{Errno, Result};
use fs::vfs::{FileOps, Inode, OpenFifo, OpenFlags};

/// The pipes of open fifos, by the address of the inode: who has one open keeps the inode where it is.
pub struct Fifos(SpinLock<BTreeMap<usize, Weak<Shared>>>);

impl Fifos {
    /// None is open.
    pub fn new() -> Fifos {
        Fifos(SpinLock::new(BTreeMap::new()))
    }

    /// One more end of the fifo, and how many of the other kind there ever were before. Errors: `ENXIO`: it would write, there is no reader, and it would not wait for one.
    fn end(&self, inode: &Arc<Inode>, reads: bool, writes: bool, waits: bool) -> Result<(Pipe, usize)> {
        let mut pipes = self.0.lock();
        let at = Arc::as_ptr(inode).addr();
        // One that has no ends is on its way out.
        let open = pipes.get(&at).and_then(Weak::upgrade).filter(|pipe| pipe.has_readers() || pipe.has_writers());
        if !waits && !reads && !open.as_ref().is_some_and(|pipe| pipe.has_readers()) {
            return Err(Errno::ENXIO);
        }
        let pipe = open.unwrap_or_else(|| {
            pipes.retain(|_, pipe| pipe.strong_count() > 0);
            let pipe = Shared::new();
            pipes.insert(at, Arc::downgrade(&pipe));
            pipe
        });
        let before = pipe.ever(!reads);
        Ok((Pipe::new(&pipe, reads, writes), before))
    }
}

impl Default for Fifos {
    fn default() -> Self {
        Self::new()
    }
}

impl OpenFifo for Fifos {
    /// As fifo(7): who only reads or only writes waits for the other, unless with `NONBLOCK`.
    fn open(&self, inode: &Arc<Inode>, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        let (reads, writes) = match flags.bits() & 3 {
            0 => (true, false),
            1 => (false, true),
            _ => (true, true),
        };
        let waits = !flags.contains(OpenFlags::NONBLOCK);
        let (end, before) = self.end(inode, reads, writes, waits)?;
        if waits && reads != writes {
            end.wait_for_other_end(before).inspect_err(|_| end.leave())?;
        }
        Ok(Arc::new(end))
    }
}
