//! The locks of all files, and waiting for them.
use super::ranges::{Kind, Lock, Owner, Ranges, Span};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use base::sync::{Arc, SpinLock, WaitQueue};
use base::{Errno, Result};
use fs::vfs::File;

/// The two kinds of locks that know nothing of each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Space {
    /// Of ranges: fcntl(2).
    Records,
    /// Of the whole file: flock(2).
    Whole,
}

/// A lock that is asked for, or a range to unlock.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Request {
    pub space: Space,
    pub owner: Owner,
    /// `None`: unlock.
    pub kind: Option<Kind>,
    pub span: Span,
}

/// Names the file behind an open file: by the address of its inode, or where it has none of what stands behind it. Whoever has a lock has
/// the file open, so that the address stays that of the file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct FileId(usize);

impl FileId {
    fn of(file: &File) -> FileId {
        FileId(match &file.inode {
            Some(inode) => Arc::as_ptr(inode).addr(),
            None => core::ptr::from_ref(file.ops()).cast::<()>().addr(),
        })
    }
}

#[derive(Default)]
struct FileLocks {
    records: Ranges,
    whole: Ranges,
}

impl FileLocks {
    fn space(&mut self, space: Space) -> &mut Ranges {
        match space {
            Space::Records => &mut self.records,
            Space::Whole => &mut self.whole,
        }
    }
}

#[derive(Default)]
struct Tables {
    files: BTreeMap<FileId, FileLocks>,
    /// Which process waits for which: one entry for each thread that waits for a lock of ranges.
    waits: Vec<(Owner, Owner)>,
}

/// The locks of all files.
pub struct LockTable {
    tables: SpinLock<Tables>,
    /// Some lock was given up.
    changed: WaitQueue,
}

impl LockTable {
    /// No locks.
    pub fn new() -> LockTable {
        LockTable { tables: SpinLock::new(Tables::default()), changed: WaitQueue::new() }
    }

    /// Does what is asked for if nobody's lock is in the way. Errors: `EAGAIN`, `ENOLCK`.
    pub fn try_set(&self, file: &File, request: Request) -> Result<()> {
        let changed = self.tables.lock().try_set(FileId::of(file), request).unwrap_or(Err(Errno::EAGAIN))?;
        if changed {
            self.changed.wake_all();
        }
        Ok(())
    }

    /// As [`Self::try_set`], but sleeps while a lock is in the way. Task context. Errors: `ENOLCK`, `EINTR`, `EDEADLK`: for a process,
    /// if whom it would wait for waits for it.
    pub fn set(&self, file: &File, request: Request) -> Result<()> {
        let id = FileId::of(file);
        let mut outcome = None;
        let mut waits_for = None;
        let waited = self.changed.wait_interruptible(|| {
            let mut tables = self.tables.lock();
            tables.no_longer(request.owner, waits_for.take());
            match tables.try_set(id, request) {
                Ok(result) => outcome = Some(result),
                Err(lock) => match tables.waits_for(request.owner, lock.owner) {
                    Ok(()) => waits_for = Some(lock.owner),
                    Err(error) => outcome = Some(Err(error)),
                },
            }
            outcome.is_some()
        });
        if waits_for.is_some() {
            self.tables.lock().no_longer(request.owner, waits_for);
        }
        // What was had in the end counts, though an interruption came as well.
        let changed = match outcome {
            Some(result) => result?,
            None => return waited,
        };
        if changed {
            self.changed.wake_all();
        }
        Ok(())
    }

    /// Takes away what the owner has of another kind than is asked for.
    pub fn give_up_others(&self, file: &File, request: Request) {
        let id = FileId::of(file);
        let changed = {
            let mut tables = self.tables.lock();
            let Some(locks) = tables.files.get_mut(&id) else { return };
            let changed = locks.space(request.space).remove_others(request.owner, request.kind);
            tables.forget_if_empty(id);
            changed
        };
        if changed {
            self.changed.wake_all();
        }
    }

    /// The first lock that keeps `owner` from having one of this `kind` on `span`.
    pub fn conflict(&self, file: &File, owner: Owner, kind: Kind, span: Span) -> Option<Lock> {
        self.tables.lock().files.get(&FileId::of(file))?.records.conflict(owner, kind, span)
    }

    /// Takes away what `owner` has of the file, of both spaces.
    pub fn release(&self, file: &File, owner: Owner) {
        self.remove(FileId::of(file), owner);
    }

    fn remove(&self, id: FileId, owner: Owner) {
        let changed = self.tables.lock().remove(id, owner);
        if changed {
            self.changed.wake_all();
        }
    }

