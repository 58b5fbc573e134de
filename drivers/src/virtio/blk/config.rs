//! Bringing the device up: feature negotiation, its limits, its durability.
use super::Params;
use super::protocol::{Features, config};
use base::block::{Durability, Limits};
use base::errno::{Errno, Result};
use base::time;
use virtio_drivers::transport::{DeviceStatus, Transport};

/// Most bytes of one bio segment: it lies within a page frame.
const SEGMENT_BYTES: u32 = base::PAGE_SIZE as u32;

/// What was agreed with the device.
#[derive(Clone, Copy, Debug)]
pub struct Agreement {
    /// Negotiated features.
    pub features: Features,
    /// Limits for the layers above.
    pub limits: Limits,
    /// Data descriptors of one request; at least `limits.max_segments`.
    pub descriptors: u16,
    /// Longest descriptor in bytes.
    pub segment_bytes_max: u32,
    /// Longest discard in sectors.
    pub discard_sectors_max: u32,
    /// Longest write-zeroes in sectors.
    pub write_zeroes_sectors_max: u32,
    /// Request queues that the device says it has; at least 1.
    pub queues: u16,
}

/// Resets the device, agrees on features and reads the limits; the device is left before `DRIVER_OK`, its queues not yet
/// set up. Errors: `EOPNOTSUPP` for a device that lacks a required feature or refuses ours, `EINVAL` for absurd limits,
/// `EIO` for one that does not come out of reset. All are logged with the reason.
///
/// The steps are those of VIRTIO 1.2, section 3.1.1. `Transport::begin_init` of the crate is not used: it neither waits for
/// the reset nor looks whether the device kept FEATURES_OK.
pub fn negotiate<T: Transport>(transport: &mut T, params: &Params) -> Result<Agreement> {
    reset(transport, params.reset_timeout_ns)?;
    // Everything known that is offered is taken.
    let features = Features::from_bits_truncate(transport.read_device_features());
    if let Some(missing) = (Features::REQUIRED - features).iter_names().next() {
        log::error!("virtio-blk: the device lacks {}", missing.0);
        return Err(Errno::EOPNOTSUPP);
    }
    let known = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER;
    transport.set_status(known);
    transport.write_driver_features(features.bits());
    transport.set_status(known | DeviceStatus::FEATURES_OK);
    if !transport.get_status().contains(DeviceStatus::FEATURES_OK) {
        log::error!("virtio-blk: the device refuses the features {features:?}");
        return Err(Errno::EOPNOTSUPP);
    }
    transport.read_consistent(|| Ok(read_limits(transport, features, params))).map_err(|_| Errno::EIO)?
}

/// Resets the device and waits until it reads back as reset. Errors: `EIO`.
fn reset<T: Transport>(transport: &mut T, timeout_ns: u64) -> Result<()> {
    transport.set_status(DeviceStatus::empty());
    let deadline_ns = time::now_ns().saturating_add(timeout_ns);
    while !transport.get_status().is_empty() {
        if time::now_ns() >= deadline_ns {
            log::error!("virtio-blk: the device does not come out of reset");
            return Err(Errno::EIO);
        }
        core::hint::spin_loop();
    }
    Ok(())
}

/// The limits as the configuration space has them now.
fn read_limits<T: Transport>(transport: &T, features: Features, params: &Params) -> Result<Agreement> {
    let field = |feature: Features, offset: usize| {
        if !features.contains(feature) {
            return Ok(None);
        }
        transport.read_config_space::<u32>(offset).map(Some).map_err(|_| Errno::EIO)
    };
    let segment_bytes_max = field(Features::SIZE_MAX, config::SIZE_MAX)?.unwrap_or(u32::MAX);
    let seg_max = field(Features::SEG_MAX, config::SEG_MAX)?.unwrap_or(1);
    let logical_block_size = field(Features::BLK_SIZE, config::BLK_SIZE)?.unwrap_or(512);
    if segment_bytes_max == 0 || seg_max == 0 || !sane_block_size(logical_block_size) {
        log::error!(
            "virtio-blk: absurd limits: size_max {segment_bytes_max}, seg_max {seg_max}, blk_size {logical_block_size}"
        );
        return Err(Errno::EINVAL);
    }
    // A segment longer than the device takes is cut; then fewer segments fit.
    let pieces = SEGMENT_BYTES.div_ceil(segment_bytes_max);
    let descriptors = seg_max.min(u32::from(params.max_segments));
    let max_segments = descriptors / pieces;
    if max_segments == 0 {
        log::error!("virtio-blk: size_max {segment_bytes_max} and seg_max {seg_max} do not carry one page");
        return Err(Errno::EINVAL);
    }
    let discard_sectors_max = field(Features::DISCARD, config::MAX_DISCARD_SECTORS)?.unwrap_or(0);
    let write_zeroes_sectors_max = field(Features::WRITE_ZEROES, config::MAX_WRITE_ZEROES_SECTORS)?.unwrap_or(0);
    Ok(Agreement {
        features,
        limits: Limits {
            capacity_sectors: read_capacity(transport)?,
            logical_block_size,
            max_segments,
            max_bytes: max_segments * SEGMENT_BYTES,
            read_only: features.contains(Features::RO),
            discard: discard_sectors_max > 0,
            write_zeroes: write_zeroes_sectors_max > 0,
        },
        descriptors: descriptors as u16,
        segment_bytes_max,
        discard_sectors_max,
        write_zeroes_sectors_max,
        queues: read_queues(transport, features)?,
    })
}

/// How many request queues the device says it has. One that says 0 has the first nevertheless, like every block device.
fn read_queues<T: Transport>(transport: &T, features: Features) -> Result<u16> {
    if !features.contains(Features::MQ) {
        return Ok(1);
    }
    let queues = transport.read_config_space::<u16>(config::NUM_QUEUES).map_err(|_| Errno::EIO)?;
    if queues == 0 {
        log::warn!("virtio-blk: the device says that it has no queue; one is used");
    }
    Ok(queues.max(1))
}

/// Sizes the layers above can work with: a power of two from a sector to a page.
fn sane_block_size(bytes: u32) -> bool {
    bytes.is_power_of_two() && (512..=SEGMENT_BYTES).contains(&bytes)
}

/// Size of the device in sectors, in two reads: a 64-bit field is only guaranteed to be readable by halves.
fn read_capacity<T: Transport>(transport: &T) -> Result<u64> {
    let half = |offset| transport.read_config_space::<u32>(offset).map(u64::from).map_err(|_| Errno::EIO);
    Ok(half(config::CAPACITY)? | half(config::CAPACITY + 4)? << 32)
}

/// What a completed write promises (DUR-3). The driver never writes `writeback`.
pub fn durability<T: Transport>(transport: &T, features: Features) -> Durability {
    if features.contains(Features::CONFIG_WCE) {
        return match transport.read_config_space::<u8>(config::WRITEBACK) {
            Ok(0) => Durability::OnCompletion,
            _ => Durability::OnFlush,
        };
    }
    // FLUSH is always taken when it is offered, so "offered but not taken" cannot be.
    if features.contains(Features::FLUSH) { Durability::OnFlush } else { Durability::Unknown }
}
