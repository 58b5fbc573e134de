//! System V shared memory: segments by id and key, and who has them attached.
//!
//! A segment is a file in memory that no directory has. What shmat maps is an area like any other of a file; its [`Attachment`] is in
//! the area, goes to a child with the copy of the area, and goes with the last piece of it: shmdt, munmap, execve and exit need
//! nothing of their own. A segment that was removed (`IPC_RMID`) lives until the last attachment goes.
//!
//! Sizes are promised up to [`Segments::new`]'s limit: unlike the memory of a process, a segment stays when whoever filled it is killed.
use super::vma::{Backing, Vma};
use super::{AddressSpace, MapRequest, PAGE, Placement, page_ceil, page_floor};
use crate::ipc::{IPC_CREAT, Object, Owner, Registry};
use alloc::vec::Vec;
use base::sync::{Arc, SpinLock};
use base::{Errno, Result};
use fs::caller::Caller;
use fs::vfs::{File, Inode, OpenFlags, Timespec};
use hal::user::Prot;

/// What is known of a segment besides its content.
#[derive(Clone, Copy, Default, Debug)]
#[allow(missing_docs)]
pub struct SegmentState {
    pub owner: Owner,
    /// It goes with its last attachment, and has no key any more.
    pub removed: bool,
    pub attachments: u64,
    /// Times of the last attach, detach and change, in seconds; 0: never.
    pub attached_s: i64,
    pub detached_s: i64,
    pub changed_s: i64,
    pub creator_pid: u32,
    /// Of the last attach or detach by call.
    pub last_pid: u32,
}

/// A segment.
pub struct Segment {
    /// Its id.
    pub id: u32,
    key: i32,
    /// Bytes asked for.
    pub size: u64,
    /// Open for reading and writing, and for reading alone.
    files: [Arc<File>; 2],
    state: SpinLock<SegmentState>,
}

impl Segment {
    /// What is known of it now.
    pub fn state(&self) -> SegmentState {
        *self.state.lock()
    }
    /// Frames that it has.
    pub fn frames(&self) -> u64 {
        let inode = self.files[0].inode.as_ref();
        inode.and_then(|inode| inode.ops().frames()).map_or(0, |frames| frames.count())
    }
    fn pages(&self) -> u64 {
        self.size.div_ceil(PAGE)
    }
}

impl Object for Segment {
    fn key(&self) -> Option<i32> {
        (!self.state.lock().removed).then_some(self.key)
    }
}

#[derive(Default)]
struct Table {
    segments: Registry<Segment>,
    /// Pages of all segments together.
    pages: u64,
}

/// The segments of a system.
pub struct Segments {
    /// The file system of their memory.
    root: Arc<Inode>,
    max_pages: u64,
    table: SpinLock<Table>,
}

/// What shmget asks for.
#[derive(Clone, Copy)]
pub struct SegmentRequest {
    /// The key; 0: none.
    pub key: i32,
    /// Bytes.
    pub size: u64,
    /// `IPC_CREAT`, `IPC_EXCL` and permission bits.
    pub flags: u32,
}

impl Segments {
    /// No segments yet; their memory comes from the file system of `root`, and they may have `max_pages` pages together.
    pub fn new(root: Arc<Inode>, max_pages: u64) -> Arc<Segments> {
        Arc::new(Segments { root, max_pages, table: SpinLock::new(Table::default()) })
    }

    /// Pages that all segments may have together.
    pub fn max_pages(&self) -> u64 {
        self.max_pages
    }

    /// The segment of a key, or a new one (shmget). Errors: `ENOENT`, `EEXIST`, `EACCES`, `EINVAL` (size), `ENOSPC` (too many, or too
    /// much together), `ENOMEM`.
    pub fn get(&self, request: SegmentRequest, caller: &dyn Caller, pid: u32) -> Result<u32> {
        let SegmentRequest { key, size, flags } = request;
        let found = self.table.lock().segments.find(key, flags)?;
        if let Some(segment) = found {
            if size > segment.size {
                return Err(Errno::EINVAL);
            }
            let owner = segment.state().owner;
            return owner.check_flags(caller, flags).map(|()| segment.id);
        }
        self.create(request, caller, pid)
    }

    fn create(&self, request: SegmentRequest, caller: &dyn Caller, pid: u32) -> Result<u32> {
        base::memory::room_for_programs()?;
        let SegmentRequest { key, size, flags } = request;
        let len = page_ceil(size).filter(|&len| len > 0 && len / PAGE <= self.max_pages).ok_or(Errno::EINVAL)?;
        let file = fs::tmpfs::unnamed(&self.root, len, 0o600, caller)?;
        let inode = file.inode.clone().ok_or(Errno::EINVAL)?;
        let read_only = File::new(Some(inode.clone()), OpenFlags::empty(), inode.ops().open(&inode)?);
        let state = SegmentState {
            owner: Owner::new(caller, flags),
            changed_s: now_s(),
            creator_pid: pid,
            ..SegmentState::default()
        };
        let mut table = self.table.lock();
        if table.segments.find(key, IPC_CREAT)?.is_some() {
            // Another call was first.
            return Err(Errno::EEXIST);
        }
        if table.pages + len / PAGE > self.max_pages {
            return Err(Errno::ENOSPC);
        }
        let files = [file, read_only];
        let id = table.segments.insert(|id| Segment { id, key, size, files, state: SpinLock::new(state) })?;
        table.pages += len / PAGE;
        Ok(id)
    }

