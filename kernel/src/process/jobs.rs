//! Process groups, sessions and their terminals: job control.
//!
//! ```text
//!   session ── its terminal: at most one, which belongs to no other session
//!     │              │
//!     │              ▼ foreground
//!     ├── group A (the shell)
//!     ├── group B (a job)        the group that keys send signals to, and that may read
//!     └── group C (a job)        in the background: reading stops it
//! ```
//!
//! A group is orphaned if none of its processes has a parent in another group of the session, who could look after it when it stops. The
//! first process does not look after what it inherits, but it may be a shell and have jobs of its own.
use super::Process;
use super::family::{Family, Members};
use super::signal::Signal;
use crate::files::Tty;
use alloc::vec::Vec;
use base::sync::Arc;
use base::{Errno, Result};

/// The terminal of a session.
pub(super) struct Control {
    terminal: Arc<Tty>,
    pub(super) foreground: u32,
    /// Nobody has asked for it.
    given: bool,
}

/// Why a session is to have a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// The kernel gives it to the first program, which may be a shell. If it is not, a session that asks for it gets it.
    Given,
    /// It was opened.
    Opened,
    /// It was asked for.
    Asked,
    /// The same, whoever has it.
    Stolen,
}

/// How a process stands to a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It is not that of its session: no rules.
    Foreign,
    /// Its group is the one in the foreground.
    Foreground,
    /// Its group is another.
    Background {
        /// That group.
        group: u32,
        /// Nobody looks after it.
        orphaned: bool,
    },
}

impl Members {
    /// The session of `pid` and its terminal. Errors: `ENOTTY`: it has none.
    fn control(&mut self, pid: u32) -> Result<(u32, &mut Control)> {
        let member = self.get(&pid).filter(|member| !member.detached).ok_or(Errno::ENOTTY)?;
        let session = member.session;
        self.terminals.get_mut(&session).map(|control| (session, control)).ok_or(Errno::ENOTTY)
    }
    /// As [`Self::control`], but the terminal has to be `tty`.
    fn control_of(&mut self, pid: u32, tty: &Arc<Tty>) -> Result<(u32, &mut Control)> {
        self.control(pid).ok().filter(|(_, control)| Arc::ptr_eq(&control.terminal, tty)).ok_or(Errno::ENOTTY)
    }

    fn is_orphaned(&self, group: u32) -> bool {
        !self.values().any(|member| {
            let looked_after = || self.get(&member.parent).is_some_and(|parent| links(parent, member));
            member.group == group && member.ended.is_none() && !member.adopted && looked_after()
        })
    }

    /// The groups that `pid` keeps from being orphaned: its own, by its parent, and those of its children.
    pub(super) fn links_of(&self, pid: u32) -> Vec<u32> {
        let Some(member) = self.get(&pid) else { return Vec::new() };
        let own = self.get(&member.parent).filter(|parent| links(parent, member)).map(|_| member.group);
        let children = self.values().filter(|child| child.parent == pid && links(member, child));
        let mut groups: Vec<u32> = own.into_iter().chain(children.map(|child| child.group)).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// Those of `groups` that are orphaned now, with a process that is stopped.
    pub(super) fn left_alone(&self, groups: &[u32]) -> Vec<u32> {
        let stopped = |group: u32| self.values().any(|member| member.group == group && member.stopped);
        groups.iter().copied().filter(|&group| self.is_orphaned(group) && stopped(group)).collect()
    }
}

/// Whether `parent` looks after the group of `child`.
fn links(parent: &super::family::Member, child: &super::family::Member) -> bool {
    parent.session == child.session && parent.group != child.group
}

impl Family {
    /// The processes of the group `group`.
    pub fn of_group(&self, group: u32) -> Vec<Arc<Process>> {
        let members = self.members.lock();
        members.values().filter(|member| member.group == group).map(|member| member.process.clone()).collect()
    }
    /// Sends `signal` to all of `group`. Task context.
    pub fn signal_group(&self, group: u32, signal: Signal) {
        self.of_group(group).iter().for_each(|process| process.send_signal(signal));
    }
    /// Its terminal is gone, or nobody looks after it any more: it ends, unless it knows what to do, and is not left stopped.
    pub(super) fn hang_up(&self, group: u32) {
        self.signal_group(group, Signal::SIGHUP);
        self.signal_group(group, Signal::SIGCONT);
    }

