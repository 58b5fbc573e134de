//! What the calls of System V IPC have in common.
use crate::ipc::Owner;
use zerocopy::{FromBytes, Immutable, IntoBytes};

pub const IPC_RMID: u32 = 0;
pub const IPC_SET: u32 = 1;
pub const IPC_STAT: u32 = 2;
pub const IPC_INFO: u32 = 3;

/// `struct ipc64_perm`
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, Default)]
#[repr(C)]
pub struct Permissions {
    pub key: i32,
    uid: u32,
    gid: u32,
    creator_uid: u32,
    creator_gid: u32,
    mode: u32,
    sequence: [u32; 2],
    unused: [u64; 2],
}

impl Permissions {
    /// Those of an object; `flags` is what its mode has besides the permission bits.
    pub fn new(key: i32, owner: &Owner, flags: u32) -> Permissions {
        Permissions {
            key,
            uid: owner.uid,
            gid: owner.gid,
            creator_uid: owner.creator_uid,
            creator_gid: owner.creator_gid,
            mode: u32::from(owner.mode) | flags,
            ..Permissions::default()
        }
    }
    /// What `IPC_SET` takes of it: owner, group, mode.
    pub fn new_owner(&self) -> (u32, u32, u16) {
        (self.uid, self.gid, self.mode as u16)
    }
}

/// The highest index for `SHM_STAT` and `SEM_STAT`.
pub fn last_index<T>(all: &[T]) -> u64 {
    all.len().saturating_sub(1) as u64
}
