//! Objects of one kind by id and by key.
use super::{IPC_CREAT, IPC_EXCL};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use base::sync::Arc;
use base::{Errno, Result};

/// Objects of one kind that there may be.
pub const MOST: usize = 4096;
/// The key of an object that nobody finds by a key.
const PRIVATE: i32 = 0;

/// An object that a key finds.
pub trait Object {
    /// Its key; `None`: it was removed and is still in use.
    fn key(&self) -> Option<i32>;
}

/// The objects of a kind. Its user locks it.
pub struct Registry<T> {
    objects: BTreeMap<u32, Arc<T>>,
    last_id: u32,
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Registry { objects: BTreeMap::new(), last_id: 0 }
    }
}

impl<T: Object> Registry<T> {
    /// The object `key`, if there is one; `None`: one is to be made. Errors: `EEXIST`, `ENOENT`, as `flags` say.
    pub fn find(&self, key: i32, flags: u32) -> Result<Option<Arc<T>>> {
        let found = self.objects.values().find(|object| key != PRIVATE && object.key() == Some(key));
        match found {
            Some(_) if flags & IPC_CREAT != 0 && flags & IPC_EXCL != 0 => Err(Errno::EEXIST),
            None if key != PRIVATE && flags & IPC_CREAT == 0 => Err(Errno::ENOENT),
            found => Ok(found.cloned()),
        }
    }
    /// Takes in what `make` makes of its id. Errors: `ENOSPC`: there are too many.
    pub fn insert(&mut self, make: impl FnOnce(u32) -> T) -> Result<u32> {
        if self.objects.len() >= MOST {
            return Err(Errno::ENOSPC);
        }
        // Never again the id of an object that is gone, until they run out.
        let mut id = self.last_id;
        loop {
            id = id.wrapping_add(1) & i32::MAX as u32;
            if !self.objects.contains_key(&id) {
                break;
            }
        }
        self.last_id = id;
        self.objects.insert(id, Arc::new(make(id)));
        Ok(id)
    }
    /// The object `id`. Errors: `EINVAL`.
    pub fn get(&self, id: u32) -> Result<&Arc<T>> {
        self.objects.get(&id).ok_or(Errno::EINVAL)
    }
    /// Takes the object `id` out.
    pub fn remove(&mut self, id: u32) -> Option<Arc<T>> {
        self.objects.remove(&id)
    }
    /// All of them, in order of their ids.
    pub fn all(&self) -> Vec<Arc<T>> {
        self.objects.values().cloned().collect()
    }
}
