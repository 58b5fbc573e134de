//! poll, ppoll, select, pselect6.
//!
//! A call looks at its files; where none has anything to tell, it leaves a listener with each that can change, looks once more, and
//! sleeps until one of them has changed, a signal comes or the time is up (see `base::sync::PollQueue`).
use super::masked::with_mask;
use super::time::{read_timeout, read_timeval, write_rest, write_rest_timeval};
use super::{SyscallContext, UserAddr};
use crate::files::poll::{ERR, HUP, IN, OUT, events};
use crate::process::{Deadline, Thread, sleep_interruptible};
use alloc::vec::Vec;
use base::sched::{self, Task};
use base::sync::atomic::{AtomicBool, Ordering};
use base::sync::{Arc, Listener};
use base::{Errno, Result, time};
use core::mem::size_of;
use fs::vfs::File;
use linux_raw_sys::general as abi;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `struct pollfd`
#[derive(Clone, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct PollFd {
    fd: i32,
    events: u16,
    revents: u16,
}
const _: () = assert!(size_of::<PollFd>() == size_of::<abi::pollfd>());

const NVAL: u16 = abi::POLLNVAL as u16;

/// `poll`. Errors: as poll(2).
pub fn poll(context: &mut SyscallContext<'_>, fds: UserAddr, count: u64, timeout_ms: i32) -> Result<u64> {
    let timeout_ns = u64::try_from(timeout_ms).ok().map(|ms| ms * 1_000_000);
    poll_until(context, fds, count, context.thread.deadline_after(timeout_ns))
}

/// `ppoll`: with a signal mask for the time of the call; the time that is left is stored. Errors: as ppoll(2).
pub fn ppoll(
    context: &mut SyscallContext<'_>,
    fds: UserAddr,
    count: u64,
    timeout: UserAddr,
    mask: UserAddr,
    mask_len: u64,
) -> Result<u64> {
    let deadline = context.thread.deadline_after(read_timeout(context, timeout)?);
    let result = with_mask(context, mask, mask_len, |context| poll_until(context, fds, count, deadline));
    write_rest(context, timeout, deadline);
    result
}

fn poll_until(context: &SyscallContext<'_>, addr: UserAddr, count: u64, deadline: Deadline) -> Result<u64> {
    if count > context.process().soft_limit(abi::RLIMIT_NOFILE) {
        return Err(Errno::EINVAL);
    }
    let mut fds: Vec<PollFd> = context.mm().read_array(addr, count as usize)?;
    let file_of = |fd: &PollFd| u32::try_from(fd.fd).ok().and_then(|n| context.file(n).ok());
    let files: Vec<Option<Arc<File>>> = fds.iter().map(file_of).collect();
    let ready = wait_for(context.thread, &files, deadline, || {
        fds.iter_mut().zip(&files).filter_map(|(fd, file)| tell(fd, file.as_deref())).count()
    })?;
    context.mm().write(addr, fds.as_slice())?;
    Ok(ready as u64)
}

/// Fills `revents`; `None` if there is nothing to tell. A negative number is left out.
fn tell(fd: &mut PollFd, file: Option<&File>) -> Option<()> {
    fd.revents = match file {
        Some(file) => events(file) & (fd.events | ERR | HUP),
        None if fd.fd < 0 => 0,
        None => NVAL,
    };
    (fd.revents != 0).then_some(())
}

/// Most descriptors of a set: no process has more.
const SET_BITS: usize = 65536;

/// `select`: the time that is left is stored. Errors: as select(2).
pub fn select(
    context: &mut SyscallContext<'_>,
    count: i32,
    read: UserAddr,
    write: UserAddr,
    except: UserAddr,
    timeout: UserAddr,
) -> Result<u64> {
    let deadline = context.thread.deadline_after(read_timeval(context, timeout)?);
    let result = select_until(context, count, [read, write, except], deadline);
    write_rest_timeval(context, timeout, deadline);
    result
}

/// `pselect6`: with a signal mask for the time of the call, behind a pointer to its address and length. Errors: as pselect(2).
pub fn pselect6(
    context: &mut SyscallContext<'_>,
    count: i32,
    read: UserAddr,
    write: UserAddr,
    except: UserAddr,
    timeout: UserAddr,
    mask: UserAddr,
) -> Result<u64> {
    let [mask, len] = if mask == 0 { [0, 0] } else { context.mm().read::<[u64; 2]>(mask)? };
    let deadline = context.thread.deadline_after(read_timeout(context, timeout)?);
    let sets = [read, write, except];
    let result = with_mask(context, mask, len, |context| select_until(context, count, sets, deadline));
    write_rest(context, timeout, deadline);
    result
}