    fn find(&self, id: u32) -> Result<Arc<Segment>> {
        self.table.lock().segments.get(id).cloned()
    }

    /// The segment `id`, for who may read it. Errors: `EINVAL` (there is none), `EACCES`.
    pub fn readable(&self, id: u32, caller: &dyn Caller) -> Result<Arc<Segment>> {
        let segment = self.find(id)?;
        segment.state().owner.check(caller, 4).map(|()| segment)
    }

    /// All of them, in order of their ids.
    pub fn all(&self) -> Vec<Arc<Segment>> {
        self.table.lock().segments.all()
    }

    /// Gives the segment another owner and other permission bits (`IPC_SET`). Errors: `EINVAL`, `EPERM`.
    pub fn set(&self, id: u32, new: (u32, u32, u16), caller: &dyn Caller) -> Result<()> {
        let segment = self.find(id)?;
        let mut state = segment.state.lock();
        state.owner.set(new, caller)?;
        state.changed_s = now_s();
        Ok(())
    }

    /// Removes the segment: at once, or with its last attachment (`IPC_RMID`). Errors: `EINVAL`, `EPERM`.
    pub fn remove(&self, id: u32, caller: &dyn Caller) -> Result<()> {
        let segment = self.find(id)?;
        segment.state().owner.check_owner(caller)?;
        segment.state.lock().removed = true;
        self.drop_unused(&segment);
        Ok(())
    }

    /// A removed segment that nobody has attached goes.
    fn drop_unused(&self, segment: &Arc<Segment>) {
        let mut table = self.table.lock();
        let unused = {
            let state = segment.state.lock();
            state.removed && state.attachments == 0
        };
        let gone = if unused { table.segments.remove(segment.id) } else { None };
        table.pages -= gone.as_ref().map_or(0, |gone| gone.pages());
        drop(table);
        drop(gone);
    }

    /// Maps the segment `id` (shmat) for reading, and without `read_only` for writing. `exec` too. Errors: `EINVAL` (there is none, or the
    /// place is taken), `EACCES`, `ENOMEM`.
    pub fn attach(
        self: &Arc<Segments>,
        (mm, pid): (&AddressSpace, u32),
        id: u32,
        placement: Placement,
        (read_only, exec): (bool, bool),
        caller: &dyn Caller,
    ) -> Result<u64> {
        let attachment = {
            // With the table locked: a removal that comes first has taken the segment out, one that comes later sees the attachment.
            let table = self.table.lock();
            let segment = table.segments.get(id)?;
            segment.state().owner.check(caller, if read_only { 4 } else { 6 } | u16::from(exec))?;
            segment.state.lock().last_pid = pid;
            Attachment::new(self, segment)
        };
        let segment = attachment.segment.clone();
        let backing = Backing::File { file: segment.files[usize::from(read_only)].clone(), offset: 0 };
        let prot = Prot { read: true, write: !read_only, exec };
        let request = MapRequest { placement, len: segment.size, prot, shared: true, backing };
        mm.map_attached(request, Some(attachment)).map_err(|e| if e == Errno::EEXIST { Errno::EINVAL } else { e })
    }
}

/// One area that shows a segment.
pub struct Attachment {
    segments: Arc<Segments>,
    segment: Arc<Segment>,
}

impl Attachment {
    fn new(segments: &Arc<Segments>, segment: &Arc<Segment>) -> Attachment {
        let mut state = segment.state.lock();
        state.attachments += 1;
        state.attached_s = now_s();
        drop(state);
        Attachment { segments: segments.clone(), segment: segment.clone() }
    }
}

impl Clone for Attachment {
    fn clone(&self) -> Self {
        Attachment::new(&self.segments, &self.segment)
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let mut state = self.segment.state.lock();
        state.attachments -= 1;
        state.detached_s = now_s();
        drop(state);
        self.segments.drop_unused(&self.segment);
    }
}

impl AddressSpace {
    /// Unmaps what shmat mapped at `addr` (shmdt), all that is left of it. Errors: `EINVAL`.
    pub fn detach(&self, addr: u64, pid: u32) -> Result<()> {
        if addr != page_floor(addr) {
            return Err(Errno::EINVAL);
        }
        let mut map = self.lock();
        // Pieces of one attachment lie where the segment's begin would be at `addr`.
        let belongs = |vma: &Vma| match &vma.backing {
            Backing::File { offset, .. } => vma.range.start.checked_sub(addr) == Some(*offset),
            _ => false,
        };
        let segment_of = |vma: &Vma| {
            let area = vma.file_area.as_ref().filter(|_| belongs(vma))?;
            area.attachment().map(|attachment| attachment.segment.clone())
        };
        let segment = map.vmas.overlapping(addr..u64::MAX).find_map(segment_of).ok_or(Errno::EINVAL)?;
        let end = addr.saturating_add(segment.pages() * PAGE);
        let same = |vma: &&Vma| segment_of(vma).is_some_and(|other| Arc::ptr_eq(&other, &segment));
        let pieces: Vec<_> = map.vmas.overlapping(addr..end).filter(same).map(|vma| vma.range.clone()).collect();
        let removed: Vec<_> = pieces.into_iter().map_while(|piece| self.take_out(&mut map, piece).ok()).collect();
        segment.state.lock().last_pid = pid;
        drop(map);
        drop(removed);
        Ok(())
    }
}

fn now_s() -> i64 {
    Timespec::now().sec
}
