//! The on-disk inode: reading, checking and writing its fields.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::csum::crc32c;
use super::features::{InodeFlags, RoCompat};
use super::geometry::Geometry;
use super::layout::{InodeExtra, InodeRaw};
use crate::vfs::{FileType, Timespec};
use base::{Errno, Result};
use zerocopy::{FromBytes, IntoBytes};

const RAW: usize = size_of::<InodeRaw>();
const EXTRA: usize = size_of::<InodeExtra>();
const CHECKSUM_LO: usize = 0x7c;
const CHECKSUM_HI: usize = RAW + 2;

/// The fields of an inode in units of ours.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct InodeImage {
    pub kind: FileType,
    /// Permission bits, `0o7777`.
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub links: u16,
    pub size: u64,
    /// Allocated blocks of the file system.
    pub blocks: u64,
    pub flags: InodeFlags,
    pub generation: u32,
    pub root: [u8; 60],
    pub xattr_block: u64,
    /// Time of deletion, or the next inode of the orphan list.
    pub dtime: u32,
    pub atime: Timespec,
    pub mtime: Timespec,
    pub ctime: Timespec,
    pub btime: Timespec,
    /// Bytes in use beyond the first 128.
    pub extra_isize: u16,
}

/// The start of all checksums that belong to an inode.
pub fn inode_seed(geo: &Geometry, ino: u32, generation: u32) -> u32 {
    let seed = crc32c(geo.csum_seed.unwrap_or(!0), &ino.to_le_bytes());
    crc32c(seed, &generation.to_le_bytes())
}

/// The checksum over an inode's bytes with its own fields taken as zero.
fn checksum(seed: u32, bytes: &[u8], has_hi: bool) -> u32 {
    let part = |from: usize, to: usize| bytes.get(from..to).unwrap_or_default();
    let mut crc = crc32c(seed, part(0, CHECKSUM_LO));
    crc = crc32c(crc, &[0, 0]);
    crc = crc32c(crc, part(CHECKSUM_LO.saturating_add(2), RAW));
    if bytes.len() <= RAW {
        return crc;
    }
    crc = crc32c(crc, part(RAW, CHECKSUM_HI));
    crc = if has_hi { crc32c(crc, &[0, 0]) } else { crc32c(crc, part(CHECKSUM_HI, CHECKSUM_HI.saturating_add(2))) };
    crc32c(crc, part(CHECKSUM_HI.saturating_add(2), bytes.len()))
}

fn file_type(mode: u16) -> Option<FileType> {
    Some(match mode & 0o170000 {
        0o010000 => FileType::Fifo,
        0o020000 => FileType::CharDevice,
        0o040000 => FileType::Directory,
        0o060000 => FileType::BlockDevice,
        0o100000 => FileType::Regular,
        0o120000 => FileType::Symlink,
        0o140000 => FileType::Socket,
        _ => return None,
    })
}

fn mode_bits(kind: FileType) -> u16 {
    match kind {
        FileType::Fifo => 0o010000,
        FileType::CharDevice => 0o020000,
        FileType::Directory => 0o040000,
        FileType::BlockDevice => 0o060000,
        FileType::Regular => 0o100000,
        FileType::Symlink => 0o120000,
        FileType::Socket => 0o140000,
    }
}

/// The two on-disk words of a time: seconds, and nanoseconds with two more bits of seconds.
fn encode_time(time: Timespec) -> (u32, u32) {
    let low = time.sec as u32;
    let beyond = time.sec.wrapping_sub(i64::from(low.cast_signed()));
    let epoch = (beyond >> 32) as u32 & 3;
    (low, time.nsec << 2 | epoch)
}

fn decode_time(low: u32, extra: u32) -> Timespec {
    let sec = i64::from(low.cast_signed()).wrapping_add(i64::from(extra & 3) << 32);
    let nsec = extra >> 2;
    Timespec { sec, nsec: if nsec < 1_000_000_000 { nsec } else { 0 } }
}

