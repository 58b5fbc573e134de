//! Who is whose child, in which process group and session; and how a parent learns of the end of a child.
//!
//! One lock orders it all. A process that has ended stays until its parent has waited for it, unless the parent does not want to know
//! (`SIGCHLD` ignored, `SA_NOCLDWAIT`) or there is none. The children of a process that ends become those of the first process.
use super::signal::Signal;
use super::{ExitStatus, Process};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use base::sync::{Arc, SpinLock, WaitQueue};
use base::{Errno, Result};
use linux_raw_sys::general as abi;

/// The id of the first process, which inherits orphans and with which everything ends.
const FIRST: u32 = 1;
/// Processes that there may be at a time, ended ones that nobody has waited for included.
const MOST: usize = 4096;

struct Member {
    process: Arc<Process>,
    parent: u32,
    group: u32,
    session: u32,
    /// What the parent is sent at the end.
    exit_signal: Option<Signal>,
    /// It has run another program since it was forked.
    has_execed: bool,
    ended: Option<ExitStatus>,
}

/// Which children a wait is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// Any.
    Any,
    /// The one of this id.
    Process(u32),
    /// Those of this process group.
    Group(u32),
}

/// A child that has ended.
pub struct Ended {
    /// Its id.
    pub pid: u32,
    /// Whose it was: its real user id.
    pub uid: u32,
    /// How it ended.
    pub status: ExitStatus,
}

/// The processes.
pub struct Family {
    members: SpinLock<BTreeMap<u32, Member>>,
    /// A process is gone.
    gone: WaitQueue,
}

impl Family {
    /// No processes.
    pub fn new() -> Family {
        Family { members: SpinLock::new(BTreeMap::new()), gone: WaitQueue::new() }
    }

    /// The process `pid`; also one that has ended.
    pub fn get(&self, pid: u32) -> Option<Arc<Process>> {
        self.members.lock().get(&pid).map(|member| member.process.clone())
    }
    /// All of them, in order of their ids.
    pub fn all(&self) -> Vec<Arc<Process>> {
        self.members.lock().values().map(|member| member.process.clone()).collect()
    }
    /// The lowest id from `pid` on that a process has.
    pub fn first_from(&self, pid: u32) -> Option<u32> {
        self.members.lock().range(pid..).next().map(|(&pid, _)| pid)
    }
    /// The processes of the group `group`.
    pub fn of_group(&self, group: u32) -> Vec<Arc<Process>> {
        let members = self.members.lock();
        members.values().filter(|member| member.group == group).map(|member| member.process.clone()).collect()
    }

    /// Takes in a process without a parent: a session and a group of its own.
    pub(super) fn add_first(&self, process: &Arc<Process>) {
        let pid = process.pid;
        let member = Member {
            process: process.clone(),
            parent: 0,
            group: pid,
            session: pid,
            exit_signal: None,
            has_execed: true,
            ended: None,
        };
        self.members.lock().insert(pid, member);
    }

    /// Takes in a child of `parent`, in its group and session. Errors: `EAGAIN`: there are too many, or the parent is none.
    pub(super) fn add_child(&self, process: &Arc<Process>, parent: u32, exit_signal: Option<Signal>) -> Result<()> {
        let mut members = self.members.lock();
        let of = members.get(&parent).ok_or(Errno::EAGAIN)?;
        let (group, session) = (of.group, of.session);
        if members.len() >= MOST {
            return Err(Errno::EAGAIN);
        }
        let process = process.clone();
        let pid = process.pid;
        members.insert(pid, Member { process, parent, group, session, exit_signal, has_execed: false, ended: None });
        Ok(())
    }

    /// Takes a child out that never ran.
    pub(super) fn remove(&self, pid: u32) {
        let gone = self.members.lock().remove(&pid);
        drop(gone);
        self.gone.wake_all();
    }

    /// `pid` has ended with `status`: its parent is told, its children are given to the first process. The last thread calls it.
    pub(super) fn ended(&self, pid: u32, status: ExitStatus) {
        let mut members = self.members.lock();
        let heir = if pid == FIRST { None } else { members.get(&FIRST).map(|member| member.process.clone()) };
        let orphans: Vec<u32> = members.iter().filter(|(_, m)| m.parent == pid).map(|(&orphan, _)| orphan).collect();
        let mut gone = Vec::new();
        for orphan in orphans {
            let Some(member) = members.get_mut(&orphan) else { continue };
            member.parent = heir.as_ref().map_or(0, |heir| heir.pid);
            member.process.set_parent(member.parent);
            if member.ended.is_some() && heir.is_none() {
                gone.extend(members.remove(&orphan));
            }
        }
        let mut told = None;
        if let Some(member) = members.get_mut(&pid) {
            member.ended = Some(status);
            let signal = member.exit_signal;
            let parent = member.parent;
            let parent = members.get(&parent).map(|member| member.process.clone());
            if parent.as_ref().is_none_or(|parent| signal == Some(Signal::SIGCHLD) && parent.ignores_children()) {
                gone.extend(members.remove(&pid));
            }
            told = parent.map(|parent| (parent, signal));
        }
        drop(members);
        drop(gone);
        self.gone.wake_all();
        heir.into_iter().for_each(|heir| heir.child_changed(None));
        told.into_iter().for_each(|(parent, signal)| parent.child_changed(signal));
    }

