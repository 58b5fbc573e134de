//! Demand paging: what happens when user code, or the kernel on its behalf, touches a page that is not there.
//!
//! ```text
//!   resident, owned       the page table is behind (mprotect gave rights): give the page the area's protection
//!   resident, borrowed    a load: as above; a store: copy the page, own the copy (copy on write); to a shared area: as if absent
//!   resident, forked      a load: as above; a store: own it again if it is shared with nobody any more, else own a copy
//!   absent, anonymous     a zeroed page
//!   absent, object        the kernel object's page
//!   absent, cached file   under the folio lock: a load borrows the folio's page, a store copies it.
//!                         No valid folio: drop the mmap lock, fill it, look again. A load also borrows those around it that are cached
//!   a store, shared file  drop the mmap lock, prepare it, look again; under the folio lock the folio becomes dirty and the page writable
//!   absent, memory file   shared: the frame itself, made if it is a hole, under the lock of the file's frames
//!   absent, other file    drop the mmap lock, read a copy, look again
//! ```
use super::address_space::AddressSpace;
use super::file_map::FileArea;
use super::file_page::{self, Fetched, FilePage, HeldFile};
use super::resident::Origin;
use super::vma::{Backing, Vma};
use super::{PAGE, page_floor};
use base::memory::alloc_user_page;
use base::{Errno, Page, Result};
use fs::iomap::{FolioLookup, StorePermit, with_cached_folios, with_valid_folio};
use fs::page_cache::Folio;
use fs::vfs::{Inode, MemoryFrames};

/// A load from a file maps an aligned run of this many bytes, as far as it is cached and in the area: its neighbours need no fault.
const AROUND: u64 = 16 * PAGE;

/// How memory is touched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Access {
    Read,
    Write,
    Exec,
}

/// Why a page cannot be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultError {
    /// No area at the address: SIGSEGV.
    NoArea,
    /// The area does not allow the access: SIGSEGV.
    Denied,
    /// The file ends before the page (MM-6), it could not be read, or there is no room for what is stored (MM-9): SIGBUS.
    Bus,
    /// No memory: the program is killed, with a line on the log.
    NoMemory,
}

impl FaultError {
    /// The error a system call returns for it.
    pub fn errno(self) -> Errno {
        match self {
            FaultError::NoMemory => Errno::ENOMEM,
            FaultError::NoArea | FaultError::Denied | FaultError::Bus => Errno::EFAULT,
        }
    }
}

type FaultResult<T> = core::result::Result<T, FaultError>;

/// What to do after a look at the maps.
enum Step {
    Done,
    /// Fetch this page of the file with the lock dropped; for a store to the file itself, prepare that.
    Fetch(HeldFile, u64, bool),
}

impl AddressSpace {
    /// Makes the page that holds `addr` accessible. Task context; may sleep. No lock of rank `Mmap` or above is held.
    pub fn fault(&self, addr: u64, access: Access) -> FaultResult<()> {
        let page = page_floor(addr);
        // Let go with no lock held: it may be the last reference of its file.
        let mut fetched: Option<Fetched> = None;
        loop {
            match self.fault_locked(page, access, fetched.as_ref())? {
                Step::Done => {
                    fetched.into_iter().for_each(Fetched::end);
                    return Ok(());
                }
                // The area may change meanwhile: the next round looks it up again and refuses a page that no longer fits.
                Step::Fetch(file, pos, store) => {
                    // A permit that did not do goes first: who waits with one keeps a freeze waiting that the next one waits for.
                    drop(fetched.take());
                    fetched = Some(file_page::fetch(file, pos, store)?);
                }
            }
        }
    }

    /// Makes the bytes from `addr` accessible, at most `len`; returns how many are. Task context; may sleep.
    pub fn fault_in(&self, addr: u64, len: usize, access: Access) -> usize {
        let Some(end) = addr.checked_add(len as u64) else { return 0 };
        let mut at = addr;
        while at < end {
            if self.fault(at, access).is_err() {
                break;
            }
            at = page_floor(at) + PAGE;
        }
        (at.min(end) - addr) as usize
    }