    /// Takes away what `owner` has of any file.
    pub fn release_all(&self, owner: Owner) {
        {
            let mut tables = self.tables.lock();
            let ids: Vec<FileId> = tables.files.keys().copied().collect();
            ids.into_iter().for_each(|id| {
                tables.remove(id, owner);
            });
        }
        self.changed.wake_all();
    }

    /// From now on the locks of the description `file` go with its last reference.
    pub fn keep_with(self: &Arc<Self>, file: &File) {
        file.keep(|| {
            Box::new(Kept {
                table: self.clone(),
                id: FileId::of(file),
                owner: Owner::File(core::ptr::from_ref(file).addr()),
            })
        });
    }
}

impl Default for LockTable {
    fn default() -> Self {
        Self::new()
    }
}

/// The locks of an open file description. A file keeps it.
struct Kept {
    table: Arc<LockTable>,
    id: FileId,
    owner: Owner,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.table.remove(self.id, self.owner);
    }
}

impl Tables {
    /// Does what is asked for; says as [`Ranges::set`] whether that lets others on. Errors: the lock that is in the way.
    fn try_set(&mut self, id: FileId, request: Request) -> core::result::Result<Result<bool>, Lock> {
        let Request { space, owner, kind, span } = request;
        let ranges = self.files.entry(id).or_default().space(space);
        let conflict = kind.and_then(|kind| ranges.conflict(owner, kind, span));
        let result = conflict.map_or_else(|| Ok(ranges.set(owner, kind, span)), Err);
        if matches!(result, Ok(Ok(true))) {
            self.no_longer_in_the_way(owner);
        }
        self.forget_if_empty(id);
        result
    }

    fn remove(&mut self, id: FileId, owner: Owner) -> bool {
        let Some(locks) = self.files.get_mut(&id) else { return false };
        let changed = locks.records.remove(owner) | locks.whole.remove(owner);
        if changed {
            self.no_longer_in_the_way(owner);
        }
        self.forget_if_empty(id);
        changed
    }

    fn forget_if_empty(&mut self, id: FileId) {
        if self.files.get(&id).is_some_and(|locks| locks.records.is_empty() && locks.whole.is_empty()) {
            self.files.remove(&id);
        }
    }

    /// Notes that `owner` waits for `other`, if both are processes: descriptions do not wait, and many can use one. Errors: `EDEADLK`:
    /// that waits for `owner`, itself or by way of others; `ENOLCK`.
    fn waits_for(&mut self, owner: Owner, other: Owner) -> Result<()> {
        if !matches!((owner, other), (Owner::Process(_), Owner::Process(_))) {
            return Ok(());
        }
        let mut reached = alloc::vec![other];
        let mut at = 0;
        while let Some(&from) = reached.get(at) {
            for &(_, to) in self.waits.iter().filter(|(waiting, _)| *waiting == from) {
                if to == owner {
                    return Err(Errno::EDEADLK);
                }
                if !reached.contains(&to) {
                    reached.push(to);
                }
            }
            at += 1;
        }
        self.waits.try_reserve(1).map_err(|_| Errno::ENOLCK)?;
        self.waits.push((owner, other));
        Ok(())
    }

    /// `owner` has given something up: who waited for it looks again, and until then may no longer wait for it.
    fn no_longer_in_the_way(&mut self, owner: Owner) {
        self.waits.retain(|(_, other)| *other != owner);
    }

