//! System V shared memory.
use super::ipc::{IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT, Permissions, last_index};
use super::{SyscallContext, UserAddr};
use crate::ipc::{MOST, Object};
use crate::mm::segments::{Segment, SegmentRequest};
use crate::mm::{PAGE, Placement, page_floor};
use base::{Errno, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

const SHM_RDONLY: u32 = 0o10_000;
const SHM_RND: u32 = 0o20_000;
const SHM_REMAP: u32 = 0o40_000;
const SHM_EXEC: u32 = 0o100_000;
/// Flag of shmget: huge pages, of which there are none.
const SHM_HUGETLB: u32 = 0o4000;
const SHM_LOCK: u32 = 11;
const SHM_UNLOCK: u32 = 12;
const SHM_STAT: u32 = 13;
const SHM_INFO: u32 = 14;
const SHM_STAT_ANY: u32 = 15;
/// In the mode of a segment that goes with its last attachment.
const SHM_DEST: u32 = 0o1000;

/// `struct shmid64_ds`
#[derive(FromBytes, IntoBytes, Immutable, Default)]
#[repr(C)]
struct SegmentInfo {
    permissions: Permissions,
    size: u64,
    times_s: [i64; 3],
    creator_pid: u32,
    last_pid: u32,
    attachments: u64,
    reserved: [u64; 2],
}

/// `struct shminfo64`
#[derive(IntoBytes, Immutable, Default)]
#[repr(C)]
struct Limits {
    max_bytes: u64,
    min_bytes: u64,
    segments: u64,
    attachments: u64,
    all_pages: u64,
    unused: [u64; 4],
}

/// `struct shm_info`
#[derive(IntoBytes, Immutable, Default)]
#[repr(C)]
struct Usage {
    segments: u64,
    pages: u64,
    resident_pages: u64,
    swap: [u64; 3],
}

/// `shmget`. Errors: `EINVAL`, `ENOENT`, `EEXIST`, `EACCES`, `ENOSPC`, `ENOMEM`.
pub fn shmget(context: &mut SyscallContext<'_>, key: i32, size: u64, flags: u32) -> Result<u64> {
    if flags & SHM_HUGETLB != 0 {
        return Err(Errno::EINVAL);
    }
    let process = context.process();
    let request = SegmentRequest { key, size, flags };
    process.system.segments.get(request, context.caller(), process.pid).map(u64::from)
}

/// `shmat`. Errors: `EINVAL`, `EACCES`, `ENOMEM`.
pub fn shmat(context: &mut SyscallContext<'_>, id: u32, addr: UserAddr, flags: u32) -> Result<u64> {
    let at = if flags & SHM_RND != 0 { page_floor(addr) } else { addr };
    let placement = match at {
        _ if !at.is_multiple_of(PAGE) => return Err(Errno::EINVAL),
        0 if addr != 0 || flags & SHM_REMAP != 0 => return Err(Errno::EINVAL),
        0 => Placement::Hint(0),
        _ if flags & SHM_REMAP != 0 => Placement::Fixed(at),
        _ => Placement::FixedNoReplace(at),
    };
    let process = context.process();
    let segments = &process.system.segments;
    let size = segments.all().iter().find(|segment| segment.id == id).ok_or(Errno::EINVAL)?.size;
    super::memory::check_room(context, size, None, false)?;
    let how = (flags & SHM_RDONLY != 0, flags & SHM_EXEC != 0);
    segments.attach((context.mm(), process.pid), id, placement, how, context.caller())
}

/// `shmdt`. Errors: `EINVAL`.
pub fn shmdt(context: &mut SyscallContext<'_>, addr: UserAddr) -> Result<u64> {
    context.mm().detach(addr, context.process().pid).map(|()| 0)
}

/// `shmctl`. Errors: `EINVAL`, `EACCES`, `EPERM`, `EFAULT`.
pub fn shmctl(context: &mut SyscallContext<'_>, id: u32, command: u32, out: UserAddr) -> Result<u64> {
    let segments = &context.process().system.segments;
    let (mm, caller) = (context.mm(), context.caller());
    match command {
        IPC_STAT => mm.write(out, &info(&*segments.readable(id, caller)?)).map(|()| 0),
        SHM_STAT | SHM_STAT_ANY => {
            let segment = segments.all().get(id as usize).cloned().ok_or(Errno::EINVAL)?;
            if command == SHM_STAT {
                segments.readable(segment.id, caller)?;
            }
            mm.write(out, &info(&segment)).map(|()| u64::from(segment.id))
        }
        IPC_SET => {
            let new: SegmentInfo = mm.read(out)?;
            segments.set(id, new.permissions.new_owner(), caller).map(|()| 0)
        }
        IPC_RMID => segments.remove(id, caller).map(|()| 0),
        // Nothing is swapped: locked or not, it stays.
        SHM_LOCK | SHM_UNLOCK => segments.readable(id, caller).map(|_| 0),
        IPC_INFO => {
            let (pages, most) = (segments.max_pages(), MOST as u64);
            let limits = Limits {
                max_bytes: pages * PAGE,
                min_bytes: 1,
                segments: most,
                attachments: most,
                all_pages: pages,
                unused: [0; 4],
            };
            mm.write(out, &limits).map(|()| last_index(&segments.all()))
        }
        SHM_INFO => {
            let all = segments.all();
            let usage = Usage {
                segments: all.len() as u64,
                pages: all.iter().map(|segment| segment.size.div_ceil(PAGE)).sum(),
                resident_pages: all.iter().map(|segment| segment.frames()).sum(),
                swap: [0; 3],
            };
            mm.write(out, &usage).map(|()| last_index(&all))
        }
        _ => Err(Errno::EINVAL),
    }
}

fn info(segment: &Segment) -> SegmentInfo {
    let state = segment.state();
    SegmentInfo {
        permissions: Permissions::new(
            segment.key().unwrap_or(0),
            &state.owner,
            if state.removed { SHM_DEST } else { 0 },
        ),
        size: segment.size,
        times_s: [state.attached_s, state.detached_s, state.changed_s],
        creator_pid: state.creator_pid,
        last_pid: state.last_pid,
        attachments: state.attachments,
        ..SegmentInfo::default()
    }
}
