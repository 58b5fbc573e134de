//! Allocating and freeing runs of blocks.
//!
//! A request names a goal and a length; it gets one contiguous run, possibly shorter. The goal's group is tried first, from the
//! goal on, so that a file that grows stays contiguous; then any group that has a run of the full length, then the longest run
//! there is.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::groups::{AllocState, BitmapKind, Held};
use super::txn::Handle;
use super::{Ext4Fs, bitmap};
use alloc::vec;
use base::{Errno, Result};

/// A run of blocks of the file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockRun {
    /// The first block.
    pub start: u64,
    /// Blocks; never 0.
    pub len: u32,
}

/// Whom blocks are allocated for: decides which reserves may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// File data: not the blocks set aside for conversions.
    Data,
    /// Directory blocks, new extent nodes outside a conversion: as `Data`.
    Meta,
    /// An extent node that a conversion needs: may use what was set aside (EXT-2), so it does not fail for space.
    Conversion,
}

/// The shortest run at the goal that is worth taking when more was wanted.
const SHORT: u32 = 8;

/// A run within one group.
#[derive(Clone, Copy)]
struct Found {
    group: u32,
    start: u32,
    len: u32,
}

/// What is looked for in a group.
struct Request {
    group: u32,
    /// The first block that will do.
    from: u32,
    want: u32,
    /// A run that begins at `from` is taken even if it is shorter, but not a mere scrap.
    at_goal: bool,
}

impl AllocState {
    /// Free blocks that may be handed out now.
    fn available(&self) -> u64 {
        self.free_blocks.saturating_sub(self.held.blocks())
    }
}

impl Ext4Fs {
    /// Allocates a contiguous run of 1 to `want` blocks at or near `goal` (0: anywhere). Takes the allocator lock, so no metadata
    /// block lock is held. Errors: `ENOSPC`, `EIO`, `EUCLEAN`.
    pub fn alloc_blocks(&self, handle: &mut Handle<'_>, goal: u64, want: u32, purpose: Purpose) -> Result<BlockRun> {
        let mut state = self.groups.state.lock();
        let held_back = if purpose == Purpose::Conversion { 0 } else { state.set_aside };
        let available = state.available().saturating_sub(held_back);
        if available == 0 {
            return Err(Errno::ENOSPC);
        }
        let want = want.clamp(1, u32::try_from(available).unwrap_or(u32::MAX));
        let found = self.search(handle, &mut state, goal, want)?;
        self.take(handle, &mut state, found)?;
        let start = self.geo.group_start(found.group).saturating_add(u64::from(found.start));
        Ok(BlockRun { start, len: found.len })
    }

    /// Frees a run; cached metadata in it is forgotten. It can be had again when the change is durable. Errors: `EUCLEAN` (not in use,
    /// or not freeable), `EIO`.
    pub fn free_blocks(&self, handle: &mut Handle<'_>, run: BlockRun) -> Result<()> {
        let len = u64::from(run.len);
        if !self.geo.contains_run(run.start, len) || self.groups.zone.touches(run.start, len) {
            return Err(self.corrupt("freed run at block", run.start));
        }
        let tid = handle.forget(run.start, len);
        let mut state = self.groups.state.lock();
        let (mut at, mut left) = (run.start, run.len);
        while left > 0 {
            let group = self.geo.group_of(at).ok_or(Errno::EUCLEAN)?;
            let start = at.saturating_sub(self.geo.group_start(group)) as u32;
            let part = left.min(self.geo.group_len(group).saturating_sub(start)).max(1);
            self.give_back(handle, &mut state, Found { group, start, len: part })?;
            at = at.saturating_add(u64::from(part));
            left = left.saturating_sub(part);
        }
        if base::guard!("CRA-3", true) {
            state.held.add(run.start, len, tid);
        }
        Ok(())
    }

    /// Sets `blocks` more metadata blocks aside for later conversions (EXT-2), or fails with `ENOSPC`.
    pub fn reserve_blocks(&self, blocks: u32) -> Result<()> {
        let mut state = self.groups.state.lock();
        let set_aside = state.set_aside.saturating_add(u64::from(blocks));
        if set_aside > state.available() {
            return Err(Errno::ENOSPC);
        }
        state.set_aside = set_aside;
        Ok(())
    }

    /// Gives back what [`Self::reserve_blocks`] set aside and nobody used.
    pub fn unreserve_blocks(&self, blocks: u32) {
        let mut state = self.groups.state.lock();
        state.set_aside = state.set_aside.saturating_sub(u64::from(blocks));
    }

    /// Does `change`. Where it finds no space while freed blocks wait for a commit, commits and does it once more. No handle open, no
    /// extent or later lock held. Errors: those of `change` and of a commit.
    pub(super) fn with_space<R>(&self, mut change: impl FnMut() -> Result<R>) -> Result<R> {
        match change() {
            Err(Errno::ENOSPC) if self.groups.state.lock().held.blocks() > 0 => {
                self.commit_all()?;
                change()
            }
            other => other,
        }
    }

