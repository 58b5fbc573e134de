//! The list of inodes that lost their last name, or are being truncated, before their blocks are free: so that a mount after a
//! power cut can finish the work (CRA-2).
//!
//! On the disk it is a chain: the superblock names the first inode, `i_dtime` of each the next. In memory it is kept as a
//! whole, because an inode leaves it from anywhere.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::inode::{self, Ext4Inode};
use super::txn::{Credits, Handle};
use super::{Ext4Fs, raw_inode, truncate};
use crate::vfs::{Inode, SuperBlock, SyncKind, iput};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use base::sync::atomic::{AtomicU32, Ordering};
use base::sync::{Arc, Mutex, Rank};
use base::{Errno, Result};

/// A member of the list.
struct Orphan {
    ino: u32,
    seed: u32,
    extra_isize: u16,
    /// The inode's own copy of the link.
    next: Arc<AtomicU32>,
}

/// The list, its last member first: new ones come to the end, which is the head on the disk.
pub struct Orphans(Mutex<Vec<Orphan>>);

impl Orphans {
    pub(super) fn new() -> Self {
        Orphans(Mutex::new(Rank::Alloc, Vec::new()))
    }
}

/// Puts an inode on the on-disk list; nothing if it is there. The caller ends its change with `Ext4Inode::store`. Takes the
/// lock of the list (`Rank::Alloc`); no metadata block lock held. Errors: `EIO`.
pub fn add(handle: &mut Handle<'_>, inode: &Inode) -> Result<()> {
    let own = Ext4Inode::of(inode);
    let mut list = own.fs.orphans.0.lock();
    if list.iter().any(|o| o.ino == own.ino) {
        return Ok(());
    }
    let head = list.last().map_or(0, |o| o.ino);
    own.fs.update_super(handle, |raw| raw.last_orphan = own.ino.into())?;
    let orphan = own.as_orphan();
    set_next(&own.fs, handle, &orphan, head)?;
    list.push(orphan);
    Ok(())
}

/// Takes it off; nothing if it is not there. The caller ends its change with `Ext4Inode::store`. Locks as [`add`]. Errors: `EIO`.
pub fn remove(handle: &mut Handle<'_>, inode: &Inode) -> Result<()> {
    let own = Ext4Inode::of(inode);
    let mut list = own.fs.orphans.0.lock();
    let Some(at) = list.iter().position(|o| o.ino == own.ino) else { return Ok(()) };
    let Some(gone) = list.get(at) else { return Ok(()) };
    let next = gone.next.load(Ordering::Acquire);
    match list.get(at.saturating_add(1)) {
        Some(before) => set_next(&own.fs, handle, before, next)?,
        None => own.fs.update_super(handle, |raw| raw.last_orphan = next.into())?,
    }
    set_next(&own.fs, handle, gone, 0)?;
    list.remove(at);
    Ok(())
}

/// Stores the link of a member, on the disk and in its inode, under the lock of the block that holds it.
fn set_next(fs: &Ext4Fs, handle: &mut Handle<'_>, orphan: &Orphan, next: u32) -> Result<()> {
    let (block, slot) = fs.inode_slot(orphan.ino)?;
    let mut bytes = handle.write(&block)?;
    let slot = bytes.get_mut(slot).ok_or(Errno::EUCLEAN)?;
    raw_inode::store_dtime(&fs.geo, orphan.seed, next, orphan.extra_isize, slot);
    orphan.next.store(next, Ordering::Release);
    Ok(())
}

impl Ext4Inode {
    fn as_orphan(&self) -> Orphan {
        Orphan { ino: self.ino, seed: self.seed, extra_isize: self.extra_isize(), next: self.dtime.clone() }
    }
}

/// Finishes what the list names, at mount: inodes without names are freed, the others cut to their size. A damaged list ends with a
/// read-only mount. Errors: `EIO`, `ENOMEM`.
pub(super) fn process(sb: &Arc<SuperBlock>) -> Result<()> {
    let fs = Ext4Fs::of(sb);
    let inodes = match collect(sb, fs) {
        Err(Errno::EUCLEAN) => return Ok(()),
        other => other?,
    };
    if !inodes.is_empty() {
        log::info!("ext4 {}: finishing {} orphans", fs.device.name(), inodes.len());
    }
    *fs.orphans.0.lock() = inodes.iter().rev().map(|inode| Ext4Inode::of(inode).as_orphan()).collect();
    for inode in inodes {
        if inode.nlink() == 0 {
            iput(inode);
            continue;
        }
        let size = Ext4Inode::of(&inode).disk_size();
        match truncate::free_behind(&inode, size) {
            Err(Errno::EUCLEAN) => {}
            other => other?,
        }
    }
    Ok(())
}

/// The inodes of the chain on the disk, from its head.
fn collect(sb: &Arc<SuperBlock>, fs: &Arc<Ext4Fs>) -> Result<Vec<Arc<Inode>>> {
    let mut ino = fs.with_super(|raw| raw.last_orphan.get())?;
    let mut seen = BTreeSet::new();
    let mut inodes = Vec::new();
    while ino != 0 {
        if ino < fs.geo.first_ino || !seen.insert(ino) {
            return Err(fs.corrupt("orphan list at inode", u64::from(ino)));
        }
        let inode = inode::get(sb, ino)?;
        ino = Ext4Inode::of(&inode).dtime.load(Ordering::Acquire);
        inodes.push(inode);
    }
    Ok(inodes)
}

/// Takes an inode off the list in a handle of its own. Errors: `EIO`, `EROFS`.
pub(super) fn remove_and_store(inode: &Inode) -> Result<()> {
    let own = Ext4Inode::of(inode);
    let mut handle = own.fs.begin(Credits(4))?;
    remove(&mut handle, inode)?;
    let core = own.core.read();
    own.store(&mut handle, inode, &core, SyncKind::Data)
}
