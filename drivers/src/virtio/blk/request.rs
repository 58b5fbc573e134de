//! From a bio to a request in the ring, or to an answer the device is not needed for.
use super::config::Agreement;
use super::protocol::{self, kind};
use crate::virtio::queue::{RequestMemory, Slot};
use base::block::{Bio, BioOp, SECTOR_SIZE};
use base::errno::{Errno, Result};

/// Whether the device can be asked for this at all. What a bio must not be (too long, too many segments, an operation that
/// was not negotiated) is answered without the device: some devices stop for ever at a malformed request. Sectors past
/// the end are for the device to refuse, which knows its size best.
///
/// Errors: `EINVAL`, `EROFS`, `EOPNOTSUPP`.
#[inline]
pub fn admissible(bio: &Bio, agreement: &Agreement) -> Result<()> {
    let limits = &agreement.limits;
    match bio.op() {
        BioOp::Write if limits.read_only => Err(Errno::EROFS),
        BioOp::Read | BioOp::Write => {
            let blocks = u64::from(limits.logical_block_size);
            let fits =
                bio.segments().len() <= limits.max_segments as usize && bio.len_bytes() <= limits.max_bytes.into();
            let whole = bio.len_bytes() > 0 && bio.len_bytes() & (blocks - 1) == 0;
            let aligned = bio.sector().0 & (blocks / SECTOR_SIZE - 1) == 0;
            if fits && whole && aligned { Ok(()) } else { Err(Errno::EINVAL) }
        }
        BioOp::Flush if agreement.features.contains(protocol::Features::FLUSH) => Ok(()),
        BioOp::Flush => Err(Errno::EOPNOTSUPP),
        BioOp::Discard | BioOp::WriteZeroes if limits.read_only => Err(Errno::EROFS),
        BioOp::Discard => admissible_range(bio, agreement.discard_sectors_max),
        BioOp::WriteZeroes => admissible_range(bio, agreement.write_zeroes_sectors_max),
    }
}

fn admissible_range(bio: &Bio, sectors_max: u32) -> Result<()> {
    if sectors_max == 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let sectors = bio.len_bytes() / SECTOR_SIZE;
    let whole = bio.len_bytes() > 0 && bio.len_bytes().is_multiple_of(SECTOR_SIZE);
    if whole && sectors <= sectors_max.into() { Ok(()) } else { Err(Errno::EINVAL) }
}

/// Writes the slot's table for an admissible bio: the number of descriptors and the bytes the device may write.
/// Errors: `EINVAL` if the table is too short, which admission excludes.
#[inline]
pub fn build(memory: &RequestMemory, slot: Slot, bio: &Bio) -> Result<(u16, u32)> {
    let op = bio.op();
    let range = matches!(op, BioOp::Discard | BioOp::WriteZeroes);
    // The header's sector is unused by requests that carry a range or have no place (VIRTIO 1.2, 5.2.6.1).
    let sector = if matches!(op, BioOp::Read | BioOp::Write) { bio.sector().0 } else { 0 };
    let mut table = memory.begin(slot, protocol::kind_of(op), sector);
    for segment in bio.segments() {
        table.data(segment.page.phys() + u64::from(segment.offset), segment.len, op == BioOp::Read)?;
    }
    if range {
        // u64 sector, u32 count, u32 flags: the unmap flag stays 0, zeroes keep their blocks.
        table.payload([bio.sector().0, bio.len_bytes() / SECTOR_SIZE])?;
    }
    table.finish()
}

/// Writes the slot's table for the identity request.
pub fn build_identify(memory: &RequestMemory, slot: Slot) -> Result<(u16, u32)> {
    let mut table = memory.begin(slot, kind::GET_ID, 0);
    table.payload_in(protocol::ID_BYTES as u32)?;
    table.finish()
}

/// How a returned bio ends: by its status byte, and a read only with all its bytes. A device may leave the status byte out
/// of the length it reports, as some do; the byte itself tells whether it was written.
#[inline]
pub fn outcome(bio: &Bio, status: u8, written: u32) -> Result<()> {
    protocol::result_of(status)?;
    if bio.op() == BioOp::Read && u64::from(written) < bio.len_bytes() { Err(Errno::EIO) } else { Ok(()) }
}
