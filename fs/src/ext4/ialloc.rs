//! Allocating and freeing inodes.
//!
//! A file goes to its directory's group, or to the next one with room. Directories are spread: one in the root goes to the
//! group with the most free blocks among those with many free inodes, one below stays near its parent.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::features::{GroupFlags, InodeFlags};
use super::groups::{AllocState, BitmapKind};
use super::inode::{self, Ext4Inode};
use super::raw_inode::{self, InodeImage};
use super::txn::Handle;
use super::{Ext4Fs, ROOT_INO, bitmap, extents};
use crate::caller::Caller;
use crate::vfs::{FileType, Inode, SyncKind, Timespec};
use base::sync::Arc;
use base::sync::atomic::Ordering;
use base::{Errno, Result};

/// Set-group-id, which directories hand down.
const SETGID: u16 = 0o2000;

/// Makes a new inode near `dir`, in the inode cache and with its raw form written, with one link (a directory: two) and an empty
/// extent tree. Set-group-id of `dir` is inherited. If the caller fails to enter it into a directory it sets the link count to 0.
/// `dir.lock` is held exclusively. Errors: `ENOSPC`, `EIO`, `EUCLEAN`.
pub fn new_inode(
    handle: &mut Handle<'_>,
    dir: &Arc<Inode>,
    kind: FileType,
    mode: u16,
    rdev: u64,
    caller: &dyn Caller,
) -> Result<Arc<Inode>> {
    let fs = &Ext4Inode::of(dir).fs;
    let parent = dir.attr();
    let is_dir = kind == FileType::Directory;
    let (gid, mode) = match parent.mode & SETGID {
        0 => (caller.gid(), mode),
        _ => (parent.gid, if is_dir { mode | SETGID } else { mode }),
    };
    let ino = fs.alloc_inode(handle, Ext4Inode::of(dir).ino, is_dir)?;
    let now = Timespec::now();
    let image = InodeImage {
        kind,
        mode: mode & 0o7777,
        uid: caller.uid(),
        gid,
        links: if is_dir { 2 } else { 1 },
        size: 0,
        blocks: 0,
        flags: inherited_flags(Ext4Inode::of(dir).core.read().flags, kind),
        generation: fs.next_generation(),
        root: new_root(kind, rdev),
        xattr_block: 0,
        dtime: 0,
        atime: now,
        mtime: now,
        ctime: now,
        btime: now,
        extra_isize: fs.geo.new_extra_isize(),
    };
    let inode = inode::build(&dir.sb, fs, ino, &image, 0);
    let own = Ext4Inode::of(&inode);
    let core = own.core.read();
    if let Err(error) = own.store(handle, &inode, &core, SyncKind::Data) {
        drop(core);
        fs.free_inode(handle, ino, is_dir)?;
        inode.update_attr(|attr| attr.nlink = 1); // Not to be evicted: its number is free already.
        return Err(error);
    }
    drop(core);
    dir.sb.inodes().insert_new(&inode);
    Ok(inode)
}

/// What a new inode takes over from its directory.
fn inherited_flags(parent: InodeFlags, kind: FileType) -> InodeFlags {
    let keep = InodeFlags::SYNC | InodeFlags::NODUMP | InodeFlags::NOATIME;
    let own = match kind {
        FileType::Directory => InodeFlags::EXTENTS | parent & InodeFlags::DIRSYNC,
        FileType::Regular | FileType::Symlink => InodeFlags::EXTENTS,
        _ => InodeFlags::empty(),
    };
    parent & keep | own
}

fn new_root(kind: FileType, rdev: u64) -> [u8; 60] {
    match kind {
        FileType::CharDevice | FileType::BlockDevice => raw_inode::device_root(rdev),
        FileType::Fifo | FileType::Socket => [0; 60],
        _ => extents::empty_root(),
    }
}

impl Ext4Fs {
    /// Takes a free inode number and marks it as in use. Errors: `ENOSPC`, `EIO`, `EUCLEAN`.
    fn alloc_inode(&self, handle: &mut Handle<'_>, parent: u32, is_dir: bool) -> Result<u32> {
        let mut state = self.groups.state.lock();
        let count = self.geo.group_count;
        let home = parent.saturating_sub(1).checked_div(self.geo.inodes_per_group).unwrap_or(0);
        let first = if is_dir && parent == ROOT_INO { self.roomiest_group(&state)? } else { home };
        for step in 0..count {
            let group = first.saturating_add(step).checked_rem(count).unwrap_or(0);
            if state.group(group)?.free_inodes == 0 {
                continue;
            }
            if let Some(index) = self.find_inode(handle, &mut state, group)? {
                self.take_inode(handle, &mut state, group, index, is_dir)?;
                let base = group.saturating_mul(self.geo.inodes_per_group);
                return Ok(base.saturating_add(index).saturating_add(1));
            }
        }
        Err(Errno::ENOSPC)
    }

