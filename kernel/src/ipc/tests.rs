//! Semaphores on the host: what one call does, who is served when, and what an end takes back.
use super::set::Semaphore;
use super::{IPC_CREAT, IPC_EXCL, Operation, SET_MAX, SemUndo, Semaphores, SetRequest, VALUE_MAX, Waiting, Wanted};
use crate::ipc::set::SemSet;
use alloc::vec::Vec;
use base::sync::Arc;
use base::{Errno, Result, sched};
use fs::caller::KernelCaller;
use fs::testing::User;

const PID: u32 = 7;
const NOWAIT: u16 = 0o4000;
const UNDO: u16 = 0x1000;

fn set_of(all: &Semaphores, count: usize) -> Arc<SemSet> {
    let id = all.get(SetRequest { key: 0, count, flags: 0o600 }, &KernelCaller).unwrap();
    all.find(id).unwrap()
}

/// A call of process [`PID`] with these numbers, changes and flags, whose undo list is `undo`.
fn call(set: &SemSet, operations: &[(u16, i16, u16)], undo: u64) -> Result<Option<Arc<Waiting>>> {
    let operations = operations.iter().map(|&(number, change, flags)| Operation { number, change, flags }).collect();
    set.operate(operations, (PID, undo, sched::current()), &KernelCaller)
}
/// The same for a call that can be done at once, or not at all.
fn now(set: &SemSet, operations: &[(u16, i16, u16)]) -> Result<()> {
    call(set, operations, 0).map(|waiting| assert!(waiting.is_none(), "it waits"))
}
fn waits(set: &SemSet, operations: &[(u16, i16, u16)]) -> Arc<Waiting> {
    call(set, operations, 0).unwrap().expect("it waits")
}
fn values(set: &SemSet) -> Vec<u16> {
    set.values(&KernelCaller).unwrap()
}

#[test]
fn a_call_does_all_or_nothing() {
    let set = set_of(&Semaphores::new(), 3);
    now(&set, &[(0, 2, 0), (1, 1, 0), (0, -1, 0)]).unwrap();
    assert_eq!(values(&set), [1, 1, 0]);
    let pid = |number| set.semaphore(number, &KernelCaller).unwrap().pid;
    assert_eq!([pid(0), pid(1), pid(2)], [PID, PID, 0]);
    assert_eq!(now(&set, &[(0, -1, 0), (1, -1, 0), (2, -1, NOWAIT)]), Err(Errno::EAGAIN));
    assert_eq!(now(&set, &[(1, 5, 0), (0, 0, NOWAIT)]), Err(Errno::EAGAIN), "it is not zero");
    now(&set, &[(2, VALUE_MAX as i16, 0)]).unwrap();
    assert_eq!(now(&set, &[(0, -1, 0), (2, 1, 0)]), Err(Errno::ERANGE));
    assert_eq!(now(&set, &[(0, -1, 0), (3, 1, 0)]), Err(Errno::EFBIG));
    assert_eq!(values(&set), [1, 1, VALUE_MAX]);
    now(&set, &[(0, -1, 0), (0, 0, 0), (0, 1, 0)]).unwrap();
    assert_eq!(values(&set), [1, 1, VALUE_MAX], "taken, zero in between, and given back");
}

#[test]
fn who_waits_is_served_by_who_changes_the_set() {
    let set = set_of(&Semaphores::new(), 2);
    let two = waits(&set, &[(0, -2, 0)]);
    let one = waits(&set, &[(0, -1, 0), (1, 1, 0)]);
    let after_one = waits(&set, &[(1, -1, 0)]);
    let zero = waits(&set, &[(1, 1, 0), (1, 0, 0)]);
    let count = |number, wanted| set.waiters(number, wanted, &KernelCaller).unwrap();
    assert_eq!([count(0, Wanted::More), count(1, Wanted::More), count(1, Wanted::Zero)], [2, 1, 1]);
    now(&set, &[(0, 1, 0)]).unwrap();
    let outcomes = [&two, &one, &after_one, &zero].map(|waiting| waiting.outcome());
    assert_eq!(outcomes, [None, Some(Ok(())), Some(Ok(())), None], "too little for the first, and so on down the row");
    assert_eq!((values(&set), count(0, Wanted::More)), ([0, 0].to_vec(), 1));
    now(&set, &[(0, 2, 0)]).unwrap();
    assert_eq!((two.outcome(), values(&set)), (Some(Ok(())), [0, 0].to_vec()), "nobody else ever saw the two");
    assert_eq!(set.leave(&two, Errno::EINTR), Ok(()), "what was done for it counts");
    assert_eq!(set.leave(&zero, Errno::EINTR), Err(Errno::EINTR));
    assert_eq!(count(1, Wanted::Zero), 0);
}

