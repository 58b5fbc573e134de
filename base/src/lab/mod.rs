//! The hooks of SEMANTICS A27: anchors where a test can stop a path, guards the bug museum can switch off, and failures
//! that a test plans.
//!
//! | file | idea | feature |
//! |---|---|---|
//! | `anchor` | `Stop`: a named point of a path where tasks stop until the test lets them go (HK-1) | `lab` |
//! | `museum` | `switch_off`: guards that protect against a named hazard, switched off one at a time | `museum` |
//! | `scope` | which tasks an experiment is about: those that the task which set it up has started | `lab` |
//!
//! Without the features `anchor!`, `guard!` and `mistake!` are empty and leave no trace in the ELF. With them, a passage costs one load
//! as long as nobody experiments.
#[cfg(feature = "lab")]
mod anchor;
#[cfg(feature = "museum")]
mod museum;
#[cfg(feature = "lab")]
mod scope;

#[cfg(feature = "lab")]
pub use anchor::{Stop, stop_at};
#[cfg(feature = "museum")]
pub use museum::{SwitchedOff, switch_off};
#[cfg(feature = "lab")]
pub use scope::scope;
#[cfg(feature = "lab")]
pub(crate) use scope::scope_for_new_task;

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

/// A mistake that the guard of the named hazard keeps out: `body` runs only while the bug museum has the guard switched off, so
/// that the right code beside it reads as if nothing else had ever stood there.
#[macro_export]
macro_rules! mistake {
    ($name:literal, $body:expr) => {
        if !$crate::lab::guard_on($name) {
            $body;
        }
    };
}

/// Passes the anchor `name` for the object `id` (an inode number, unless the anchor says otherwise). May sleep if a test
/// says so; where sleeping is not allowed (an interrupt of the booted kernel, under a spin lock) it is only counted.
#[inline(always)]
pub fn anchor(name: &'static str, id: u64) {
    #[cfg(feature = "lab")]
    anchor::pass(name, id);
    #[cfg(not(feature = "lab"))]
    let _ = (name, id);
}

/// Whether the guard `name` is on.
#[inline(always)]
pub fn guard_on(name: &'static str) -> bool {
    #[cfg(feature = "museum")]
    return museum::is_on(name);
    #[cfg(not(feature = "museum"))]
    {
        let _ = name;
        true
    }
}
