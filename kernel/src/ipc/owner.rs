//! Whose an object of System V IPC is.
use base::{Errno, Result};
use fs::caller::Caller;

/// The ids and permission bits of an object.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
    pub creator_uid: u32,
    pub creator_gid: u32,
    /// Permission bits.
    pub mode: u16,
}

impl Owner {
    /// That of an object which `caller` makes with `flags`, whose low bits are the permissions.
    pub fn new(caller: &dyn Caller, flags: u32) -> Owner {
        let (uid, gid) = (caller.uid(), caller.gid());
        Owner { uid, gid, creator_uid: uid, creator_gid: gid, mode: (flags & 0o777) as u16 }
    }
    /// Errors: `EACCES`: `caller` lacks one of the rights `wanted` (4: read, 2: write).
    pub fn check(&self, caller: &dyn Caller, wanted: u16) -> Result<()> {
        let uid = caller.uid();
        let class = if uid == self.uid || uid == self.creator_uid {
            6
        } else if caller.in_group(self.gid) || caller.in_group(self.creator_gid) {
            3
        } else {
            0
        };
        if uid == 0 || wanted & !(self.mode >> class) & 7 == 0 { Ok(()) } else { Err(Errno::EACCES) }
    }
    /// The same for the rights that a call which finds an object by its key asks for in `flags`.
    pub fn check_flags(&self, caller: &dyn Caller, flags: u32) -> Result<()> {
        self.check(caller, ((flags >> 6 | flags >> 3 | flags) & 6) as u16)
    }
    /// Errors: `EPERM`: it is not `caller`'s.
    pub fn check_owner(&self, caller: &dyn Caller) -> Result<()> {
        let uid = caller.uid();
        if uid == 0 || uid == self.uid || uid == self.creator_uid { Ok(()) } else { Err(Errno::EPERM) }
    }
    /// Gives the object to another owner with other permission bits (`IPC_SET`). Errors: `EPERM`.
    pub fn set(&mut self, (uid, gid, mode): (u32, u32, u16), caller: &dyn Caller) -> Result<()> {
        self.check_owner(caller)?;
        (self.uid, self.gid, self.mode) = (uid, gid, mode & 0o777);
        Ok(())
    }
}
