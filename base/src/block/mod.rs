//! The block layer: one request type, one device trait, and the rules between them.
//!
//! ```text
//!   Bio ──submit──▶ SubmittedBio ──complete(status)──▶ Box<Bio> handed to its BioEnd
//!   (owner: the    (owner: the device,               (owner: whoever made it; memory is let go
//!    submitter)     exactly one completion)            in a task, never in the interrupt)
//! ```
//!
//! Rules (HOUSE 8 to 10):
//! * `submit` takes the bio; it ends exactly once, by [`SubmittedBio::complete`], with success or an error;
//! * never inside `submit` itself: always later, from the device's interrupt or a task of the device;
//! * a completion runs in hard-IRQ context: no allocation, no free, no sleeping lock;
//! * a completion gives the bio and its segments back.
mod bio;
mod device;
mod plug;

pub use bio::{Bio, BioEnd, BioOp, SECTOR_SIZE, Sector, Segment, SubmittedBio};
pub use device::{BlockDevice, Durability, Limits};
pub use plug::Plug;
pub(crate) use plug::{PlugState, kick_plugged};
