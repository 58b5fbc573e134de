//! A set of semaphores.
//!
//! A call's operations are done all at once or not at all. Who cannot go on waits in the set, and whoever changes the set does for him
//! what has become possible, before the lock is let go: so a value that was given to one waiter is seen by nobody else, and nobody is woken in
//! vain.
//!
//! ```text
//!   operate ──▶ done
//!      │
//!      └──▶ waits ──▶ done, or an error     by who changed or removed the set; the ticket says so
//!              └────▶ left                  by himself: time-out or signal. What was done for him before counts
//! ```
use super::operation::{Blocked, Operation, Request, VALUE_MAX, Waiting, Wanted};
use super::{Object, Owner};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use base::sched::Task;
use base::sync::{Arc, SpinGuard, SpinLock};
use base::{Errno, Result};
use fs::caller::Caller;
use fs::vfs::Timespec;

/// Semaphores that one set may have.
pub const SET_MAX: usize = 32_000;
struct Waiter {
    request: Request,
    blocked: Blocked,
    waiting: Arc<Waiting>,
}

/// A semaphore, as semctl tells of it.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Semaphore {
    /// Its value, at most [`VALUE_MAX`].
    pub value: u16,
    /// The process that last did something with it; 0: none.
    pub pid: u32,
}

/// What semctl tells of a set.
#[derive(Clone, Copy, Debug)]
pub struct SetInfo {
    /// Its key.
    pub key: i32,
    /// Whose it is.
    pub owner: Owner,
    /// How many semaphores it has.
    pub count: usize,
    /// Times of the last operation and change, in seconds; 0: never.
    pub operated_s: i64,
    /// See `operated_s`.
    pub changed_s: i64,
}

/// A set.
pub struct SemSet {
    /// Its id.
    pub id: u32,
    key: i32,
    state: SpinLock<State>,
}

struct State {
    owner: Owner,
    removed: bool,
    semaphores: Vec<Semaphore>,
    /// In the order in which they came.
    waiters: Vec<Waiter>,
    /// By list and number: what the end of a thread adds to the value. Never 0.
    undo: BTreeMap<(u64, u16), i16>,
    operated_s: i64,
    changed_s: i64,
}

impl Object for SemSet {
    fn key(&self) -> Option<i32> {
        (!self.state.lock().removed).then_some(self.key)
    }
}

impl SemSet {
    /// A set whose semaphores are as `semaphores` says.
    pub(super) fn new(id: u32, key: i32, owner: Owner, semaphores: Vec<Semaphore>) -> SemSet {
        let (waiters, undo) = (Vec::new(), BTreeMap::new());
        let changed_s = now_s();
        let state = State { owner, removed: false, semaphores, waiters, undo, operated_s: 0, changed_s };
        SemSet { id, key, state: SpinLock::new(state) }
    }

    /// Does the operations of a call of process `pid`, all or none; those with `SEM_UNDO` are taken back by the list `undo`. `Some`: they
    /// cannot be done now, and the caller, which runs in `task`, waits. Errors: `EFBIG` (no such semaphore), `EACCES`, `EIDRM`, `EAGAIN`,
    /// `ERANGE`.
    pub fn operate(
        &self,
        operations: Vec<Operation>,
        (pid, undo, task): (u32, u64, Task),
        caller: &dyn Caller,
    ) -> Result<Option<Arc<Waiting>>> {
        let mut state = self.state.lock();
        if operations.iter().any(|operation| usize::from(operation.number) >= state.semaphores.len()) {
            return Err(Errno::EFBIG);
        }
        let changes = operations.iter().any(|operation| operation.change != 0);
        state.owner.check(caller, if changes { 2 } else { 4 })?;
        if state.removed {
            return Err(Errno::EIDRM);
        }
        let request = Request { operations, pid, undo };
        let Some(blocked) = state.attempt(&request)? else {
            state.settle();
            return Ok(None);
        };
        let waiting = Arc::new(Waiting::new(task));
        state.waiters.push(Waiter { request, blocked, waiting: waiting.clone() });
        Ok(Some(waiting))
    }

    /// Waits no longer: `error`, unless the wait has ended meanwhile.
    pub fn leave(&self, waiting: &Arc<Waiting>, error: Errno) -> Result<()> {
        let mut state = self.state.lock();
        if let Some(at) = state.waiters.iter().position(|waiter| Arc::ptr_eq(&waiter.waiting, waiting)) {
            state.waiters.remove(at);
        }
        waiting.outcome().unwrap_or(Err(error))
    }

