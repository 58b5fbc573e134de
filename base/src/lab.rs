//! The hooks of SEMANTICS A27: anchors where a test can stop a path, and guards the bug museum can switch off.
//!
//! Without the features `lab` and `museum` both are empty and leave no trace in the ELF.

/// A named point of a path (HK-1): `anchor!("S-5", inode.ino)`.
#[macro_export]
macro_rules! anchor {
    ($name:literal, $id:expr) => {
        $crate::lab::anchor($name, $id)
    };
}

/// A condition that protects against the named hazard: plain `cond`, unless the bug museum switches the guard off.
#[macro_export]
macro_rules! guard {
    ($name:literal, $cond:expr) => {
        ($crate::lab::guard_on($name) && $cond)
    };
}

/// Passes the anchor `name` for the object `id` (an inode number, unless the anchor says otherwise).
#[inline(always)]
pub fn anchor(_name: &'static str, _id: u64) {}

/// Whether the guard `name` is on.
#[inline(always)]
pub fn guard_on(_name: &'static str) -> bool {
    true
}