    /// The group for a directory in the root: most free blocks among those with at least the average of free inodes.
    fn roomiest_group(&self, state: &AllocState) -> Result<u32> {
        let average = state.free_inodes.checked_div(u64::from(self.geo.group_count)).unwrap_or(0);
        let mut best = (0, 0);
        for index in 0..self.geo.group_count {
            let group = state.group(index)?;
            let enough = group.free_inodes > 0 && u64::from(group.free_inodes) >= average;
            if enough && group.free_blocks > best.1 {
                best = (index, group.free_blocks);
            }
        }
        Ok(best.0)
    }

    fn find_inode(&self, handle: &mut Handle<'_>, state: &mut AllocState, group: u32) -> Result<Option<u32>> {
        let block = self.bitmap(handle, state, group, BitmapKind::Inodes)?;
        let from = if group == 0 { self.geo.first_ino.saturating_sub(1) } else { 0 };
        let found = bitmap::find(&block.read(), false, from, self.geo.inodes_per_group);
        Ok(found)
    }

    fn take_inode(
        &self,
        handle: &mut Handle<'_>,
        state: &mut AllocState,
        group: u32,
        index: u32,
        is_dir: bool,
    ) -> Result<()> {
        self.init_table(handle, state, group, index)?;
        let block = self.bitmap(handle, state, group, BitmapKind::Inodes)?;
        bitmap::fill(&mut handle.write(&block)?, true, index, 1);
        let changed = state.group_mut(group)?;
        changed.free_inodes = changed.free_inodes.saturating_sub(1);
        changed.used_dirs = changed.used_dirs.saturating_add(u32::from(is_dir));
        changed.mark_bitmap(BitmapKind::Inodes);
        state.free_inodes = state.free_inodes.saturating_sub(1);
        Ok(())
    }

    /// Zeroes the slots of the inode table that come into use up to `index`: they were never written.
    fn init_table(&self, handle: &mut Handle<'_>, state: &mut AllocState, group: u32, index: u32) -> Result<()> {
        let per_group = self.geo.inodes_per_group;
        let used = per_group.saturating_sub(state.group(group)?.itable_unused);
        if index < used {
            return Ok(());
        }
        if !state.group(group)?.flags.contains(GroupFlags::INODE_ZEROED) {
            let first = group.saturating_mul(per_group).saturating_add(1);
            for slot in used..=index {
                let (block, range) = self.inode_slot(first.saturating_add(slot))?;
                handle.write(&block)?.get_mut(range).ok_or(Errno::EUCLEAN)?.fill(0);
            }
        }
        state.group_mut(group)?.itable_unused = per_group.saturating_sub(index).saturating_sub(1);
        Ok(())
    }

    /// Gives an inode number back. Its raw form was stored with no links and a deletion time. Errors: `EUCLEAN`, `EIO`.
    pub(super) fn free_inode(&self, handle: &mut Handle<'_>, ino: u32, is_dir: bool) -> Result<()> {
        if ino < self.geo.first_ino || ino > self.geo.inode_count {
            return Err(self.corrupt("freed inode", u64::from(ino)));
        }
        let zero_based = ino.saturating_sub(1);
        let group = zero_based.checked_div(self.geo.inodes_per_group).unwrap_or(0);
        let index = zero_based.checked_rem(self.geo.inodes_per_group).unwrap_or(0);
        let mut state = self.groups.state.lock();
        let block = self.bitmap(handle, &mut state, group, BitmapKind::Inodes)?;
        let mut bits = handle.write(&block)?;
        if !bitmap::all(&bits, true, index, 1) {
            drop(bits);
            return Err(self.corrupt("inode freed twice:", u64::from(ino)));
        }
        bitmap::fill(&mut bits, false, index, 1);
        drop(bits);
        let changed = state.group_mut(group)?;
        changed.free_inodes = changed.free_inodes.saturating_add(1);
        changed.used_dirs = changed.used_dirs.saturating_sub(u32::from(is_dir));
        changed.mark_bitmap(BitmapKind::Inodes);
        state.free_inodes = state.free_inodes.saturating_add(1);
        Ok(())
    }

    /// A number that differs from inode to inode, so that a file handle or checksum of an earlier owner does not fit.
    fn next_generation(&self) -> u32 {
        let count = self.generations.fetch_add(0x9e37_79b9, Ordering::Relaxed);
        count ^ base::time::wall_clock_ns() as u32
    }
}
