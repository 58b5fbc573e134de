//! A split virtqueue whose requests are indirect descriptor tables (VIRTIO 1.2, section 2.7).
//!
//! | file | idea |
//! |---|---|
//! | `index` | wrap-safe arithmetic on 16-bit indices; no memory, no device |
//! | `kick` | when to notify and when to be notified: the two Dekker-like handshakes with the device |
//! | `layout` | where the three areas of a ring lie |
//! | `ring` | the queue: slots out to the device, slots back, everything the device writes is checked |
//! | `table` | the request memory: one descriptor table, header and status byte for each slot |
//!
//! # The life of a slot
//!
//! A slot is a descriptor index of the ring and the piece of request memory with the same number. The driver's private
//! word `out[slot]` encodes its state; nothing the device can write does.
//!
//! 1. *free*: on the free list, `out[slot] == 0`. Owner: the queue.
//! 2. *taken*: off the free list, `out[slot] == 0`. Owner: the submitter, who fills its table.
//! 3. *offered*: in the available ring, `out[slot]` is the number of bytes the device may write (never 0, there is always
//!    a status byte). Owner: the device, from the publication of the index on, whether it was kicked or not.
//! 4. *used*: the device has returned it, and the id and the length it wrote passed the checks: `out[slot] == 0` again.
//!    Owner: the driver, which reads the status and puts the slot back (state 1).
//!
//! A device that breaks the protocol ([`Broken`]) leaves its slots in state 3 until it was reset and read back as quiet;
//! only then [`SplitQueue::forget`] makes them free.
//!
//! # The order of steps
//!
//! *Submit*: record the request (state, table, descriptor, ring entry), publish the index, then notify.
//! *Interrupt*: acknowledge (message-signalled interrupts need nothing from the driver), drain until empty, ask for the
//! next interrupt, look once more. `kick` says why neither side can sleep with work in the ring.
mod index;
mod kick;
mod layout;
mod ring;
mod table;

pub use index::{need_event, pending};
pub use kick::{Kick, KickGate, SharedWords, UsedCursor};
pub use layout::Layout;
pub use ring::{Broken, Slot, SplitQueue, Used};
pub use table::{RequestMemory, TableWriter};
