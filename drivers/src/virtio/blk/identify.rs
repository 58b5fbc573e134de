//! The device's identity string.
use super::device::{BlkTransport, VirtioBlk};
use super::protocol::{self, ID_BYTES};
use super::queue::{Core, Doorbell, Owner, Phase};
use super::request;
use base::errno::{Errno, Result};

impl<T: BlkTransport> VirtioBlk<T> {
    /// The 20 bytes by which the host names the disk (its `serial`), padded with zeros. Asks the device once and remembers
    /// the answer. Task context, sleeps. Errors: `EIO`, `EOPNOTSUPP`.
    pub fn identify(&self) -> Result<[u8; ID_BYTES]> {
        let mut asked = false;
        let mut answer = Err(Errno::EIO);
        self.room.wait_until(|| {
            let mut core = self.first().core.lock();
            if let Some(known) = core.identity {
                answer = known;
                return true;
            }
            if core.phase == Phase::Dead {
                return true;
            }
            asked = asked || core.ask_identity();
            // Somebody sleeps for the answer, or for a slot to ask with.
            core.starved = true;
            false
        });
        answer
    }
}

impl<D: Doorbell> Core<D> {
    /// Puts the identity request into the ring; false if there is no room now.
    fn ask_identity(&mut self) -> bool {
        if self.phase != Phase::Live {
            return false;
        }
        let Some(slot) = self.take_slot() else { return false };
        match request::build_identify(&self.memory, slot) {
            Ok((descriptors, writable)) => {
                self.hand_over(slot, Owner::Identify, descriptors, writable);
                self.kick();
            }
            Err(error) => {
                self.ring.put_back(slot);
                self.identity = Some(Err(error));
            }
        }
        true
    }

    /// Remembers the answer of the device.
    pub(super) fn take_identity(&mut self, slot: crate::virtio::queue::Slot, status: u8) {
        let mut payload = [0; 32];
        self.memory.read_payload(slot, &mut payload);
        let mut identity = [0; ID_BYTES];
        identity.copy_from_slice(&payload[..ID_BYTES]);
        self.identity = Some(protocol::result_of(status).map(|()| identity));
    }
}
