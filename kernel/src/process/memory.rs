//! The memory of a program: shared by the threads of a process, and by a child of vfork with its parent until it runs a program.
use crate::aio::AioTable;
use crate::mm::AddressSpace;
use base::Result;
use base::sync::Arc;
use base::sync::atomic::{AtomicUsize, Ordering};
use core::ops::Deref;

/// An address space with the aio contexts whose rings it maps.
pub struct Memory {
    space: AddressSpace,
    /// The aio contexts. They belong to the address space, so that a fork has none (PRC-5).
    pub aio: AioTable,
    /// Processes that run in it.
    users: AtomicUsize,
}

impl Memory {
    /// Empty memory of one process. Errors: `ENOMEM`.
    pub fn new() -> Result<Arc<Memory>> {
        Ok(Self::of(AddressSpace::new()?))
    }

    fn of(space: AddressSpace) -> Arc<Memory> {
        Arc::new(Memory { space, aio: AioTable::new(), users: AtomicUsize::new(1) })
    }

    /// A copy of the content for another process. Task context; may sleep. Errors: `ENOMEM`.
    pub fn fork(&self) -> Result<Arc<Memory>> {
        self.space.fork().map(Self::of)
    }

    /// The same memory for one more process.
    pub fn join(self: &Arc<Memory>) -> Arc<Memory> {
        self.users.fetch_add(1, Ordering::Relaxed);
        self.clone()
    }

    /// A process is done with it, and none of its threads will touch it again. With the last one its contents go: its aio requests are waited
    /// for first (PRC-2). Task context; sleeps.
    pub fn leave(&self) {
        if self.users.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.aio.destroy_all();
            self.space.clear();
        }
    }
}

impl Deref for Memory {
    type Target = AddressSpace;
    fn deref(&self) -> &AddressSpace {
        &self.space
    }
}
