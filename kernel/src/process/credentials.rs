//! User and group ids.
use smallvec::SmallVec;

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
    /// Whether `gid` is the effective group or a supplementary one.
    pub fn in_group(&self, gid: u32) -> bool {
        self.egid == gid || self.groups.contains(&gid)
    }
}