/// Reads and checks an inode from its slot in the table. Errors: `EUCLEAN`.
pub fn parse(geo: &Geometry, ino: u32, bytes: &[u8]) -> Result<InodeImage> {
    let raw = InodeRaw::read_from_bytes(bytes.get(..RAW).ok_or(Errno::EUCLEAN)?).map_err(|_| Errno::EUCLEAN)?;
    let extra = match bytes.get(RAW..RAW.saturating_add(EXTRA)) {
        Some(tail) => InodeExtra::read_from_bytes(tail).map_err(|_| Errno::EUCLEAN)?,
        None => InodeExtra::default(),
    };
    let extra_isize = extra.extra_isize.get();
    let room = bytes.len().saturating_sub(RAW);
    if usize::from(extra_isize) > room || !extra_isize.is_multiple_of(4) {
        return Err(Errno::EUCLEAN);
    }
    let generation = raw.generation.get();
    if geo.csum_seed.is_some() {
        let has_hi = extra_isize >= 4;
        let crc = checksum(inode_seed(geo, ino, generation), bytes, has_hi);
        let hi = if has_hi { u32::from(extra.checksum_hi.get()) << 16 } else { crc & 0xffff_0000 };
        if crc != u32::from(raw.checksum_lo.get()) | hi {
            return Err(Errno::EUCLEAN);
        }
    }
    let mode = raw.mode.get();
    let kind = file_type(mode).ok_or(Errno::EUCLEAN)?;
    let flags = InodeFlags::from_bits_retain(raw.flags.get());
    let size = u64::from(raw.size_lo.get()) | u64::from(raw.size_hi.get()) << 32;
    if size > i64::MAX as u64 {
        return Err(Errno::EUCLEAN);
    }
    let xattr_block = u64::from(raw.file_acl_lo.get()) | u64::from(raw.file_acl_hi.get()) << 32;
    if xattr_block != 0 && !geo.contains_run(xattr_block, 1) {
        return Err(Errno::EUCLEAN);
    }
    let time = |low: u32, extra: u32, needs: u16| decode_time(low, if extra_isize >= needs { extra } else { 0 });
    Ok(InodeImage {
        kind,
        mode: mode & 0o7777,
        uid: u32::from(raw.uid_lo.get()) | u32::from(raw.uid_hi.get()) << 16,
        gid: u32::from(raw.gid_lo.get()) | u32::from(raw.gid_hi.get()) << 16,
        links: raw.links_count.get(),
        size,
        blocks: blocks_of(geo, &raw, flags),
        flags,
        generation,
        root: raw.block,
        xattr_block,
        dtime: raw.dtime.get(),
        atime: time(raw.atime.get(), extra.atime_extra.get(), 16),
        mtime: time(raw.mtime.get(), extra.mtime_extra.get(), 12),
        ctime: time(raw.ctime.get(), extra.ctime_extra.get(), 8),
        btime: if extra_isize >= 24 {
            decode_time(extra.crtime.get(), extra.crtime_extra.get())
        } else {
            Timespec::default()
        },
        extra_isize,
    })
}

/// `i_blocks` counts sectors of 512 bytes, or blocks if the inode says so.
fn blocks_of(geo: &Geometry, raw: &InodeRaw, flags: InodeFlags) -> u64 {
    let huge = geo.ro_compat.contains(RoCompat::HUGE_FILE);
    let hi = if huge { u64::from(raw.blocks_hi.get()) << 32 } else { 0 };
    let count = u64::from(raw.blocks_lo.get()) | hi;
    if huge && flags.contains(InodeFlags::HUGE_FILE) { count } else { count >> geo.block_bits.saturating_sub(9) }
}