    /// Free blocks that a caller other than root may still take.
    pub fn blocks_for_users(&self) -> u64 {
        let state = self.groups.state.lock();
        state.free_blocks.saturating_sub(state.set_aside).saturating_sub(self.geo.reserved_blocks)
    }

    /// The best run for a request: at the goal, else a full one nearby, else the longest.
    fn search(&self, handle: &mut Handle<'_>, state: &mut AllocState, goal: u64, want: u32) -> Result<Found> {
        let count = self.geo.group_count;
        let first = self.geo.group_of(goal).unwrap_or(0);
        let offset = goal.saturating_sub(self.geo.group_start(first)) as u32;
        let mut best: Option<Found> = None;
        // The first group is looked at twice: from the goal to its end, and at last from its beginning.
        for step in 0..=count {
            let group = first.saturating_add(step).checked_rem(count).unwrap_or(0);
            if state.group(group)?.free_blocks == 0 {
                continue;
            }
            let from = if step == 0 { offset } else { 0 };
            let request = Request { group, from, want, at_goal: step == 0 };
            let Some(found) = self.search_group(handle, state, &request)? else { continue };
            if found.len >= want || (step == 0 && found.start == offset && found.len >= SHORT) {
                return Ok(found);
            }
            if best.is_none_or(|b| found.len > b.len) {
                best = Some(found);
            }
        }
        // The counters promised blocks that no bitmap has.
        best.ok_or_else(|| self.corrupt("free block count; wanted blocks", u64::from(want)))
    }

    /// As [`Self::find_run`]. A search may look into every group, and changes none: the bitmap of a group that was never used is made up on
    /// the side.
    fn search_group(
        &self,
        handle: &mut Handle<'_>,
        state: &mut AllocState,
        request: &Request,
    ) -> Result<Option<Found>> {
        if self.was_never_used(state, request.group, BitmapKind::Blocks)? {
            let mut bits = vec![0; self.meta.block_size()];
            self.make_bitmap(&mut bits, request.group, BitmapKind::Blocks);
            return Ok(self.find_run(&bits, &state.held, request));
        }
        let block = self.bitmap(handle, state, request.group, BitmapKind::Blocks)?;
        Ok(self.find_run(&block.read(), &state.held, request))
    }

    /// The first run of the wanted length in a group, else the longest.
    fn find_run(&self, bits: &[u8], held: &Held, request: &Request) -> Option<Found> {
        let &Request { group, from, want, at_goal } = request;
        let end = self.geo.group_len(group);
        let mut best: Option<Found> = None;
        let base = self.geo.group_start(group);
        let mut at = from;
        while let Some((start, mut len)) = bitmap::clear_run(bits, at, end, want) {
            let first = base.saturating_add(u64::from(start));
            if let Some((held, held_end)) = held.first_within(first, first.saturating_add(u64::from(len))) {
                len = held.saturating_sub(first) as u32;
                if len == 0 {
                    at = held_end.saturating_sub(base) as u32;
                    continue;
                }
            }
            let found = Found { group, start, len };
            if len >= want || (at_goal && start == from && len >= SHORT) {
                return Some(found);
            }
            if best.is_none_or(|b| len > b.len) {
                best = Some(found);
            }
            at = start.saturating_add(len);
        }
        best
    }

    fn take(&self, handle: &mut Handle<'_>, state: &mut AllocState, found: Found) -> Result<()> {
        let start = self.geo.group_start(found.group).saturating_add(u64::from(found.start));
        if self.groups.zone.touches(start, u64::from(found.len)) {
            return Err(self.corrupt("block bitmap of group", u64::from(found.group)));
        }
        let block = self.bitmap(handle, state, found.group, BitmapKind::Blocks)?;
        bitmap::fill(&mut handle.write(&block)?, true, found.start, found.len);
        let group = state.group_mut(found.group)?;
        group.free_blocks = group.free_blocks.saturating_sub(found.len);
        group.mark_bitmap(BitmapKind::Blocks);
        state.free_blocks = state.free_blocks.saturating_sub(u64::from(found.len));
        Ok(())
    }

    fn give_back(&self, handle: &mut Handle<'_>, state: &mut AllocState, found: Found) -> Result<()> {
        let block = self.bitmap(handle, state, found.group, BitmapKind::Blocks)?;
        let mut bits = handle.write(&block)?;
        if !bitmap::all(&bits, true, found.start, found.len) {
            drop(bits);
            return Err(self.corrupt("block freed twice, in group", u64::from(found.group)));
        }
        bitmap::fill(&mut bits, false, found.start, found.len);
        drop(bits);
        let group = state.group_mut(found.group)?;
        group.free_blocks = group.free_blocks.saturating_add(found.len);
        group.mark_bitmap(BitmapKind::Blocks);
        state.free_blocks = state.free_blocks.saturating_add(u64::from(found.len));
        Ok(())
    }
}
