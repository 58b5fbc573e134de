//! System V semaphores.
use super::ipc::{IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT, Permissions, last_index};
use super::time::TimeSpec;
use super::{SyscallContext, UserAddr};
use crate::ipc::{MOST, Operation, SEMAPHORES_MAX, SET_MAX, SetInfo, SetRequest, VALUE_MAX, Wanted};
use crate::process::{Deadline, sleep_interruptible};
use alloc::vec::Vec;
use base::{Errno, Result, sched, time};
use zerocopy::{FromBytes, Immutable, IntoBytes};

const GETPID: u32 = 11;
const GETVAL: u32 = 12;
const GETALL: u32 = 13;
const GETNCNT: u32 = 14;
const GETZCNT: u32 = 15;
const SETVAL: u32 = 16;
const SETALL: u32 = 17;
const SEM_STAT: u32 = 18;
const SEM_INFO: u32 = 19;
const SEM_STAT_ANY: u32 = 20;
/// Operations that one call may have.
const OPERATIONS_MAX: usize = 500;

/// `struct semid64_ds`
#[derive(FromBytes, IntoBytes, Immutable, Default)]
#[repr(C)]
struct SetStat {
    permissions: Permissions,
    operated_s: i64,
    unused: u64,
    changed_s: i64,
    unused2: u64,
    count: u64,
    unused3: [u64; 2],
}

/// `struct seminfo`
#[derive(IntoBytes, Immutable, Default)]
#[repr(C)]
struct Limits {
    map: u32,
    sets: u32,
    semaphores: u32,
    undo: u32,
    set_max: u32,
    operations: u32,
    undo_entries: u32,
    /// Bytes of an undo; of `SEM_INFO`: how many sets there are.
    undo_size: u32,
    value_max: u32,
    /// The most that is taken back; of `SEM_INFO`: how many semaphores there are.
    undo_max: u32,
}

/// `semget`. Errors: `EINVAL`, `ENOENT`, `EEXIST`, `EACCES`, `ENOSPC`, `ENOMEM`.
pub fn semget(context: &mut SyscallContext<'_>, key: i32, count: u32, flags: u32) -> Result<u64> {
    let request = SetRequest { key, count: count as usize, flags };
    context.process().system.semaphores.get(request, context.caller()).map(u64::from)
}

/// `semop`. Errors: as [`semtimedop`].
pub fn semop(context: &mut SyscallContext<'_>, id: u32, operations: UserAddr, count: u32) -> Result<u64> {
    semtimedop(context, id, operations, count, 0)
}

/// `semtimedop`. Errors: `EINVAL`, `E2BIG`, `EFAULT`, `EFBIG`, `EACCES`, `EAGAIN` (also: time is up), `EIDRM`, `EINTR`, `ERANGE`, `ENOMEM`.
pub fn semtimedop(
    context: &mut SyscallContext<'_>,
    id: u32,
    operations: UserAddr,
    count: u32,
    timeout: UserAddr,
) -> Result<u64> {
    let mm = context.mm();
    let deadline = match timeout {
        0 => None,
        _ => Some(mm.read::<TimeSpec>(timeout)?.to_ns()?),
    };
    match count as usize {
        0 => return Err(Errno::EINVAL),
        1..=OPERATIONS_MAX => {}
        _ => return Err(Errno::E2BIG),
    }
    let operations = mm.read_array::<Operation>(operations, count as usize)?;
    operate(context, id, operations, deadline.map(|ns| time::now_ns().saturating_add(ns)))
}

fn operate(context: &SyscallContext<'_>, id: u32, operations: Vec<Operation>, deadline: Deadline) -> Result<u64> {
    let (thread, process) = (context.thread, context.process());
    let all = &process.system.semaphores;
    let set = all.find(id)?;
    base::memory::room_for_programs()?;
    let undone = operations.iter().any(Operation::undone);
    let undo = if undone { thread.sem_undo.list(all).number } else { 0 };
    let who = (process.pid, undo, sched::current());
    let Some(waiting) = set.operate(operations, who, context.caller())? else { return Ok(0) };
    let outcome = match sleep_interruptible(thread, deadline, || waiting.outcome()) {
        Ok(Some(outcome)) => outcome,
        Ok(None) => set.leave(&waiting, Errno::EAGAIN),
        Err(error) => set.leave(&waiting, error),
    };
    outcome.map(|()| 0)
}

