//! The descriptor table of a process.
//!
//! A look-up is one index into a vector under a spin lock that is held for a few instructions. Files are never let go under the
//! lock: a release may sleep.
use alloc::vec::Vec;
use base::sync::{Arc, SpinLock};
use base::{Errno, Result};
use fs::vfs::{File, Inode};

/// The most descriptors a process may ever have, whatever its limit says.
const HARD_LIMIT: usize = 1 << 16;

#[derive(Clone)]
struct Slot {
    file: Arc<File>,
    close_on_exec: bool,
    /// The path by which the file was opened, for `/proc`.
    path: Option<Vec<u8>>,
}

#[derive(Default)]
struct Slots {
    slots: Vec<Option<Slot>>,
    /// No slot below this one is free.
    first_free: usize,
}

/// From descriptor numbers to open files.
pub struct FdTable(SpinLock<Slots>);

impl FdTable {
    /// An empty table.
    pub fn new() -> FdTable {
        FdTable(SpinLock::new(Slots::default()))
    }

    /// The open file behind `fd`. Errors: `EBADF`.
    pub fn get(&self, fd: u32) -> Result<Arc<File>> {
        let table = self.0.lock();
        table.slots.get(fd as usize).and_then(Option::as_ref).map(|slot| slot.file.clone()).ok_or(Errno::EBADF)
    }

    /// Gives `file` the lowest free number from `lowest` on that is below `limit` (RLIMIT_NOFILE). Errors: `EMFILE`, `EINVAL`
    /// (`lowest` is not below the limit), `ENOMEM`.
    pub fn insert(&self, file: Arc<File>, close_on_exec: bool, lowest: u32, limit: u64) -> Result<u32> {
        let limit = usize::try_from(limit).unwrap_or(HARD_LIMIT).min(HARD_LIMIT);
        let lowest = lowest as usize;
        if lowest >= limit {
            return Err(if lowest == 0 { Errno::EMFILE } else { Errno::EINVAL });
        }
        let mut table = self.0.lock();
        let from = lowest.max(table.first_free);
        let fd = table.free_from(from);
        if fd >= limit {
            return Err(Errno::EMFILE);
        }
        table.put(fd, Slot { file, close_on_exec, path: None })?;
        if from == table.first_free {
            table.first_free = fd + 1;
        }
        Ok(fd as u32)
    }

    /// Puts `file` at `fd` (dup2) and returns what was there, for the caller to let go. Errors: `EBADF` (not below `limit`),
    /// `ENOMEM`.
    pub fn replace(&self, fd: u32, file: Arc<File>, close_on_exec: bool, limit: u64) -> Result<Option<Arc<File>>> {
        let fd = fd as usize;
        if fd as u64 >= limit || fd >= HARD_LIMIT {
            return Err(Errno::EBADF);
        }
        self.0.lock().put(fd, Slot { file, close_on_exec, path: None })
    }

    /// Takes `fd` out of the table and returns its file, for the caller to let go. Errors: `EBADF`.
    pub fn remove(&self, fd: u32) -> Result<Arc<File>> {
        let mut table = self.0.lock();
        let slot = table.slots.get_mut(fd as usize).and_then(Option::take).ok_or(Errno::EBADF)?;
        table.first_free = table.first_free.min(fd as usize);
        Ok(slot.file)
    }

    /// Whether `fd` is closed by execve. Errors: `EBADF`.
    pub fn close_on_exec(&self, fd: u32) -> Result<bool> {
        let table = self.0.lock();
        table.slots.get(fd as usize).and_then(Option::as_ref).map(|slot| slot.close_on_exec).ok_or(Errno::EBADF)
    }

    /// Sets whether `fd` is closed by execve. Errors: `EBADF`.
    pub fn set_close_on_exec(&self, fd: u32, on: bool) -> Result<()> {
        let mut table = self.0.lock();
        let slot = table.slots.get_mut(fd as usize).and_then(Option::as_mut).ok_or(Errno::EBADF)?;
        slot.close_on_exec = on;
        Ok(())
    }

    /// Notes the path by which `fd` was opened. One that was closed meanwhile has none.
    pub fn set_path(&self, fd: u32, path: Vec<u8>) {
        if let Some(Some(slot)) = self.0.lock().slots.get_mut(fd as usize) {
            slot.path = Some(path);
        }
    }
    /// The path by which `fd` was opened; a later rename does not show.
    pub fn path(&self, fd: u32) -> Option<Vec<u8>> {
        self.0.lock().slots.get(fd as usize)?.as_ref()?.path.clone()
    }
    /// A path by which a descriptor of `inode` was opened.
    pub fn path_of(&self, inode: &Arc<Inode>) -> Option<Vec<u8>> {
        let table = self.0.lock();
        let same = |slot: &&Slot| slot.file.inode.as_ref().is_some_and(|i| Arc::ptr_eq(i, inode));
        table.slots.iter().flatten().filter(same).find_map(|slot| slot.path.clone())
    }