/// Puts the image into the slot, with the checksum, which starts from the inode's `seed`. What is not in the image (attributes in
/// the inode) stays. Errors: `EUCLEAN` for a slot of the wrong size.
pub fn store(geo: &Geometry, seed: u32, image: &InodeImage, bytes: &mut [u8]) -> Result<()> {
    let mut image_flags = image.flags;
    let sectors = image.blocks << geo.block_bits.saturating_sub(9);
    let counted = if sectors >> 48 == 0 {
        image_flags.remove(InodeFlags::HUGE_FILE);
        sectors
    } else {
        image_flags.insert(InodeFlags::HUGE_FILE);
        image.blocks
    };
    let (atime, atime_extra) = encode_time(image.atime);
    let (mtime, mtime_extra) = encode_time(image.mtime);
    let (ctime, ctime_extra) = encode_time(image.ctime);
    let has_hi = image.extra_isize >= 4;
    {
        let slot = bytes.get_mut(..RAW).ok_or(Errno::EUCLEAN)?;
        let raw = InodeRaw::mut_from_bytes(slot).map_err(|_| Errno::EUCLEAN)?;
        raw.mode = (mode_bits(image.kind) | image.mode & 0o7777).into();
        raw.uid_lo = (image.uid as u16).into();
        raw.uid_hi = ((image.uid >> 16) as u16).into();
        raw.gid_lo = (image.gid as u16).into();
        raw.gid_hi = ((image.gid >> 16) as u16).into();
        raw.links_count = image.links.into();
        raw.size_lo = (image.size as u32).into();
        raw.size_hi = ((image.size >> 32) as u32).into();
        raw.blocks_lo = (counted as u32).into();
        raw.blocks_hi = ((counted >> 32) as u16).into();
        raw.flags = image_flags.bits().into();
        raw.generation = image.generation.into();
        raw.block = image.root;
        raw.file_acl_lo = (image.xattr_block as u32).into();
        raw.file_acl_hi = ((image.xattr_block >> 32) as u16).into();
        raw.dtime = image.dtime.into();
        raw.atime = atime.into();
        raw.mtime = mtime.into();
        raw.ctime = ctime.into();
    }
    if let Some(tail) = bytes.get_mut(RAW..RAW.saturating_add(EXTRA)) {
        let extra = InodeExtra::mut_from_bytes(tail).map_err(|_| Errno::EUCLEAN)?;
        extra.extra_isize = image.extra_isize.into();
        let uses = |needs: u16| image.extra_isize >= needs;
        if uses(8) {
            extra.ctime_extra = ctime_extra.into();
        }
        if uses(12) {
            extra.mtime_extra = mtime_extra.into();
        }
        if uses(16) {
            extra.atime_extra = atime_extra.into();
        }
        if uses(24) {
            let (crtime, crtime_extra) = encode_time(image.btime);
            extra.crtime = crtime.into();
            extra.crtime_extra = crtime_extra.into();
        }
    }
    put_checksum(geo, seed, bytes, has_hi);
    Ok(())
}

/// Changes `i_dtime` alone, the link of the orphan list.
pub fn store_dtime(geo: &Geometry, seed: u32, dtime: u32, extra_isize: u16, bytes: &mut [u8]) {
    const DTIME: usize = 0x14;
    if let Some(slot) = bytes.get_mut(DTIME..DTIME.saturating_add(4)) {
        slot.copy_from_slice(&dtime.to_le_bytes());
    }
    put_checksum(geo, seed, bytes, extra_isize >= 4);
}

fn put_checksum(geo: &Geometry, seed: u32, bytes: &mut [u8], has_hi: bool) {
    if geo.csum_seed.is_some() {
        let crc = checksum(seed, bytes, has_hi);
        put(bytes, CHECKSUM_LO, crc as u16);
        if has_hi {
            put(bytes, CHECKSUM_HI, (crc >> 16) as u16);
        }
    }
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(slot) = bytes.get_mut(at..at.saturating_add(2)) {
        slot.copy_from_slice(value.as_bytes());
    }
}

/// The device number in the root of a device node: the form of `stat`'s `st_rdev` on Linux x86-64 for numbers of 32 bits.
pub fn device_number(root: &[u8; 60]) -> u64 {
    let word = |at: usize| {
        let bytes = root.get(at..at.saturating_add(4)).and_then(|b| b.try_into().ok());
        u64::from(u32::from_le_bytes(bytes.unwrap_or_default()))
    };
    if word(0) != 0 { word(0) & 0xffff } else { word(4) }
}

/// The root of a device node: numbers that fit 8 bits each go the old way.
pub fn device_root(rdev: u64) -> [u8; 60] {
    let mut root = [0; 60];
    let at: usize = if rdev <= 0xffff { 0 } else { 4 };
    if let Some(slot) = root.get_mut(at..at.saturating_add(4)) {
        slot.copy_from_slice(&(rdev as u32).to_le_bytes());
    }
    root
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_disk_from_1901_to_2446() {
        for (sec, nsec) in
            [(0, 0), (-1, 999_999_999), (-(1 << 31), 1), ((1 << 31) - 1, 5), (1 << 31, 7), (0x3_7fff_ffff, 3)]
        {
            let time = Timespec { sec, nsec };
            let (low, extra) = encode_time(time);
            assert_eq!(decode_time(low, extra), time);
        }
    }

    #[test]
    fn device_numbers_survive() {
        for rdev in [0x103, 0xffff, 0x1_0305, 0xfff0_0000] {
            assert_eq!(device_number(&device_root(rdev)), rdev);
        }
    }
}