    /// The process group of `pid`. Errors: `ESRCH`.
    pub fn group(&self, pid: u32) -> Result<u32> {
        self.members.lock().get(&pid).map(|member| member.group).ok_or(Errno::ESRCH)
    }
    /// The session of `pid`. Errors: `ESRCH`.
    pub fn session(&self, pid: u32) -> Result<u32> {
        self.members.lock().get(&pid).map(|member| member.session).ok_or(Errno::ESRCH)
    }
    /// Whether the group of `pid` is orphaned.
    pub(super) fn is_orphaned(&self, pid: u32) -> bool {
        let members = self.members.lock();
        members.get(&pid).is_none_or(|member| members.is_orphaned(member.group))
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

    /// Makes `pid` the leader of a new session, which has no terminal, and of a new group. Errors: `EPERM`: it leads a group.
    pub fn new_session(&self, pid: u32) -> Result<()> {
        let mut members = self.members.lock();
        if members.values().any(|member| member.group == pid) {
            return Err(Errno::EPERM);
        }
        if let Some(member) = members.get_mut(&pid) {
            (member.group, member.session, member.detached) = (pid, pid, false);
        }
        Ok(())
    }

    /// The terminal of `pid`'s session, and the group in its foreground. Errors: `ENOTTY`.
    pub fn terminal(&self, pid: u32) -> Result<(Arc<Tty>, u32)> {
        self.members.lock().control(pid).map(|(_, control)| (control.terminal.clone(), control.foreground))
    }
    /// How `pid` stands to `tty`.
    pub fn standing(&self, pid: u32, tty: &Arc<Tty>) -> Standing {
        let mut members = self.members.lock();
        let Ok(foreground) = members.control_of(pid, tty).map(|(_, control)| control.foreground) else {
            return Standing::Foreign;
        };
        match members.get(&pid).map(|member| member.group) {
            Some(group) if group != foreground => Standing::Background { group, orphaned: members.is_orphaned(group) },
            _ => Standing::Foreground,
        }
    }
    /// The group that keys typed at `tty` send signals to; none if it belongs to no session.
    pub fn foreground(&self, tty: &Arc<Tty>) -> Option<u32> {
        let members = self.members.lock();
        members.terminals.values().find(|control| Arc::ptr_eq(&control.terminal, tty)).map(|control| control.foreground)
    }
    /// Session and foreground group of `tty`, the terminal of `pid`. Errors: `ENOTTY`: it is not.
    pub fn job_control(&self, pid: u32, tty: &Arc<Tty>) -> Result<(u32, u32)> {
        self.members.lock().control_of(pid, tty).map(|(session, control)| (session, control.foreground))
    }

    /// Brings `group` to the foreground of `tty`. Errors: `ENOTTY` (not the terminal of `pid`), `ESRCH` (no such group), `EPERM` (of another
    /// session).
    pub fn set_foreground(&self, pid: u32, tty: &Arc<Tty>, group: u32) -> Result<()> {
        let mut members = self.members.lock();
        let (session, _) = members.control_of(pid, tty)?;
        let of = members.values().find(|member| member.group == group).ok_or(Errno::ESRCH)?;
        if of.session != session {
            return Err(Errno::EPERM);
        }
        members.control_of(pid, tty)?.1.foreground = group;
        Ok(())
    }

    /// Makes `tty` the terminal of the session that `pid` leads, as `claim` says. Errors: `EPERM`: it is no leader, the session has another
    /// terminal, or the terminal a session that keeps it.
    pub fn acquire_terminal(&self, pid: u32, tty: &Arc<Tty>, claim: Claim) -> Result<()> {
        let mut members = self.members.lock();
        let member = members.get(&pid).filter(|member| member.session == pid).ok_or(Errno::EPERM)?;
        let foreground = member.group;
        if let Some(control) = members.terminals.get(&pid) {
            return if Arc::ptr_eq(&control.terminal, tty) { Ok(()) } else { Err(Errno::EPERM) };
        }
        let owner = members.terminals.iter().find(|(_, control)| Arc::ptr_eq(&control.terminal, tty));
        let keeps = |control: &Control| match claim {
            Claim::Stolen => false,
            Claim::Asked => !control.given,
            Claim::Given | Claim::Opened => true,
        };
        if owner.is_some_and(|(_, control)| keeps(control)) {
            return Err(Errno::EPERM);
        }
        let owner = owner.map(|(&owner, _)| owner);
        let before = owner.and_then(|owner| members.terminals.remove(&owner));
        let given = claim == Claim::Given;
        members.terminals.insert(pid, Control { terminal: tty.clone(), foreground, given });
        drop(members);
        drop(before);
        Ok(())
    }

    /// `pid` gives `tty` up: for the whole session, if it leads that, and then whoever is in the foreground is told. Errors: `ENOTTY`: it is not
    /// its terminal.
    pub fn release_terminal(&self, pid: u32, tty: &Arc<Tty>) -> Result<()> {
        let mut members = self.members.lock();
        let (session, _) = members.control_of(pid, tty)?;
        if session != pid {
            members.get_mut(&pid).into_iter().for_each(|member| member.detached = true);
            return Ok(());
        }
        let control = members.terminals.remove(&pid);
        drop(members);
        control.into_iter().for_each(|control| self.hang_up(control.foreground));
        Ok(())
    }
}
