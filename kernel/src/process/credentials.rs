//! User and group ids.
use fs::vfs::Inode;
use smallvec::SmallVec;

/// In the mode of a program: who runs it acts as its owner.
const SETUID: u16 = 0o4000;
/// And as its group, if that may run it.
const SETGID: u16 = 0o2000 | 0o010;

/// Who a process acts as. The file-system ids follow the effective ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Credentials {
    pub uid: u32,
    pub euid: u32,
    pub suid: u32,
    pub gid: u32,
    pub egid: u32,
    pub sgid: u32,
    /// Supplementary groups.
    pub groups: SmallVec<[u32; 4]>,
}

impl Credentials {
    /// Who acts when this runs the program of `inode`; `limited`: nobody else, whatever the program's mode says. The saved ids are the effective
    /// ones afterwards.
    pub fn of_program(&self, inode: &Inode, limited: bool) -> Credentials {
        let mut who = self.clone();
        if !limited && !inode.sb.ignores_setid() {
            // Of one moment: a program that gets another owner loses its bits with the old one.
            let (mode, uid, gid) = inode.with_attr(|attr| (attr.mode, attr.uid, attr.gid));
            if mode & SETUID != 0 {
                who.euid = uid;
            }
            if mode & SETGID == SETGID {
                who.egid = gid;
            }
        }
        (who.suid, who.sgid) = (who.euid, who.egid);
        who
    }
    /// Whether it acts as another than it is: then a program must not trust its environment (`AT_SECURE`).
    pub fn is_raised(&self) -> bool {
        self.uid != self.euid || self.gid != self.egid
    }
    /// Whether `gid` is the effective group or a supplementary one.
    pub fn in_group(&self, gid: u32) -> bool {
        self.egid == gid || self.groups.contains(&gid)
    }
}