/// `semctl`. Errors: `EINVAL`, `EACCES`, `EPERM`, `EFAULT`, `ERANGE`, `EIDRM`, `ENOMEM`.
pub fn semctl(context: &mut SyscallContext<'_>, id: u32, number: u32, command: u32, arg: u64) -> Result<u64> {
    let all = &context.process().system.semaphores;
    let (mm, caller, pid) = (context.mm(), context.caller(), context.process().pid);
    match command {
        IPC_INFO | SEM_INFO => return limits(context, command, arg),
        SEM_STAT | SEM_STAT_ANY => {
            let set = all.all().get(id as usize).cloned().ok_or(Errno::EINVAL)?;
            let info = set.info((command == SEM_STAT).then_some(caller))?;
            return mm.write(arg, &stat(&info)).map(|()| u64::from(set.id));
        }
        IPC_RMID => return all.remove(id, caller).map(|()| 0),
        // The value is looked at first.
        SETVAL if !(0..=i32::from(VALUE_MAX)).contains(&(arg as i32)) => return Err(Errno::ERANGE),
        _ => {}
    }
    let set = all.find(id)?;
    match command {
        IPC_STAT => mm.write(arg, &stat(&set.info(Some(caller))?)).map(|()| 0),
        IPC_SET => set.set_owner(mm.read::<SetStat>(arg)?.permissions.new_owner(), caller).map(|()| 0),
        GETALL => mm.write_bytes(arg, set.values(caller)?.as_bytes()).map(|()| 0),
        GETVAL => set.semaphore(number, caller).map(|semaphore| u64::from(semaphore.value)),
        GETPID => set.semaphore(number, caller).map(|semaphore| u64::from(semaphore.pid)),
        GETNCNT => set.waiters(number, Wanted::More, caller),
        GETZCNT => set.waiters(number, Wanted::Zero, caller),
        SETVAL => set.set_value(number, arg as u16, pid, caller).map(|()| 0),
        SETALL => {
            set.check_change(caller)?;
            let values = mm.read_array::<u16>(arg, set.count())?;
            if values.iter().any(|&value| value > VALUE_MAX) {
                return Err(Errno::ERANGE);
            }
            set.set_all(&values, pid, caller).map(|()| 0)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// `IPC_INFO` and `SEM_INFO`.
fn limits(context: &SyscallContext<'_>, command: u32, out: UserAddr) -> Result<u64> {
    let all = context.process().system.semaphores.all();
    let semaphores = SEMAPHORES_MAX as u32;
    let mut limits = Limits {
        map: semaphores,
        sets: MOST as u32,
        semaphores,
        undo: semaphores,
        set_max: SET_MAX as u32,
        operations: OPERATIONS_MAX as u32,
        undo_entries: OPERATIONS_MAX as u32,
        undo_size: 20,
        value_max: VALUE_MAX.into(),
        undo_max: VALUE_MAX.into(),
    };
    if command == SEM_INFO {
        limits.undo_size = all.len() as u32;
        limits.undo_max = all.iter().map(|set| set.count() as u32).sum();
    }
    context.mm().write(out, &limits).map(|()| last_index(&all))
}

fn stat(info: &SetInfo) -> SetStat {
    SetStat {
        permissions: Permissions::new(info.key, &info.owner, 0),
        operated_s: info.operated_s,
        changed_s: info.changed_s,
        count: info.count as u64,
        ..SetStat::default()
    }
}

const _: () = assert!(size_of::<SetStat>() == 104 && size_of::<Limits>() == 40);