#[test]
fn an_end_gives_back_what_was_taken() {
    let all = Semaphores::new();
    let set = set_of(&all, 3);
    let (first, second) = (SemUndo::default(), SemUndo::default());
    first.share(&second, &all);
    let list = first.list(&all).number;
    assert_eq!(second.list(&all).number, list);
    set.set_all(&[5, 5, 5], 1, &KernelCaller).unwrap();
    let undone =
        |operations: &[(u16, i16, u16)]| call(&set, operations, list).map(|waiting| assert!(waiting.is_none()));
    undone(&[(0, -2, UNDO), (1, -3, UNDO), (2, 4, UNDO), (2, -1, 0)]).unwrap();
    assert_eq!(undone(&[(0, -2, UNDO), (1, -3, NOWAIT)]), Err(Errno::EAGAIN));
    set.set_value(1, 1, 1, &KernelCaller).unwrap();
    now(&set, &[(2, -6, 0)]).unwrap();
    assert_eq!(values(&set), [3, 1, 2]);
    let waiting = waits(&set, &[(0, -5, 0)]);
    first.leave(&all, 8);
    assert_eq!(waiting.outcome(), None, "the other still has the list");
    second.leave(&all, 9);
    assert_eq!(waiting.outcome(), Some(Ok(())));
    assert_eq!(values(&set), [0, 1, 0], "given back; forgotten by SETVAL; not below zero");
    let semaphore = |number| set.semaphore(number, &KernelCaller).unwrap();
    assert_eq!((semaphore(0).pid, semaphore(2)), (PID, Semaphore { value: 0, pid: 9 }));
    SemUndo::default().leave(&all, 9);
}

#[test]
fn what_is_taken_back_has_a_limit() {
    let all = Semaphores::new();
    let set = set_of(&all, 1);
    let list = SemUndo::default().list(&all).number;
    call(&set, &[(0, VALUE_MAX as i16, UNDO)], list).unwrap();
    now(&set, &[(0, -1, 0), (0, -1, 0)]).unwrap();
    assert_eq!(call(&set, &[(0, 2, UNDO)], list).err(), Some(Errno::ERANGE));
    assert_eq!(values(&set), [VALUE_MAX - 2]);
}

#[test]
fn removal_ends_every_wait() {
    let all = Semaphores::new();
    let set = set_of(&all, 1);
    let waiting = waits(&set, &[(0, -1, 0)]);
    assert_eq!(all.remove(set.id, &User(5)), Err(Errno::EPERM));
    all.remove(set.id, &KernelCaller).unwrap();
    assert_eq!(waiting.outcome(), Some(Err(Errno::EIDRM)));
    assert_eq!(set.leave(&waiting, Errno::EAGAIN), Err(Errno::EIDRM));
    assert_eq!(now(&set, &[(0, 1, 0)]), Err(Errno::EIDRM), "who had found it before");
    assert_eq!((all.find(set.id).err(), all.all().len()), (Some(Errno::EINVAL), 0));
    assert_eq!(all.remove(set.id, &KernelCaller), Err(Errno::EINVAL));
}

#[test]
fn sets_have_keys_owners_and_limits() {
    let all = Semaphores::new();
    let (owner, other) = (User(10), User(20));
    let get = |key, count, flags, who: &User| all.get(SetRequest { key, count, flags }, who);
    assert_eq!((get(5, 1, 0, &owner), get(5, 0, IPC_CREAT, &owner)), (Err(Errno::ENOENT), Err(Errno::EINVAL)));
    assert_eq!(get(5, SET_MAX + 1, IPC_CREAT, &owner), Err(Errno::EINVAL));
    let id = get(5, 2, IPC_CREAT | 0o640, &owner).unwrap();
    assert_eq!((get(5, 0, 0, &owner), get(5, 3, 0, &owner)), (Ok(id), Err(Errno::EINVAL)));
    assert_eq!(get(5, 2, IPC_CREAT | IPC_EXCL, &owner), Err(Errno::EEXIST));
    assert_eq!(get(5, 2, 0o400, &other), Err(Errno::EACCES));
    let set = all.find(id).unwrap();
    let add = |who: &User| {
        let one = [Operation { number: 0, change: 1, flags: 0 }].to_vec();
        set.operate(one, (PID, 0, sched::current()), who).map(drop)
    };
    assert_eq!((add(&other), set.values(&other)), (Err(Errno::EACCES), Err(Errno::EACCES)));
    assert_eq!(set.set_owner((20, 20, 0o400), &other), Err(Errno::EPERM));
    set.set_owner((20, 20, 0o400), &owner).unwrap();
    assert_eq!((add(&other), set.values(&other)), (Err(Errno::EACCES), Ok([0, 0].to_vec())));
    assert_eq!(set.set_value(0, 1, PID, &other), Err(Errno::EACCES));
    assert_eq!(set.set_value(2, 1, PID, &KernelCaller), Err(Errno::EINVAL));
    let mut made = 0;
    while get(0, SET_MAX, 0o600, &owner).is_ok() {
        made += 1;
    }
    assert_eq!(
        (made, get(0, SET_MAX, 0o600, &owner)),
        (7, Err(Errno::ENOSPC)),
        "all together have eight times as many"
    );
}