    /// The frame behind `addr`, made present for `access`. The caller's handle keeps the frame after an unmap. A frame to be
    /// written is the address space's own or that of memory which is shared: copy on write is broken first, and a page of a file in a shared mapping is refused, because
    /// what a device stores to it later would neither wait nor be marked dirty. Task context; may sleep. Errors: `EFAULT`,
    /// `ENOMEM`, `EOPNOTSUPP`.
    pub fn pin_page(&self, addr: u64, access: Access) -> Result<Page> {
        loop {
            let lent = |vma: &Vma| vma.prot.write && vma.stores_to_file();
            if access == Access::Write && self.lock().vmas.find(addr).is_some_and(lent) {
                return Err(Errno::EOPNOTSUPP);
            }
            self.fault(addr, access).map_err(FaultError::errno)?;
            // Another thread may unmap it in between: then the next fault tells.
            let found = self.resident().page(page_floor(addr));
            if let Some((page, origin)) = found
                && (access != Access::Write || matches!(origin, Origin::Owned | Origin::Shared(_)))
            {
                return Ok(page);
            }
        }
    }

    fn fault_locked(&self, va: u64, access: Access, fetched: Option<&Fetched>) -> FaultResult<Step> {
        let map = self.lock();
        let vma = map.vmas.find(va).ok_or(FaultError::NoArea)?;
        let allowed = match access {
            Access::Read => vma.prot.read,
            Access::Write => vma.prot.write,
            Access::Exec => vma.prot.exec,
        };
        if !allowed {
            return Err(FaultError::Denied);
        }
        match self.resident().origin(va) {
            None => {}
            Some(Origin::Borrowed(_)) if access == Access::Write && vma.stores_to_file() => {}
            Some(Origin::Forked) if access == Access::Write && self.resident().own_again(va, vma.prot) => {
                return Ok(Step::Done);
            }
            Some(Origin::Borrowed(_) | Origin::Forked) if access == Access::Write => {
                let copy = new_page()?;
                if self.resident().break_cow(va, copy, vma.prot).map_err(no_memory)? {
                    return Ok(Step::Done);
                }
                // A truncate has taken it away this moment.
            }
            Some(_) => {
                self.resident().protect_page(va, vma.prot);
                return Ok(Step::Done);
            }
        }
        self.fill(va, access, vma, fetched)
    }

    /// Puts a page where there is none. The mmap lock is held.
    fn fill(&self, va: u64, access: Access, vma: &Vma, fetched: Option<&Fetched>) -> FaultResult<Step> {
        let delta = va - vma.range.start;
        let page = match (&vma.backing, &vma.file_area) {
            (Backing::Anonymous, _) => new_page()?,
            (Backing::Pages { pages, first }, _) => {
                pages.get(first + (delta / PAGE) as usize).ok_or(FaultError::Bus)?.clone()
            }
            (Backing::File { file, offset }, area) => {
                let pos = offset.checked_add(delta).ok_or(FaultError::Bus)?;
                if let Some(frames) = area.as_ref().and_then(|area| area.frames()) {
                    return self.map_frame(va, vma, frames, pos / PAGE);
                }
                if let Some(area) = area {
                    let store = access == Access::Write && vma.stores_to_file();
                    let done = if store {
                        let permit = fetched.and_then(|fetched| fetched.permit(file, pos));
                        permit.map_or(Ok(false), |permit| self.map_writable(va, vma, area, permit))?
                    } else {
                        self.map_folio(va, access, vma, area, pos / PAGE)?
                    };
                    return Ok(if done { Step::Done } else { Step::Fetch(HeldFile::new(file), pos, store) });
                }
                match fetched {
                    Some(Fetched { file: from, pos: at, page: FilePage::Copy(page) })
                        if from.is(file) && *at == pos =>
                    {
                        page.clone()
                    }
                    _ => return Ok(Step::Fetch(HeldFile::new(file), pos, false)),
                }
            }
        };
        self.resident().put(va, page, Origin::Owned, vma.prot).map_err(no_memory)?;
        Ok(Step::Done)
    }

