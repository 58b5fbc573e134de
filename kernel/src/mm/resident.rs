//! The pages that are in memory now, and the page table that shows them.
//!
//! Its lock is a leaf: the page cache takes pages of a file away from here with a folio locked or from an allocation that must not
//! sleep, when the mmap lock is out of reach. Pages are *added* with the mmap lock held only, so that who holds it sees
//! borrowed pages go at any moment, but none come.
use super::PAGE;
use super::origins::{Origins, Run};
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use base::memory::{alloc_user_page, may_allocate, room_for_programs};
use base::sync::{SpinGuard, SpinLock};
use base::{Errno, Page, Result};
use core::ops::Range;
use hal::user::{BATCH, Batch, PageTable, Prot};

/// Pages that a fork shares under one hold of the lock.
const FORK_BATCH: usize = 64;

/// Whose page it is that a user address shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// The address space's own, or a kernel object's that user code may write: mapped with the area's protection.
    Owned,
    /// As [`Origin::Owned`], but since a fork perhaps another address space's too: never writable, a store makes it its own again.
    Forked,
    /// The page cache's, mapped for the file area of this number. In a private area it is never writable: a store copies it first. In a
    /// shared one a fault makes it writable, and the page cache takes that back.
    Borrowed(u64),
    /// A frame of a file that lives in memory, shown by the file area of this number with the area's protection. The file takes it back.
    Shared(u64),
}

/// The resident pages of one address space.
///
/// # Invariants
/// * a page is in the page table exactly if it is in `origins`;
/// * a borrowed page becomes writable in the page table by [`Resident::put_writable`] alone: with its folio locked and marked dirty.
pub(super) struct Resident {
    table: PageTable,
    /// Every page in the page table. Ranges are taken down in time proportional to what is there, not to their size.
    origins: SpinLock<Origins>,
}

impl Resident {
    /// No pages. Errors: `ENOMEM`.
    pub fn new() -> Result<Resident> {
        let table = PageTable::new().ok_or(Errno::ENOMEM)?;
        Ok(Resident { table, origins: SpinLock::new(Origins::default()) })
    }

    /// Makes the page table the one of the current task.
    pub fn activate(&self) {
        self.table.activate();
    }

    /// How many pages there are.
    pub fn len(&self) -> usize {
        self.origins.lock().len()
    }
    /// How many there are that only the end of the address space, or of others that share them, makes free.
    pub fn own_len(&self) -> usize {
        self.origins.lock().range(0..u64::MAX).filter(|(_, origin)| !matches!(origin, Origin::Borrowed(_))).count()
    }

    /// Whose page is at `va`, if there is one.
    pub fn origin(&self, va: u64) -> Option<Origin> {
        self.origins.lock().get(va)
    }

    /// The page at `va` and whose it is; the handle keeps the frame.
    pub fn page(&self, va: u64) -> Option<(Page, Origin)> {
        let origins = self.origins.lock();
        let origin = origins.get(va)?;
        self.table.query(va).map(|mapped| (mapped.page, origin))
    }

    /// Puts `page` at `va`, where nothing is. The mmap lock is held. Errors: `ENOMEM`.
    pub fn put(&self, va: u64, page: Page, origin: Origin, prot: Prot) -> Result<()> {
        may_allocate()?;
        let mut origins = self.origins.lock();
        self.table.map(va, page, visible(prot, origin)).map_err(|()| Errno::ENOMEM)?;
        origins.insert(va, origin);
        Ok(())
    }

