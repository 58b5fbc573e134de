//! The memory of requests: for each slot one indirect descriptor table, one header, one payload and one status byte, all
//! in one DMA area that is allocated once.
//!
//! ```text
//!   slot * stride:  | descriptor table | header 16 | payload 32 | status 1, padded to 16 |
//! ```
//!
//! The table is built front to back. Segments that touch in physical memory become one descriptor, and no descriptor is
//! longer than the device allows.
use super::ring::Slot;
use base::errno::{Errno, Result};
use hal::mem::DmaBuffer;

/// Descriptor flag: another one follows.
const NEXT: u64 = 1;
/// Descriptor flag: the device writes this memory.
const WRITE: u64 = 2;
const DESCRIPTOR: usize = 16;
const HEADER: usize = 16;
const PAYLOAD: usize = 32;
const STATUS: usize = 16;

/// Descriptors of a request that are not data: the header and the status byte.
pub const OVERHEAD: u16 = 2;
/// The status byte before the device writes it: no status of the specification.
pub const STATUS_UNWRITTEN: u8 = 0xff;

/// The request memory of every slot.
pub struct RequestMemory {
    dma: DmaBuffer,
    table_entries: u16,
    segment_bytes_max: u32,
}

impl RequestMemory {
    /// Room for `slots` requests of `segments` data descriptors, none longer than `segment_bytes_max`. Errors: `ENOMEM`.
    pub fn new(slots: u16, segments: u16, segment_bytes_max: u32) -> Result<RequestMemory> {
        let table_entries = segments.checked_add(OVERHEAD).ok_or(Errno::EINVAL)?;
        let dma = DmaBuffer::alloc(usize::from(slots) * stride(table_entries)).ok_or(Errno::ENOMEM)?;
        Ok(RequestMemory { dma, table_entries, segment_bytes_max })
    }

    /// Bus address of the slot's descriptor table.
    pub fn table_address(&self, slot: Slot) -> u64 {
        self.dma.phys() + self.table(slot) as u64
    }

    #[inline]
    fn table(&self, slot: Slot) -> usize {
        usize::from(slot.0) * stride(self.table_entries)
    }
    #[inline]
    fn header(&self, slot: Slot) -> usize {
        self.table(slot) + usize::from(self.table_entries) * DESCRIPTOR
    }
    #[inline]
    fn payload(&self, slot: Slot) -> usize {
        self.header(slot) + HEADER
    }
    #[inline]
    fn status_offset(&self, slot: Slot) -> usize {
        self.payload(slot) + PAYLOAD
    }

    /// The status byte as it stands.
    #[inline]
    pub fn status(&self, slot: Slot) -> u8 {
        self.dma.read_u8(self.status_offset(slot))
    }

    /// Copies the payload out.
    pub fn read_payload(&self, slot: Slot, dst: &mut [u8; PAYLOAD]) {
        let start = self.payload(slot);
        for (i, byte) in dst.iter_mut().enumerate() {
            *byte = self.dma.read_u8(start + i);
        }
    }

    /// Begins the slot's table with the header: `kind` and `sector` as the device reads them (VIRTIO 1.2, 5.2.6).
    #[inline]
    pub fn begin(&self, slot: Slot, kind: u32, sector: u64) -> TableWriter<'_> {
        let header = self.header(slot);
        self.dma.write_u64(header, u64::from(kind));
        self.dma.write_u64(header + 8, sector);
        self.dma.write_u8(self.status_offset(slot), STATUS_UNWRITTEN);
        let address = self.dma.phys() + header as u64;
        let pending = Piece { address, len: HEADER as u32, flags: 0 };
        TableWriter { memory: self, slot, entries: 0, writable: 0, pending }
    }
}

/// Bytes from one slot's table to the next.
#[inline]
fn stride(table_entries: u16) -> usize {
    usize::from(table_entries) * DESCRIPTOR + HEADER + PAYLOAD + STATUS
}

/// A stretch of physically contiguous memory.
#[derive(Clone, Copy)]
struct Piece {
    address: u64,
    len: u32,
    flags: u64,
}

/// Writes one slot's descriptor table. The last stretch is held back so that what touches it can be merged.
pub struct TableWriter<'a> {
    memory: &'a RequestMemory,
    slot: Slot,
    entries: u16,
    writable: u32,
    pending: Piece,
}

impl TableWriter<'_> {
    /// Appends data memory. Errors: `EINVAL` when the table is full.
    #[inline]
    pub fn data(&mut self, address: u64, len: u32, device_writes: bool) -> Result<()> {
        let flags = if device_writes { WRITE } else { 0 };
        if device_writes {
            self.writable = self.writable.checked_add(len).ok_or(Errno::EINVAL)?;
        }
        let max = self.memory.segment_bytes_max;
        let touches = self.entries > 0 && self.pending.flags == flags;
        if touches
            && self.pending.address.checked_add(u64::from(self.pending.len)) == Some(address)
            && self.pending.len.checked_add(len).is_some_and(|sum| sum <= max)
        {
            self.pending.len += len;
            return Ok(());
        }
        self.pieces(Piece { address, len, flags })
    }

    /// Appends one stretch in pieces the device allows.
    fn pieces(&mut self, mut rest: Piece) -> Result<()> {
        let max = self.memory.segment_bytes_max;
        while rest.len > 0 {
            let len = rest.len.min(max);
            self.flush()?;
            self.pending = Piece { len, ..rest };
            rest.address += u64::from(len);
            rest.len -= len;
        }
        Ok(())
    }

    /// Appends the payload, holding the words of a discard or write-zeroes range.
    pub fn payload(&mut self, words: [u64; 2]) -> Result<()> {
        let start = self.memory.payload(self.slot);
        self.memory.dma.write_u64(start, words[0]);
        self.memory.dma.write_u64(start + 8, words[1]);
        self.data(self.memory.dma.phys() + start as u64, 16, false)
    }

    /// Appends `len` bytes of the payload for the device to fill. `len` is at most 32.
    pub fn payload_in(&mut self, len: u32) -> Result<()> {
        let start = self.memory.payload(self.slot);
        self.data(self.memory.dma.phys() + start as u64, len.min(PAYLOAD as u32), true)
    }

    /// Ends the table with the status byte: the number of descriptors, and of bytes the device may write.
    #[inline]
    pub fn finish(mut self) -> Result<(u16, u32)> {
        self.flush()?;
        let status = self.memory.dma.phys() + self.memory.status_offset(self.slot) as u64;
        self.write(Piece { address: status, len: 1, flags: WRITE }, false)?;
        let writable = self.writable.checked_add(1).ok_or(Errno::EINVAL)?;
        Ok((self.entries, writable))
    }

    /// Writes the stretch that was held back; another one follows.
    #[inline]
    fn flush(&mut self) -> Result<()> {
        self.write(self.pending, true)
    }

    #[inline]
    fn write(&mut self, piece: Piece, more: bool) -> Result<()> {
        let last = self.memory.table_entries - 1;
        if self.entries > last || (more && self.entries == last) {
            return Err(Errno::EINVAL);
        }
        let at = self.memory.table(self.slot) + usize::from(self.entries) * DESCRIPTOR;
        self.entries += 1;
        let chain = if more { NEXT | u64::from(self.entries) << 16 } else { 0 };
        self.memory.dma.write_u64(at, piece.address);
        self.memory.dma.write_u64(at + 8, u64::from(piece.len) | (piece.flags | chain) << 32);
        Ok(())
    }
}
