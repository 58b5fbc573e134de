//! Numbers of the block device (VIRTIO 1.2, section 5.2): features, configuration fields, requests, status bytes.
use base::block::BioOp;
use base::errno::{Errno, Result};
use bitflags::bitflags;

bitflags! {
    /// Feature bits this driver knows of a block device and of its ring.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Features: u64 {
        /// `size_max` is valid.
        const SIZE_MAX = 1 << 1;
        /// `seg_max` is valid.
        const SEG_MAX = 1 << 2;
        /// The device is read-only.
        const RO = 1 << 5;
        /// `blk_size` is valid.
        const BLK_SIZE = 1 << 6;
        /// Flush requests are taken.
        const FLUSH = 1 << 9;
        /// `writeback` says whether the write cache is on.
        const CONFIG_WCE = 1 << 11;
        /// There may be more than one request queue: `num_queues` is valid.
        const MQ = 1 << 12;
        /// Discard requests are taken.
        const DISCARD = 1 << 13;
        /// Write-zeroes requests are taken.
        const WRITE_ZEROES = 1 << 14;
        /// Requests may be indirect descriptor tables.
        const INDIRECT_DESC = 1 << 28;
        /// Kicks and interrupts are suppressed by index.
        const EVENT_IDX = 1 << 29;
        /// Version 1 or later of the specification.
        const VERSION_1 = 1 << 32;
    }
}

impl Features {
    /// Without these the driver refuses the device, by name.
    pub const REQUIRED: Features = Features::VERSION_1.union(Features::INDIRECT_DESC);
}

/// Byte offsets of the configuration fields.
pub mod config {
    /// u64, sectors.
    pub const CAPACITY: usize = 0;
    /// u32, bytes.
    pub const SIZE_MAX: usize = 8;
    /// u32, data segments of a request.
    pub const SEG_MAX: usize = 12;
    /// u32, bytes.
    pub const BLK_SIZE: usize = 20;
    /// u8: 0 means a completed write is durable.
    pub const WRITEBACK: usize = 32;
    /// u16, request queues.
    pub const NUM_QUEUES: usize = 34;
    /// u32, sectors.
    pub const MAX_DISCARD_SECTORS: usize = 36;
    /// u32, sectors.
    pub const MAX_WRITE_ZEROES_SECTORS: usize = 48;
}

/// Request types.
pub mod kind {
    /// Device to memory.
    pub const IN: u32 = 0;
    /// Memory to device.
    pub const OUT: u32 = 1;
    /// Flush.
    pub const FLUSH: u32 = 4;
    /// Get the 20-byte identity.
    pub const GET_ID: u32 = 8;
    /// Discard.
    pub const DISCARD: u32 = 11;
    /// Write zeroes.
    pub const WRITE_ZEROES: u32 = 13;
}

/// Bytes of the identity string.
pub const ID_BYTES: usize = 20;

/// The request type of a bio.
#[inline]
pub fn kind_of(op: BioOp) -> u32 {
    match op {
        BioOp::Read => kind::IN,
        BioOp::Write => kind::OUT,
        BioOp::Flush => kind::FLUSH,
        BioOp::Discard => kind::DISCARD,
        BioOp::WriteZeroes => kind::WRITE_ZEROES,
    }
}

/// What a status byte means. A byte that the device did not write, or that no specification names, is an I/O error.
/// Errors: `EIO`, `EOPNOTSUPP`.
#[inline]
pub fn result_of(status: u8) -> Result<()> {
    match status {
        0 => Ok(()),
        2 => Err(Errno::EOPNOTSUPP),
        _ => Err(Errno::EIO),
    }
}