/// What each of the three sets asks of a file. Nothing here has urgent data, so that the third is empty afterwards.
const ASKED: [u16; 3] = [IN | HUP | ERR, OUT | ERR, 0];

fn select_until(context: &SyscallContext<'_>, count: i32, addresses: [UserAddr; 3], deadline: Deadline) -> Result<u64> {
    let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?.min(SET_BITS);
    let words = count.div_ceil(64);
    let mut sets: [Vec<u64>; 3] = Default::default();
    for (set, addr) in sets.iter_mut().zip(addresses) {
        *set = if addr == 0 { alloc::vec![0; words] } else { context.mm().read_array(addr, words)? };
    }
    let has = |set: &[u64], fd: usize| set[fd / 64] >> (fd % 64) & 1 != 0;
    let wanted = (0..count).filter(|&fd| sets.iter().any(|set| has(set, fd)));
    let mut files = Vec::new();
    for fd in wanted {
        files.push((fd, context.file(fd as u32)?));
    }
    let mut told: [Vec<u64>; 3] = core::array::from_fn(|_| alloc::vec![0; words]);
    let all: Vec<_> = files.iter().map(|(_, file)| Some(file.clone())).collect();
    let ready = wait_for(context.thread, &all, deadline, || {
        let mut ready = 0;
        for (fd, file) in &files {
            let events = events(file);
            for ((set, told), asked) in sets.iter().zip(&mut told).zip(ASKED) {
                if has(set, *fd) && events & asked != 0 {
                    told[fd / 64] |= 1 << (fd % 64);
                    ready += 1;
                }
            }
        }
        ready
    })?;
    for (told, addr) in told.iter().zip(addresses) {
        if addr != 0 {
            context.mm().write(addr, told.as_slice())?;
        }
    }
    Ok(ready as u64)
}

/// Sleeps until `look` finds something or the deadline has passed; gives what it found last. Errors: `EINTR`, `ENOMEM`.
fn wait_for(
    thread: &Thread,
    files: &[Option<Arc<File>>],
    deadline: Deadline,
    mut look: impl FnMut() -> usize,
) -> Result<usize> {
    let is_over = || deadline.is_some_and(|end| time::now_ns() >= end);
    let mut ready = look();
    if ready > 0 || is_over() {
        return Ok(ready);
    }
    let watch = Watch::new(files)?;
    loop {
        // After the listeners were left, and after each call of one.
        ready = look();
        if ready > 0 || is_over() {
            return Ok(ready);
        }
        watch.sleep(thread, deadline)?;
    }
}

/// A task that waits for files.
struct Sleeper {
    task: Task,
    changed: AtomicBool,
}

impl Listener for Sleeper {
    fn changed(self: Arc<Self>) {
        self.changed.store(true, Ordering::Release);
        self.task.unpark();
    }
}

/// The files that a task listens to.
struct Watch<'a> {
    sleeper: Arc<Sleeper>,
    files: &'a [Option<Arc<File>>],
}

impl<'a> Watch<'a> {
    fn new(files: &'a [Option<Arc<File>>]) -> Result<Watch<'a>> {
        let sleeper = Arc::new(Sleeper { task: sched::current(), changed: AtomicBool::new(false) });
        let mut watch = Watch { sleeper, files: &[] };
        for (i, file) in files.iter().enumerate() {
            if let Some(queue) = file.as_ref().and_then(|file| file.ops().poll_queue()) {
                queue.listen(watch.sleeper.clone())?;
            }
            watch.files = &files[..=i];
        }
        Ok(watch)
    }

    fn sleep(&self, thread: &Thread, deadline: Deadline) -> Result<()> {
        let changed = || self.sleeper.changed.swap(false, Ordering::AcqRel).then_some(());
        sleep_interruptible(thread, deadline, changed).map(drop)
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let queues = self.files.iter().flatten().filter_map(|file| file.ops().poll_queue());
        queues.for_each(|queue| queue.leave(&self.sleeper));
    }
}