    /// For pages of `origin` that are put one after the other where nothing is. The mmap lock is held. While the value lives the lock is.
    pub fn filler(&self, origin: Origin, prot: Prot) -> Filler<'_> {
        Filler {
            origins: self.origins.lock(),
            table: self.table.batch(),
            origin,
            prot: visible(prot, origin),
            area_prot: prot,
            put: Run::default(),
        }
    }

    /// Puts `page`, borrowed for file area `area`, at `va` for stores, or gives it the right to stores where it is already. Its folio
    /// is locked and dirty; the mmap lock is held. Errors: `ENOMEM`.
    pub fn put_writable(&self, va: u64, page: Page, area: u64, prot: Prot) -> Result<()> {
        may_allocate()?;
        let mut origins = self.origins.lock();
        if origins.get(va).is_some() {
            // It can only be this page: whoever takes a folio away unmaps it before, with the lock that is held.
            self.table.protect(va, prot);
            return Ok(());
        }
        self.table.map(va, page, prot).map_err(|()| Errno::ENOMEM)?;
        origins.insert(va, Origin::Borrowed(area));
        Ok(())
    }

    /// The page at `va` that a fork left shared is this address space's alone again, if no other refers to it any more: then it is given
    /// the area's protection, and nothing has to be copied. The mmap lock is held.
    pub fn own_again(&self, va: u64, prot: Prot) -> bool {
        let mut origins = self.origins.lock();
        if origins.get(va) != Some(Origin::Forked) {
            return false;
        }
        // One count is the page table's, one this look's. With this lock held nobody else can come by one through this address space, and
        // no other address space has the page.
        let alone = self.table.query(va).is_some_and(|mapped| mapped.page.ref_count() == 2);
        if alone {
            origins.insert(va, Origin::Owned);
            self.table.protect(va, visible(prot, Origin::Owned));
        }
        alone
    }

    /// Shows the pages of `range`, an area of protection `prot`, in `child` too: neither can store to them without a copy then. Pages that
    /// are borrowed are left out, because the child can borrow them itself. A page that somebody else holds besides, which may be a
    /// device that is about to store to it, stays where it is, and the child gets a copy. Both mmap locks are held. Errors: `ENOMEM`.
    pub fn share_with(&self, child: &Resident, range: Range<u64>, prot: Prot) -> Result<()> {
        let (mut from, mut spare) = (range.start, None);
        while from < range.end {
            let wants_spare = self.share_some(child, &mut from, range.end, (prot, &mut spare))?;
            // With the lock dropped, since reclaim takes it.
            if from < range.end {
                room_for_programs()?;
            }
            if wants_spare {
                spare = Some(alloc_user_page()?);
            }
        }
        Ok(())
    }

    /// Shares up to [`FORK_BATCH`] pages in `[from, end)` and moves `from` behind them. True: the page at `from` needs a spare one.
    fn share_some(
        &self,
        child: &Resident,
        from: &mut u64,
        end: u64,
        (prot, spare): (Prot, &mut Option<Page>),
    ) -> Result<bool> {
        let mut origins = self.origins.lock();
        // Ends before the lock is let go, errors or not: then no CPU stores to what is marked as shared.
        let mut table = self.table.batch();
        let mut filler = child.filler(Origin::Forked, prot);
        let pages: ArrayVec<(u64, Origin), FORK_BATCH> = origins.range(*from..end).take(FORK_BATCH).collect();
        *from = pages.last().filter(|_| pages.is_full()).map_or(end, |(va, _)| va + PAGE);
        for (va, origin) in pages {
            if !share_page((&mut origins, &mut table), (va, origin), &mut filler, spare)? {
                *from = va;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Moves the pages of `range` that are the address space's own `delta` bytes further, where nothing is. Those of files were taken
    /// out before. The mmap lock is held. Errors: `ENOMEM`: everything is where it was.
    pub fn move_pages(&self, range: Range<u64>, delta: i64, prot: Prot) -> Result<()> {
        let mut from = range.start;
        let failed = loop {
            let mut origins = self.origins.lock();
            let Some((va, origin)) = origins.range(from..range.end).next() else { return Ok(()) };
            let to = va.wrapping_add_signed(delta);
            if let Err(error) = self.move_page(&mut origins, (va, to), origin, prot) {
                break (va, error);
            }
            from = va + PAGE;
        };
        // Back again: the page tables of the old place are still there, so that this cannot fail.
        let mut origins = self.origins.lock();
        let moved = range.start.wrapping_add_signed(delta)..failed.0.wrapping_add_signed(delta);
        let back: Vec<(u64, Origin)> = origins.range(moved).collect();
        for (va, origin) in back {
            self.move_page(&mut origins, (va, va.wrapping_add_signed(-delta)), origin, prot)?;
        }
        Err(failed.1)
    }

    fn move_page(&self, origins: &mut Origins, (from, to): (u64, u64), origin: Origin, prot: Prot) -> Result<()> {
        let Some(mapped) = self.table.query(from) else { return Ok(()) };
        // Until the old place is gone both show the frame: a store of another thread is not lost.
        self.table.map(to, mapped.page, visible(prot, origin)).map_err(|()| Errno::ENOMEM)?;
        drop(self.table.unmap(from));
        origins.remove(from);
        origins.insert(to, origin);
        Ok(())
    }

    /// Replaces the page at `va`, borrowed or shared since a fork, by a copy of it in `copy` (MM-8). False if it is no longer there. The
    /// mmap lock is held. Errors: `ENOMEM`.
    pub fn break_cow(&self, va: u64, copy: Page, prot: Prot) -> Result<bool> {
        let mut origins = self.origins.lock();
        let Some(Origin::Borrowed(_) | Origin::Forked) = origins.get(va) else { return Ok(false) };
        let Some(old) = self.table.unmap(va) else { return Ok(false) };
        copy.copy_from(0, &old, 0, PAGE as usize);
        if self.table.map(va, copy, visible(prot, Origin::Owned)).is_err() {
            origins.remove(va);
            return Err(Errno::ENOMEM);
        }
        origins.insert(va, Origin::Owned);
        Ok(true)
    }

    /// Gives the pages of `range` what an area of protection `prot` allows them. Borrowed ones cannot be stored to then: the next store
    /// faults. That something was stored to them stays noted in the page table.
    pub fn protect(&self, range: Range<u64>, prot: Prot) {
        let origins = self.origins.lock();
        let mut rights = self.table.batch();
        for (va, origin) in origins.range(range) {
            rights.protect(va, visible(prot, origin));
        }
    }

    /// As [`Self::protect`], of the page at `va` alone.
    pub fn protect_page(&self, va: u64, prot: Prot) {
        let origins = self.origins.lock();
        if let Some(origin) = origins.get(va) {
            self.table.protect(va, visible(prot, origin));
        }
    }

    /// Takes the pages of `range` away. The lock is let go now and then. `stored` is called, without the lock, for each borrowed page
    /// that something was stored to since its folio was last written: with its address and itself.
    pub fn drop_pages(&self, range: Range<u64>, stored: impl FnMut(u64, Page)) {
        self.drop_meant(range, |_| true, stored);
    }

    fn drop_meant(&self, range: Range<u64>, meant: impl Fn(Origin) -> bool, mut stored: impl FnMut(u64, Page)) {
        loop {
            let mut told: ArrayVec<(u64, Page), BATCH> = ArrayVec::new();
            let more = self.drop_some(range.clone(), &meant, |va, page| told.push((va, page)));
            told.into_iter().for_each(|(va, page)| stored(va, page));
            if !more {
                break;
            }
        }
    }

    /// Takes those pages of `range` away that are a file's. `stored` as [`Self::drop_pages`].
    pub fn drop_file_pages(&self, range: Range<u64>, stored: impl FnMut(u64, Page)) {
        self.drop_meant(range, |origin| matches!(origin, Origin::Borrowed(_) | Origin::Shared(_)), stored);
    }

    /// Takes the pages of `range` away that are shown for file area `area`; says whether something was stored to any of them. Any
    /// task context; sleeps nowhere.
    pub fn drop_borrowed(&self, range: Range<u64>, area: u64) -> bool {
        let mut stored = false;
        let meant = |origin| origin == Origin::Borrowed(area) || origin == Origin::Shared(area);
        while self.drop_some(range.clone(), meant, |_, _| stored = true) {}
        stored
    }

    /// Takes up to [`BATCH`] pages of `range` away whose origin is `meant`; says whether there may be more. Calls `stored` for each
    /// borrowed one that something was stored to; no CPU stores to it any more then (MM-2).
    fn drop_some(&self, range: Range<u64>, meant: impl Fn(Origin) -> bool, mut stored: impl FnMut(u64, Page)) -> bool {
        let mut origins = self.origins.lock();
        let found = origins.range(range).filter(|(_, origin)| meant(*origin)).take(BATCH);
        let (vas, whose): (ArrayVec<u64, BATCH>, ArrayVec<Origin, BATCH>) = found.unzip();
        let mut looked_at = vas.iter().zip(whose);
        self.table.unmap_many(&vas, |va, page, dirty| {
            let origin = looked_at.find(|(other, _)| **other == va).map(|(_, origin)| origin);
            if dirty && matches!(origin, Some(Origin::Borrowed(_))) {
                stored(va, page);
            }
        });
        origins.remove_all(vas.iter().copied());
        vas.is_full()
    }

    /// The page at `va`, if it is borrowed for file area `area`, loses the right to stores; says whether something was stored to it. Any
    /// task context; sleeps nowhere.
    pub fn write_protect(&self, va: u64, area: u64) -> bool {
        let origins = self.origins.lock();
        // No store reaches the page once the right to it is gone from the page table and from what the CPUs have cached of it. Only
        // then does the mark tell whether there was one (MM-2): the other order would miss a store in between.
        origins.get(va) == Some(Origin::Borrowed(area)) && self.table.stop_stores(va)
    }
}

/// Shares the page at `va` with the child that is filled. False: it needs `spare` for a copy.
fn share_page(
    (origins, table): (&mut Origins, &mut Batch),
    (va, origin): (u64, Origin),
    child: &mut Filler,
    spare: &mut Option<Page>,
) -> Result<bool> {
    let Some(mapped) = table.query(va).filter(|_| matches!(origin, Origin::Owned | Origin::Forked)) else {
        return Ok(true);
    };
    // One count is the page table's, one this look's. A third may be a device's that is about to store to the frame: it stays this
    // address space's own, or what the device stores would be lost to the next store here, which goes to a copy.
    if base::guard!("R71-fork", origin == Origin::Owned && mapped.page.ref_count() > 2) {
        let Some(copy) = spare.take() else { return Ok(false) };
        copy.copy_from(0, &mapped.page, 0, PAGE as usize);
        return child.put_owned(va, copy).map(|()| true);
    }
    child.put(va, mapped.page)?;
    if origin == Origin::Owned {
        origins.insert(va, Origin::Forked);
        table.protect(va, child.prot);
    }
    Ok(true)
}

/// See [`Resident::filler`].
pub(super) struct Filler<'a> {
    origins: SpinGuard<'a, Origins>,
    table: Batch<'a>,
    origin: Origin,
    /// What user code may do with the pages.
    prot: Prot,
    /// What the area allows.
    area_prot: Prot,
    /// Pages that are in the table and not yet among the origins, which nobody sees.
    put: Run,
}

impl Filler<'_> {
    /// Puts `page` at `va`. Errors: `ENOMEM`, also where something is already.
    pub fn put(&mut self, va: u64, page: Page) -> Result<()> {
        may_allocate()?;
        self.table.map(va, page, self.prot).map_err(|()| Errno::ENOMEM)?;
        if let Some(run) = self.put.add(va) {
            self.origins.insert_run(&run, self.origin);
        }
        Ok(())
    }

    /// Puts `page` at `va` as the address space's own. Errors: as [`Self::put`].
    fn put_owned(&mut self, va: u64, page: Page) -> Result<()> {
        may_allocate()?;
        let prot = visible(self.area_prot, Origin::Owned);
        self.table.map(va, page, prot).map_err(|()| Errno::ENOMEM)?;
        self.origins.insert(va, Origin::Owned);
        Ok(())
    }
}

impl Drop for Filler<'_> {
    fn drop(&mut self) {
        self.origins.insert_run(&self.put, self.origin);
    }
}

/// The protection a page of `origin` gets in an area of protection `prot`.
fn visible(prot: Prot, origin: Origin) -> Prot {
    let stores = matches!(origin, Origin::Owned | Origin::Shared(_));
    Prot { write: prot.write && stores, ..prot }
}