    /// Takes one such note back, if there is one.
    fn no_longer(&mut self, owner: Owner, other: Option<Owner>) {
        let Some(other) = other else { return };
        if let Some(at) = self.waits.iter().position(|wait| *wait == (owner, other)) {
            self.waits.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::sched;
    use fs::vfs::{FileOps, OpenFlags};

    struct Nothing(#[allow(dead_code, reason = "so that it has an address of its own")] u8);
    impl FileOps for Nothing {}

    const A: Owner = Owner::Process(1);
    const B: Owner = Owner::Process(2);

    fn file() -> Arc<File> {
        File::new(None, OpenFlags::RDWR, Arc::new(Nothing(0)))
    }
    fn request(owner: Owner, kind: Option<Kind>, first: u64, last: u64) -> Request {
        Request { space: Space::Records, owner, kind, span: Span { first, last } }
    }
    fn write(owner: Owner, at: u64) -> Request {
        request(owner, Some(Kind::Write), at, at)
    }
    /// Sleeps until `count` tasks wait for a lock.
    fn until_waiting(table: &LockTable, count: usize) {
        while table.changed.waiters() != count {
            sched::yield_now();
        }
    }

    #[test]
    fn locks_of_one_file_are_none_of_another() {
        let (table, a, b) = (LockTable::new(), file(), file());
        table.try_set(&a, write(A, 0)).unwrap();
        assert_eq!(table.try_set(&a, write(B, 0)), Err(Errno::EAGAIN));
        assert_eq!(table.try_set(&b, write(B, 0)), Ok(()));
        assert_eq!(table.conflict(&a, B, Kind::Read, Span::ALL).unwrap().owner, A);
        let whole = Request { space: Space::Whole, ..request(Owner::File(1), Some(Kind::Write), 0, 9) };
        assert_eq!(table.try_set(&a, whole), Ok(()), "the two spaces know nothing of each other");
        table.release_all(A);
        assert_eq!(table.try_set(&a, write(B, 0)), Ok(()));
        table.release(&a, B);
        table.release(&b, B);
        table.release(&a, Owner::File(1));
        assert!(table.tables.lock().files.is_empty());
    }

    #[test]
    fn a_waiter_gets_the_lock_when_it_is_given_up() {
        let (table, file) = (Arc::new(LockTable::new()), file());
        table.try_set(&file, request(A, Some(Kind::Write), 0, 9)).unwrap();
        let (theirs, their_file) = (table.clone(), file.clone());
        let waiter = std::thread::spawn(move || theirs.set(&their_file, write(B, 5)));
        until_waiting(&table, 1);
        table.try_set(&file, request(A, None, 0, 4)).unwrap();
        until_waiting(&table, 1);
        assert!(table.conflict(&file, Owner::Process(3), Kind::Write, Span { first: 0, last: 4 }).is_none());
        table.try_set(&file, request(A, Some(Kind::Read), 5, 9)).unwrap();
        until_waiting(&table, 1);
        table.try_set(&file, request(A, None, 5, 5)).unwrap();
        assert_eq!(waiter.join().unwrap(), Ok(()));
        assert_eq!(table.conflict(&file, A, Kind::Read, Span { first: 5, last: 5 }).unwrap().owner, B);
        assert!(table.tables.lock().waits.is_empty());
    }

    #[test]
    fn whoever_closes_a_circle_is_refused() {
        let (table, file) = (Arc::new(LockTable::new()), file());
        let owners = [A, B, Owner::Process(3)];
        owners.iter().zip(0..).for_each(|(&owner, at)| table.try_set(&file, write(owner, at)).unwrap());
        let wait = |owner, at| {
            let (table, file) = (table.clone(), file.clone());
            std::thread::spawn(move || table.set(&file, write(owner, at)))
        };
        let first = wait(A, 1);
        until_waiting(&table, 1);
        let second = wait(B, 2);
        until_waiting(&table, 2);
        assert_eq!(table.set(&file, write(owners[2], 0)), Err(Errno::EDEADLK));
        table.release_all(owners[2]);
        assert_eq!(second.join().unwrap(), Ok(()));
        table.release_all(B);
        assert_eq!(first.join().unwrap(), Ok(()));
        assert!(table.tables.lock().waits.is_empty());
    }

    /// The waiter was woken and has not looked yet when the one before asks for a lock of the waiter's.
    #[test]
    fn who_has_given_a_lock_up_is_waited_for_no_longer() {
        let (table, file) = (LockTable::new(), file());
        let id = FileId::of(&file);
        table.try_set(&file, write(A, 0)).unwrap();
        table.try_set(&file, write(B, 1)).unwrap();
        let mut tables = table.tables.lock();
        tables.waits_for(B, A).unwrap();
        assert_eq!(tables.waits_for(A, B), Err(Errno::EDEADLK));
        tables.try_set(id, request(A, None, 0, 0)).unwrap().unwrap();
        assert_eq!(tables.waits_for(A, B), Ok(()));
        assert_eq!(tables.waits_for(B, A), Err(Errno::EDEADLK), "and if it is so after all, the waiter finds it");
    }

    #[test]
    fn an_interrupted_waiter_leaves_nothing_behind() {
        let (table, file) = (Arc::new(LockTable::new()), file());
        table.try_set(&file, write(A, 0)).unwrap();
        let (theirs, their_file) = (table.clone(), file.clone());
        let (tell, told) = std::sync::mpsc::channel();
        let waiter = std::thread::spawn(move || {
            tell.send(sched::current()).unwrap();
            theirs.set(&their_file, write(B, 0))
        });
        let task = told.recv().unwrap();
        until_waiting(&table, 1);
        task.interrupt();
        assert_eq!(waiter.join().unwrap(), Err(Errno::EINTR));
        assert!(table.tables.lock().waits.is_empty());
    }

    #[test]
    fn locks_of_a_description_go_with_its_last_reference() {
        let (table, file) = (Arc::new(LockTable::new()), file());
        let owner = Owner::File(Arc::as_ptr(&file).addr());
        table.keep_with(&file);
        table.try_set(&file, write(owner, 0)).unwrap();
        let other = file.clone();
        drop(file);
        assert_eq!(table.tables.lock().files.len(), 1);
        drop(other);
        assert!(table.tables.lock().files.is_empty());
    }
}
