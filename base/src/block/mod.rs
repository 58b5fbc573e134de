//! The block layer: one request type, one device trait, and the rules between them.
//!
//! ```text
//!   Bio ──submit──▶ SubmittedBio ──complete(status)──▶ Box<Bio> handed to its BioEnd
//!   (owner: the    (owner: the device,               (owner: whoever made it; memory is let go
//!    submitter)     exactly one completion)            in a task, never in the interrupt)
//! ```
//!
//! Rules:
//! * `submit` takes the bio; it ends exactly once, by [`SubmittedBio::complete`], with success or an error;
//! * never inside `submit` itself: always later, from the device's interrupt or a task of the device;
//! * a completion runs in hard-IRQ context: no allocation, no free, no sleeping lock;
//! * a completion gives the bio and its segments back.
//!
//! | file | idea |
//! |---|---|
//! | `bio` | the request and its ownership |
//! | `device` | what a disk offers |
//! | `plug` | one kick for a batch |
//! | `room` | room on a device for who must not sleep |
//! | `wait` | one request, waited for |
//! | `gate` | HK-2: a disk whose requests a test holds, reorders and fails (feature `lab`) |
//! | `ram_disk` | a disk in memory with a volatile write cache (feature `testing`) |
mod bio;
mod device;
#[cfg(feature = "lab")]
mod gate;
mod plug;
#[cfg(feature = "testing")]
mod ram_disk;
mod room;
mod wait;

pub use bio::{Bio, BioEnd, BioOp, SECTOR_SIZE, Sector, Segment, SubmittedBio};
pub use device::{BlockDevice, Durability, Limits};
#[cfg(feature = "lab")]
pub use gate::{Filter, Gate, Request};
pub use plug::Plug;
pub(crate) use plug::{PlugState, kick_plugged};
#[cfg(feature = "testing")]
pub use ram_disk::{RamDisk, RamDiskBuilder};
pub use room::{Promise, Room};
pub use wait::{flush_and_wait, submit_and_wait};

/// Ends `bio` as a device's interrupt would.
#[cfg(feature = "lab")]
fn complete_as_interrupt(bio: SubmittedBio, status: crate::Result<()>) {
    #[cfg(not(target_os = "none"))]
    hal::irq::as_interrupt(|| bio.complete(status));
    #[cfg(target_os = "none")]
    hal::irq::with_disabled(|| bio.complete(status));
}