    /// Takes back what the list `undo` has of this set, in the name of process `pid`.
    pub(super) fn take_back(&self, undo: u64, pid: u32) {
        let mut state = self.state.lock();
        let mut later = state.undo.split_off(&(undo, 0));
        let mut others = undo.checked_add(1).map(|next| later.split_off(&(next, 0))).unwrap_or_default();
        state.undo.append(&mut others);
        for ((_, number), change) in &later {
            if let Some(semaphore) = state.semaphores.get_mut(usize::from(*number)) {
                let value = i32::from(semaphore.value) + i32::from(*change);
                *semaphore = Semaphore { value: value.clamp(0, i32::from(VALUE_MAX)) as u16, pid };
            }
        }
        if !later.is_empty() {
            state.operated_s = now_s();
            state.settle();
        }
    }

    /// What is known of it, for who may read it; with no caller for anybody. Errors: `EACCES`, `EIDRM`.
    pub fn info(&self, caller: Option<&dyn Caller>) -> Result<SetInfo> {
        let state = match caller {
            Some(caller) => self.permitted(caller, 4)?,
            None => self.present()?,
        };
        let (owner, count) = (state.owner, state.semaphores.len());
        Ok(SetInfo { key: self.key, owner, count, operated_s: state.operated_s, changed_s: state.changed_s })
    }
    /// How many semaphores it has.
    pub fn count(&self) -> usize {
        self.state.lock().semaphores.len()
    }
    /// Its values. Errors: `EACCES`, `EIDRM`, `ENOMEM`.
    pub fn values(&self, caller: &dyn Caller) -> Result<Vec<u16>> {
        let mut values = Vec::new();
        values.try_reserve_exact(self.count()).map_err(|_| Errno::ENOMEM)?;
        values.extend(self.permitted(caller, 4)?.semaphores.iter().map(|semaphore| semaphore.value));
        Ok(values)
    }
    /// The semaphore `number`. Errors: `EACCES`, `EIDRM`, `EINVAL`.
    pub fn semaphore(&self, number: u32, caller: &dyn Caller) -> Result<Semaphore> {
        self.permitted(caller, 4)?.semaphores.get(number as usize).copied().ok_or(Errno::EINVAL)
    }
    /// How many calls wait for the semaphore `number` to do what is `wanted`. Errors: `EACCES`, `EIDRM`, `EINVAL`.
    pub fn waiters(&self, number: u32, wanted: Wanted, caller: &dyn Caller) -> Result<u64> {
        let state = self.permitted(caller, 4)?;
        if number as usize >= state.semaphores.len() {
            return Err(Errno::EINVAL);
        }
        let waits = |waiter: &&Waiter| u32::from(waiter.blocked.number) == number && waiter.blocked.wanted == wanted;
        Ok(state.waiters.iter().filter(waits).count() as u64)
    }

    /// Gives the semaphore `number` a value (`SETVAL`), in the name of process `pid`; nobody takes back what he had done with it. Errors: `EACCES`, `EIDRM`,
    /// `EINVAL` (no such semaphore). The value is at most [`VALUE_MAX`].
    pub fn set_value(&self, number: u32, value: u16, pid: u32, caller: &dyn Caller) -> Result<()> {
        let mut state = self.permitted(caller, 2)?;
        *state.semaphores.get_mut(number as usize).ok_or(Errno::EINVAL)? = Semaphore { value, pid };
        state.undo.retain(|(_, of), _| u32::from(*of) != number);
        state.changed_s = now_s();
        state.settle();
        Ok(())
    }
    /// The same for all semaphores (`SETALL`), for which `values` has one each. Errors: `EACCES`, `EIDRM`.
    pub fn set_all(&self, values: &[u16], pid: u32, caller: &dyn Caller) -> Result<()> {
        let mut state = self.permitted(caller, 2)?;
        state.semaphores.iter_mut().zip(values).for_each(|(to, &value)| *to = Semaphore { value, pid });
        state.undo.clear();
        state.changed_s = now_s();
        state.settle();
        Ok(())
    }
    /// Whether `caller` may change the values. Errors: `EACCES`, `EIDRM`.
    pub fn check_change(&self, caller: &dyn Caller) -> Result<()> {
        self.permitted(caller, 2).map(|_| ())
    }
    /// Another owner and other permission bits (`IPC_SET`). Errors: `EPERM`, `EIDRM`.
    pub fn set_owner(&self, new: (u32, u32, u16), caller: &dyn Caller) -> Result<()> {
        let mut state = self.present()?;
        state.owner.set(new, caller)?;
        state.changed_s = now_s();
        Ok(())
    }
    /// Marks it as removed, and tells who waits. Errors: `EPERM`, `EIDRM`.
    pub(super) fn remove(&self, caller: &dyn Caller) -> Result<()> {
        let mut state = self.present()?;
        state.owner.check_owner(caller)?;
        state.removed = true;
        state.waiters.drain(..).for_each(|waiter| waiter.waiting.end(Err(Errno::EIDRM)));
        Ok(())
    }

