//! Demand paging: what happens when user code, or the kernel on its behalf, touches a page that is not there.
//!
//! ```text
//!   resident, owned      the page table is behind (mprotect gave rights): give the page the area's protection
//!   resident, borrowed   a load: as above; a store: copy the page, own the copy (copy on write)
//!   absent, anonymous    a zeroed page
//!   absent, object       the kernel object's page
//!   absent, file         drop the lock, fetch the page, take the lock, look the area up again
//! ```
use super::address_space::{AddressSpace, Map, Origin};
use super::file_page::{self, FilePage};
use super::vma::{Backing, Vma};
use super::{PAGE, page_floor};
use base::memory::alloc_page_zeroed;
use base::sync::Arc;
use base::{Errno, Page, Result};
use fs::vfs::File;

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
    /// The file ends before the page, or it could not be read (MM-6): SIGBUS.
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

/// What to do after a look at the maps.
enum Step {
    Done,
    /// Fetch this page of the file with the lock dropped.
    Fetch(Arc<File>, u64),
}

impl AddressSpace {
    /// Makes the page that holds `addr` accessible. Task context; may sleep. No lock of rank `Mmap` or above is held.
    pub fn fault(&self, addr: u64, access: Access) -> core::result::Result<(), FaultError> {
        let page = page_floor(addr);
        let mut fetched = None;
        loop {
            let step = self.fault_locked(page, access, fetched.take());
            match step? {
                Step::Done => return Ok(()),
                // The area may change meanwhile: the next round looks it up again and refuses a page that no longer fits.
                Step::Fetch(file, pos) => {
                    let content = file_page::fetch(&file, pos)?;
                    fetched = Some((file, pos, content));
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
    /// written is the address space's own: copy on write is broken first. Task context; may sleep. Errors: `EFAULT`, `ENOMEM`.
    pub fn pin_page(&self, addr: u64, access: Access) -> Result<Page> {
        loop {
            self.fault(addr, access).map_err(FaultError::errno)?;
            // Another thread may unmap it in between: then the next fault tells.
            let map = self.lock();
            let fits = map
                .resident
                .get(&page_floor(addr))
                .is_some_and(|&origin| access != Access::Write || origin == Origin::Owned);
            if fits && let Some(page) = self.page_at(page_floor(addr)) {
                return Ok(page);
            }
        }
    }

    fn fault_locked(
        &self,
        va: u64,
        access: Access,
        fetched: Option<(Arc<File>, u64, FilePage)>,
    ) -> core::result::Result<Step, FaultError> {
        let mut map = self.lock();
        let vma = map.vmas.find(va).ok_or(FaultError::NoArea)?.clone();
        let allowed = match access {
            Access::Read => vma.prot.read,
            Access::Write => vma.prot.write,
            Access::Exec => vma.prot.exec,
        };
        if !allowed {
            return Err(FaultError::Denied);
        }
        match map.resident.get(&va).copied() {
            Some(Origin::Borrowed) if access == Access::Write => self.copy_on_write(&mut map, va, &vma)?,
            Some(origin) => self.set_prot(va, origin, vma.prot),
            None => return self.fill(&mut map, va, access, &vma, fetched),
        }
        Ok(Step::Done)
    }

    /// Puts a page where there is none.
    fn fill(
        &self,
        map: &mut Map,
        va: u64,
        access: Access,
        vma: &Vma,
        fetched: Option<(Arc<File>, u64, FilePage)>,
    ) -> core::result::Result<Step, FaultError> {
        let delta = va - vma.range.start;
        let (page, origin) = match &vma.backing {
            Backing::Anonymous => (alloc_page_zeroed().map_err(|_| FaultError::NoMemory)?, Origin::Owned),
            Backing::Pages { pages, first } => {
                let page = pages.get(first + (delta / PAGE) as usize).ok_or(FaultError::Bus)?;
                (page.clone(), Origin::Owned)
            }
            Backing::File { file, offset } => {
                let pos = offset.checked_add(delta).ok_or(FaultError::Bus)?;
                match fetched {
                    Some((from, at, content)) if Arc::ptr_eq(&from, file) && at == pos => match content {
                        FilePage::Copy(page) => (page, Origin::Owned),
                        FilePage::Cached(page) => (page, Origin::Borrowed),
                    },
                    _ => return Ok(Step::Fetch(file.clone(), pos)),
                }
            }
        };
        self.put_page(map, va, page, origin, vma.prot).map_err(|_| FaultError::NoMemory)?;
        if origin == Origin::Borrowed && access == Access::Write {
            self.copy_on_write(map, va, vma)?;
        }
        Ok(Step::Done)
    }

    /// Replaces a borrowed page by a copy.
    fn copy_on_write(&self, map: &mut Map, va: u64, vma: &Vma) -> core::result::Result<(), FaultError> {
        let old = self.page_at(va).ok_or(FaultError::Bus)?;
        let new = alloc_page_zeroed().map_err(|_| FaultError::NoMemory)?;
        new.copy_from(0, &old, 0, PAGE as usize);
        self.drop_pages(map, va..va + PAGE);
        self.put_page(map, va, new, Origin::Owned, vma.prot).map_err(|_| FaultError::NoMemory)
    }
}
