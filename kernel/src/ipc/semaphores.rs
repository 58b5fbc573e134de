//! The semaphores of a system.
use super::set::{SET_MAX, SemSet, Semaphore};
use super::{IPC_CREAT, Owner, Registry};
use alloc::vec::Vec;
use base::sync::atomic::{AtomicU64, Ordering};
use base::sync::{Arc, SpinLock};
use base::{Errno, Result};
use fs::caller::Caller;

/// Semaphores that all sets together may have.
pub const SEMAPHORES_MAX: usize = 8 * SET_MAX;

/// All sets.
pub struct Semaphores {
    table: SpinLock<Table>,
    last_list: AtomicU64,
}

#[derive(Default)]
struct Table {
    sets: Registry<SemSet>,
    /// Semaphores of all sets together.
    count: usize,
}

/// What semget asks for.
#[derive(Clone, Copy)]
pub struct SetRequest {
    /// The key; 0: none.
    pub key: i32,
    /// How many semaphores.
    pub count: usize,
    /// `IPC_CREAT`, `IPC_EXCL` and permission bits.
    pub flags: u32,
}

impl Semaphores {
    /// No sets.
    pub fn new() -> Semaphores {
        Semaphores { table: SpinLock::new(Table::default()), last_list: AtomicU64::new(0) }
    }

    /// The set of a key, or a new one whose semaphores are all 0 (semget). Errors: `ENOENT`, `EEXIST`, `EACCES`, `EINVAL` (how many), `ENOSPC` (too
    /// many sets or semaphores), `ENOMEM`.
    pub fn get(&self, request: SetRequest, caller: &dyn Caller) -> Result<u32> {
        let SetRequest { key, count, flags } = request;
        if count > SET_MAX {
            return Err(Errno::EINVAL);
        }
        let found = self.table.lock().sets.find(key, flags)?;
        if let Some(set) = found {
            if count > set.count() {
                return Err(Errno::EINVAL);
            }
            return set.info(None)?.owner.check_flags(caller, flags).map(|()| set.id);
        }
        if count == 0 {
            return Err(Errno::EINVAL);
        }
        base::memory::room_for_programs()?;
        let mut semaphores = Vec::new();
        semaphores.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        semaphores.resize(count, Semaphore::default());
        let mut table = self.table.lock();
        if table.sets.find(key, IPC_CREAT)?.is_some() {
            // Another call was first.
            return Err(Errno::EEXIST);
        }
        if table.count + count > SEMAPHORES_MAX {
            return Err(Errno::ENOSPC);
        }
        let id = table.sets.insert(|id| SemSet::new(id, key, Owner::new(caller, flags), semaphores))?;
        table.count += count;
        Ok(id)
    }

    /// The set `id`. Errors: `EINVAL`.
    pub fn find(&self, id: u32) -> Result<Arc<SemSet>> {
        self.table.lock().sets.get(id).cloned()
    }
    /// All sets, in order of their ids.
    pub fn all(&self) -> Vec<Arc<SemSet>> {
        self.table.lock().sets.all()
    }
    /// Removes the set `id`; who waits for it gets `EIDRM`. Errors: `EINVAL`, `EPERM`, `EIDRM`.
    pub fn remove(&self, id: u32, caller: &dyn Caller) -> Result<()> {
        let set = self.find(id)?;
        set.remove(caller)?;
        let mut table = self.table.lock();
        let gone = table.sets.remove(id);
        table.count -= set.count();
        drop(table);
        drop(gone);
        Ok(())
    }

    /// A number that no list of what is to be taken back has had.
    pub(super) fn new_list(&self) -> u64 {
        self.last_list.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Default for Semaphores {
    fn default() -> Self {
        Self::new()
    }
}