    fn present(&self) -> Result<SpinGuard<'_, State>> {
        let state = self.state.lock();
        if state.removed { Err(Errno::EIDRM) } else { Ok(state) }
    }
    fn permitted(&self, caller: &dyn Caller, wanted: u16) -> Result<SpinGuard<'_, State>> {
        let state = self.present()?;
        state.owner.check(caller, wanted)?;
        Ok(state)
    }
}

impl State {
    /// Does all operations, or none and says which cannot be done now. Errors: `EAGAIN`: that one does not want to wait; `ERANGE`.
    fn attempt(&mut self, request: &Request) -> Result<Option<Blocked>> {
        for (done, operation) in request.operations.iter().enumerate() {
            let outcome = self.step(operation, request.undo);
            if outcome != Ok(None) {
                for operation in request.operations.iter().take(done).rev() {
                    self.step_back(operation, request.undo);
                }
                return match outcome {
                    Ok(Some(_)) if operation.never_waits() => Err(Errno::EAGAIN),
                    Ok(Some(wanted)) => {
                        let value = self.value(operation.number).unwrap_or(0);
                        Ok(Some(Blocked { number: operation.number, wanted, value }))
                    }
                    Ok(None) => Ok(None),
                    Err(error) => Err(error),
                };
            }
        }
        for operation in &request.operations {
            if let Some(semaphore) = self.semaphores.get_mut(usize::from(operation.number)) {
                semaphore.pid = request.pid;
            }
        }
        self.operated_s = now_s();
        Ok(None)
    }

    /// Does one operation; says what it waits for if it cannot be done. Errors: `ERANGE`.
    fn step(&mut self, operation: &Operation, list: u64) -> Result<Option<Wanted>> {
        let Operation { number, change, .. } = *operation;
        let before = self.value(number).ok_or(Errno::EFBIG)?;
        let value = i32::from(before) + i32::from(change);
        match value {
            _ if change == 0 => return Ok((before != 0).then_some(Wanted::Zero)),
            ..0 => return Ok(Some(Wanted::More)),
            _ if value > i32::from(VALUE_MAX) => return Err(Errno::ERANGE),
            _ => {}
        }
        if operation.undone() {
            let before = self.undo.get(&(list, number)).copied().unwrap_or(0);
            let after = before.checked_sub(change).ok_or(Errno::ERANGE)?;
            self.set_undo((list, number), after);
        }
        self.semaphores.get_mut(usize::from(number)).into_iter().for_each(|semaphore| semaphore.value = value as u16);
        Ok(None)
    }
    fn step_back(&mut self, operation: &Operation, list: u64) {
        let Operation { number, change, .. } = *operation;
        if let Some(semaphore) = self.semaphores.get_mut(usize::from(number)) {
            semaphore.value = semaphore.value.wrapping_sub(change as u16);
        }
        if operation.undone() {
            let before = self.undo.get(&(list, number)).copied().unwrap_or(0);
            self.set_undo((list, number), before.wrapping_add(change));
        }
    }
    fn set_undo(&mut self, of: (u64, u16), change: i16) {
        if change == 0 {
            self.undo.remove(&of);
        } else {
            self.undo.insert(of, change);
        }
    }
    fn value(&self, number: u16) -> Option<u16> {
        self.semaphores.get(usize::from(number)).map(|semaphore| semaphore.value)
    }

    /// Does for those who wait what has become possible, in the order in which they came. An operation that could not be done cannot be done
    /// before its semaphore has another value, so nobody else is tried.
    fn settle(&mut self) {
        let mut at = 0;
        let mut waiters = core::mem::take(&mut self.waiters);
        while let Some(waiter) = waiters.get_mut(at) {
            let outcome = match waiter.blocked {
                blocked if self.value(blocked.number) == Some(blocked.value) => Ok(Some(blocked)),
                _ => self.attempt(&waiter.request),
            };
            if let Ok(Some(blocked)) = outcome {
                waiter.blocked = blocked;
                at += 1;
                continue;
            }
            let waiter = waiters.remove(at);
            waiter.waiting.end(outcome.map(|_| ()));
            // What it has changed may be what an earlier one waits for.
            if waiter.request.operations.iter().any(|operation| operation.change != 0) {
                at = 0;
            }
        }
        self.waiters = waiters;
    }
}

fn now_s() -> i64 {
    Timespec::now().sec
}
