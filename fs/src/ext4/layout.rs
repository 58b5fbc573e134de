//! On-disk structures: superblock, group descriptor, inode. Little-endian, unaligned, valid for any bytes.
//!
//! Extent nodes and directory blocks stand with the code that walks them. Values are only stored here; what they must
//! satisfy is checked by [`super::geometry`] at mount and by [`super::inode`] when an inode is read.
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `s_magic`.
pub const MAGIC: u16 = 0xef53;
/// Byte position of the superblock on the device.
pub const SUPER_OFFSET: u64 = 1024;
/// Bytes of the superblock.
pub const SUPER_SIZE: usize = 1024;
/// Inode number of the root directory.
pub const ROOT_INO: u32 = 2;
/// `s_state`: unmounted in order.
pub const STATE_CLEAN: u16 = 1;
/// `s_state`: an error was found.
pub const STATE_ERROR: u16 = 2;

/// The superblock: 1024 bytes at [`SUPER_OFFSET`].
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone)]
#[repr(C)]
#[allow(missing_docs)]
pub struct SuperBlockRaw {
    pub inodes_count: U32,
    pub blocks_count_lo: U32,
    pub r_blocks_count_lo: U32,
    pub free_blocks_count_lo: U32,
    pub free_inodes_count: U32,
    pub first_data_block: U32,
    pub log_block_size: U32,
    pub log_cluster_size: U32,
    pub blocks_per_group: U32,
    pub clusters_per_group: U32,
    pub inodes_per_group: U32,
    pub mtime: U32,
    pub wtime: U32,
    pub mnt_count: U16,
    pub max_mnt_count: U16,
    pub magic: U16,
    pub state: U16,
    pub errors: U16,
    pub minor_rev_level: U16,
    pub lastcheck: U32,
    pub checkinterval: U32,
    pub creator_os: U32,
    pub rev_level: U32,
    pub def_resuid: U16,
    pub def_resgid: U16,
    pub first_ino: U32,
    pub inode_size: U16,
    pub block_group_nr: U16,
    pub feature_compat: U32,
    pub feature_incompat: U32,
    pub feature_ro_compat: U32,
    pub uuid: [u8; 16],
    pub volume_name: [u8; 16],
    pub last_mounted: [u8; 64],
    pub algorithm_usage_bitmap: U32,
    pub prealloc_blocks: u8,
    pub prealloc_dir_blocks: u8,
    pub reserved_gdt_blocks: U16,
    pub journal_uuid: [u8; 16],
    pub journal_inum: U32,
    pub journal_dev: U32,
    pub last_orphan: U32,
    pub hash_seed: [U32; 4],
    pub def_hash_version: u8,
    pub jnl_backup_type: u8,
    pub desc_size: U16,
    pub default_mount_opts: U32,
    pub first_meta_bg: U32,
    pub mkfs_time: U32,
    pub jnl_blocks: [U32; 17],
    pub blocks_count_hi: U32,
    pub r_blocks_count_hi: U32,
    pub free_blocks_count_hi: U32,
    pub min_extra_isize: U16,
    pub want_extra_isize: U16,
    pub flags: U32,
    pub raid_stride: U16,
    pub mmp_interval: U16,
    pub mmp_block: U64,
    pub raid_stripe_width: U32,
    pub log_groups_per_flex: u8,
    pub checksum_type: u8,
    pub encryption_level: u8,
    pub reserved_pad: u8,
    pub kbytes_written: U64,
    pub snapshot: [U32; 5],
    pub error_count: U32,
    pub first_error: [u8; 52],
    pub last_error: [u8; 52],
    pub mount_opts: [u8; 64],
    pub usr_quota_inum: U32,
    pub grp_quota_inum: U32,
    pub overhead_clusters: U32,
    pub backup_bgs: [U32; 2],
    pub encrypt_algos: [u8; 4],
    pub encrypt_pw_salt: [u8; 16],
    pub lpf_ino: U32,
    pub prj_quota_inum: U32,
    pub checksum_seed: U32,
    pub time_hi: [u8; 8],
    pub encoding: [u8; 4],
    pub orphan_file_inum: U32,
    pub reserved: [U32; 94],
    pub checksum: U32,
}
const _: () = assert!(size_of::<SuperBlockRaw>() == SUPER_SIZE);

/// `s_flags`: directory hashes treat `char` as signed.
pub const FLAG_SIGNED_HASH: u32 = 1;
/// `s_flags`: directory hashes treat `char` as unsigned.
pub const FLAG_UNSIGNED_HASH: u32 = 2;

/// A group descriptor of 64 bytes. A short one (32 bytes) is its first half.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Default)]
#[repr(C)]
#[allow(missing_docs)]
pub struct GroupDescRaw {
    pub block_bitmap_lo: U32,
    pub inode_bitmap_lo: U32,
    pub inode_table_lo: U32,
    pub free_blocks_lo: U16,
    pub free_inodes_lo: U16,
    pub used_dirs_lo: U16,
    pub flags: U16,
    pub exclude_bitmap_lo: U32,
    pub block_bitmap_csum_lo: U16,
    pub inode_bitmap_csum_lo: U16,
    pub itable_unused_lo: U16,
    pub checksum: U16,
    pub block_bitmap_hi: U32,
    pub inode_bitmap_hi: U32,
    pub inode_table_hi: U32,
    pub free_blocks_hi: U16,
    pub free_inodes_hi: U16,
    pub used_dirs_hi: U16,
    pub itable_unused_hi: U16,
    pub exclude_bitmap_hi: U32,
    pub block_bitmap_csum_hi: U16,
    pub inode_bitmap_csum_hi: U16,
    pub reserved: U32,
}
const _: () = assert!(size_of::<GroupDescRaw>() == 64);

/// The inode's first 128 bytes, which every inode size has.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone)]
#[repr(C)]
#[allow(missing_docs)]
pub struct InodeRaw {
    pub mode: U16,
    pub uid_lo: U16,
    pub size_lo: U32,
    pub atime: U32,
    pub ctime: U32,
    pub mtime: U32,
    pub dtime: U32,
    pub gid_lo: U16,
    pub links_count: U16,
    pub blocks_lo: U32,
    pub flags: U32,
    pub version: U32,
    pub block: [u8; 60],
    pub generation: U32,
    pub file_acl_lo: U32,
    pub size_hi: U32,
    pub obso_faddr: U32,
    pub blocks_hi: U16,
    pub file_acl_hi: U16,
    pub uid_hi: U16,
    pub gid_hi: U16,
    pub checksum_lo: U16,
    pub reserved: U16,
}
const _: () = assert!(size_of::<InodeRaw>() == 128);

/// What follows [`InodeRaw`] in larger inodes; only the first `extra_isize` bytes are in use.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Default)]
#[repr(C)]
#[allow(missing_docs)]
pub struct InodeExtra {
    pub extra_isize: U16,
    pub checksum_hi: U16,
    pub ctime_extra: U32,
    pub mtime_extra: U32,
    pub atime_extra: U32,
    pub crtime: U32,
    pub crtime_extra: U32,
    pub version_hi: U32,
    pub projid: U32,
}
const _: () = assert!(size_of::<InodeExtra>() == 32);