    /// Maps the folio at `index`: its page itself, or for a store a copy (MM-8). False: there is no valid folio. The mmap lock is held;
    /// the invalidate lock, shared, and the folio lock are taken, and nothing else (MM-4).
    fn map_folio(&self, va: u64, access: Access, vma: &Vma, area: &FileArea, index: u64) -> FaultResult<bool> {
        let inode = area.inode().ok_or(FaultError::Bus)?;
        // Before the folio is locked, so that reclaim may take any.
        let copy = if access == Access::Write { Some(new_page()?) } else { None };
        let mapped = with_valid_folio(inode, index, |folio| match copy {
            Some(copy) => {
                copy.copy_from(0, folio.page(), 0, PAGE as usize);
                self.resident().put(va, copy, Origin::Owned, vma.prot)
            }
            None => self.resident().put(va, folio.page().clone(), Origin::Borrowed(area.number()), vma.prot),
        });
        match mapped {
            FolioLookup::Valid(put) => put.map_err(no_memory)?,
            FolioLookup::Missing => return Ok(false),
            FolioLookup::PastEnd => return Err(FaultError::Bus),
        }
        if access != Access::Write {
            self.map_around(va, vma, area, inode);
        }
        Ok(true)
    }

    /// Maps what is cached around `va`, for loads. That it is there is good luck: whatever stands in the way is left out. The mmap lock is
    /// held; locks as [`Self::map_folio`].
    fn map_around(&self, va: u64, vma: &Vma, area: &FileArea, inode: &Inode) {
        let run = va & !(AROUND - 1);
        let (start, end) = (run.max(vma.range.start), (run + AROUND).min(vma.range.end));
        let first = area.index(start);
        let mut filler = None;
        with_cached_folios(inode, first..first + (end - start) / PAGE, |folio| {
            // Only here, where nothing sleeps any more.
            let filler =
                filler.get_or_insert_with(|| self.resident().filler(Origin::Borrowed(area.number()), vma.prot));
            // What is there already stays; without memory it is left at that.
            let _ = filler.put(start + (folio.index() - first) * PAGE, folio.page().clone());
        });
    }

    /// Maps the frame at `index` of a file that lives in memory. The mmap lock is held; the spin lock of the frames is taken.
    fn map_frame(&self, va: u64, vma: &Vma, frames: &dyn MemoryFrames, index: u64) -> FaultResult<Step> {
        let area = vma.file_area.as_ref().ok_or(FaultError::Bus)?;
        let inode = area.inode().ok_or(FaultError::Bus)?;
        let origin = Origin::Shared(area.number());
        let mut put = |page: &Page| self.resident().put(va, page.clone(), origin, vma.prot);
        match frames.with_frame(inode, index, &mut put) {
            Ok(true) => Ok(Step::Done),
            Ok(false) | Err(Errno::ENOSPC) => Err(FaultError::Bus),
            Err(_) => Err(FaultError::NoMemory),
        }
    }

    /// Makes the page of a file writable (STB-4). False: it has to be prepared again. The mmap lock is held; locks as [`Self::map_folio`].
    fn map_writable(&self, va: u64, vma: &Vma, area: &FileArea, permit: &StorePermit) -> FaultResult<bool> {
        let put = |folio: &Folio| self.resident().put_writable(va, folio.page().clone(), area.number(), vma.prot);
        match permit.apply(put) {
            FolioLookup::Valid(put) => put.map(|()| true).map_err(no_memory),
            FolioLookup::Missing => Ok(false),
            FolioLookup::PastEnd => Err(FaultError::Bus),
        }
    }
}

fn new_page() -> FaultResult<Page> {
    alloc_user_page().map_err(no_memory)
}

fn no_memory(_: Errno) -> FaultError {
    FaultError::NoMemory
}