    /// Takes a child of `parent` that has ended and is one of `which`, or only looks at it with `keep`. `None`: there are such children,
    /// but none has ended. Errors: `ECHILD`: there are none.
    pub fn reap(&self, parent: u32, which: Which, keep: bool) -> Result<Option<Ended>> {
        let mut members = self.members.lock();
        let wanted = |(pid, member): &(&u32, &Member)| {
            let hit = match which {
                Which::Any => true,
                Which::Process(wanted) => **pid == wanted,
                Which::Group(group) => member.group == group,
            };
            hit && member.parent == parent
        };
        let mut candidates = members.iter().filter(wanted).peekable();
        candidates.peek().ok_or(Errno::ECHILD)?;
        let found = candidates.find_map(|(&pid, member)| member.ended.map(|status| (pid, status)));
        let Some((pid, status)) = found else { return Ok(None) };
        let uid = members.get(&pid).map_or(0, |member| member.process.credentials.lock().uid);
        let gone = if keep { None } else { members.remove(&pid) };
        drop(members);
        drop(gone);
        self.gone.wake_all();
        Ok(Some(Ended { pid, uid, status }))
    }

    /// The process group of `pid`. Errors: `ESRCH`.
    pub fn group(&self, pid: u32) -> Result<u32> {
        self.members.lock().get(&pid).map(|member| member.group).ok_or(Errno::ESRCH)
    }
    /// The session of `pid`. Errors: `ESRCH`.
    pub fn session(&self, pid: u32) -> Result<u32> {
        self.members.lock().get(&pid).map(|member| member.session).ok_or(Errno::ESRCH)
    }
    /// Whether `pid` has ended and was not waited for yet.
    pub fn has_ended(&self, pid: u32) -> bool {
        self.members.lock().get(&pid).is_some_and(|member| member.ended.is_some())
    }

    /// Puts `pid`, which is `caller` or one of its children, into the group `group` of the same session. Errors: `ESRCH`, `EACCES` (the
    /// child has run another program), `EPERM` (a leader of a session, another session, no such group).
    pub fn set_group(&self, caller: u32, pid: u32, group: u32) -> Result<()> {
        let mut members = self.members.lock();
        let session = members.get(&caller).ok_or(Errno::ESRCH)?.session;
        let member = members.get(&pid).filter(|member| pid == caller || member.parent == caller).ok_or(Errno::ESRCH)?;
        if pid != caller && member.has_execed {
            return Err(Errno::EACCES);
        }
        let exists = group == pid || members.values().any(|other| other.group == group && other.session == session);
        if member.session != session || member.session == pid || !exists {
            return Err(Errno::EPERM);
        }
        members.get_mut(&pid).into_iter().for_each(|member| member.group = group);
        Ok(())
    }

    /// Makes `pid` the leader of a new session and of a new group. Errors: `EPERM`: it leads a group.
    pub fn new_session(&self, pid: u32) -> Result<()> {
        let mut members = self.members.lock();
        if members.values().any(|member| member.group == pid) {
            return Err(Errno::EPERM);
        }
        if let Some(member) = members.get_mut(&pid) {
            (member.group, member.session) = (pid, pid);
        }
        Ok(())
    }

    /// Notes that `pid` has run another program.
    pub(super) fn execed(&self, pid: u32) {
        self.members.lock().get_mut(&pid).into_iter().for_each(|member| member.has_execed = true);
    }

    /// The first process has ended: everything else is killed and waited for. Task context; sleeps.
    pub fn end_all(&self) {
        self.all().iter().for_each(|process| process.die(ExitStatus::Killed(Signal::SIGKILL)));
        self.gone.wait_until(|| self.members.lock().is_empty());
    }
}

impl Default for Family {
    fn default() -> Self {
        Self::new()
    }
}

impl Process {
    /// Whether it does not want to wait for its children.
    fn ignores_children(&self) -> bool {
        let action = self.actions.lock().get(Signal::SIGCHLD);
        action.handler == 1 || action.flags & u64::from(abi::SA_NOCLDWAIT) != 0
    }
    /// A child has ended.
    fn child_changed(&self, signal: Option<Signal>) {
        self.children.wake_all();
        signal.into_iter().for_each(|signal| self.send_signal(signal));
    }
}