    /// The open descriptors at this moment, for `/proc/self/fd`.
    pub fn open(&self) -> Vec<u32> {
        let table = self.0.lock();
        table.slots.iter().enumerate().filter(|(_, slot)| slot.is_some()).map(|(fd, _)| fd as u32).collect()
    }

    /// A table with the same open files, for a child. Errors: `ENOMEM`.
    pub fn fork(&self) -> Result<FdTable> {
        let table = self.0.lock();
        let mut slots = Vec::new();
        slots.try_reserve_exact(table.slots.len()).map_err(|_| Errno::ENOMEM)?;
        slots.extend(table.slots.iter().cloned());
        Ok(FdTable(SpinLock::new(Slots { slots, first_free: table.first_free })))
    }

    /// Takes out the files that a new program does not get, for the caller to let go.
    pub fn take_close_on_exec(&self) -> Vec<Arc<File>> {
        let mut table = self.0.lock();
        let mut taken = Vec::new();
        let mut lowest = table.first_free;
        for (fd, place) in table.slots.iter_mut().enumerate() {
            if let Some(slot) = place.take_if(|slot| slot.close_on_exec) {
                lowest = lowest.min(fd);
                taken.push(slot.file);
            }
        }
        table.first_free = lowest;
        taken
    }

    /// Closes everything. Task context; may sleep in the release of a file.
    pub fn close_all(&self) {
        let slots = core::mem::take(&mut *self.0.lock());
        drop(slots);
    }
}

impl Default for FdTable {
    fn default() -> Self {
        Self::new()
    }
}

impl Slots {
    fn free_from(&self, from: usize) -> usize {
        let taken = self.slots.get(from..).unwrap_or_default().iter().take_while(|slot| slot.is_some()).count();
        from + taken
    }

    /// Puts `slot` at `fd`, growing the vector; returns the file that was there.
    fn put(&mut self, fd: usize, slot: Slot) -> Result<Option<Arc<File>>> {
        if fd >= self.slots.len() {
            self.slots.try_reserve(fd + 1 - self.slots.len()).map_err(|_| Errno::ENOMEM)?;
            self.slots.resize_with(fd + 1, || None);
        }
        let place = self.slots.get_mut(fd).ok_or(Errno::EBADF)?;
        Ok(place.replace(slot).map(|old| old.file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fs::vfs::{FileOps, OpenFlags};

    struct Nothing;
    impl FileOps for Nothing {}

    fn file() -> Arc<File> {
        File::new(None, OpenFlags::RDWR, Arc::new(Nothing))
    }

    #[test]
    fn the_lowest_free_number_is_given() {
        let table = FdTable::new();
        for want in 0..4 {
            assert_eq!(table.insert(file(), false, 0, 1024), Ok(want));
        }
        table.remove(2).unwrap();
        table.remove(1).unwrap();
        assert_eq!(table.insert(file(), false, 2, 1024), Ok(2));
        assert_eq!(table.insert(file(), false, 0, 1024), Ok(1));
        assert_eq!(table.insert(file(), false, 0, 1024), Ok(4));
        assert_eq!(table.insert(file(), false, 100, 1024), Ok(100));
        assert_eq!(table.insert(file(), false, 0, 1024), Ok(5));
        assert_eq!(table.open(), [0, 1, 2, 3, 4, 5, 100]);
    }

    #[test]
    fn limits_and_bad_numbers() {
        let table = FdTable::new();
        assert_eq!(table.insert(file(), false, 0, 1), Ok(0));
        assert_eq!(table.insert(file(), false, 0, 1), Err(Errno::EMFILE));
        assert_eq!(table.insert(file(), false, 5, 5), Err(Errno::EINVAL));
        assert!(matches!(table.get(1), Err(Errno::EBADF)));
        assert!(matches!(table.get(u32::MAX), Err(Errno::EBADF)));
        assert!(matches!(table.remove(u32::MAX), Err(Errno::EBADF)));
        assert!(matches!(table.replace(u32::MAX, file(), false, u64::MAX), Err(Errno::EBADF)));
    }

    #[test]
    fn a_replaced_file_is_returned_and_the_flag_is_of_the_descriptor() {
        let table = FdTable::new();
        let (a, b) = (file(), file());
        table.insert(a.clone(), true, 0, 16).unwrap();
        assert_eq!(table.close_on_exec(0), Ok(true));
        let old = table.replace(0, b.clone(), false, 16).unwrap().unwrap();
        assert!(Arc::ptr_eq(&old, &a));
        assert_eq!(table.close_on_exec(0), Ok(false));
        table.set_close_on_exec(0, true).unwrap();
        assert!(Arc::ptr_eq(&table.get(0).unwrap(), &b));
        table.close_all();
        assert_eq!(Arc::strong_count(&b), 1);
    }
}
