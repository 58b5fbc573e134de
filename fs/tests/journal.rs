//! The journal, against `debugfs`, which writes and prints logs, and `e2fsck`, which recovers them.
mod common;
use base::Errno;
use common::{FileDisk, Image, scratch};
use fs::caller::KernelCaller;
use fs::ext4::{self, MountOptions, ROOT_INO};
use fs::io::{SliceSink, SliceSource};
use fs::vfs::{self, File, OpenFlags, Site, SyncKind, Vfs};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

const BLOCK: usize = 4096;
/// The first four bytes of every block of a log.
const MAGIC: [u8; 4] = [0xc0, 0x3b, 0x39, 0x98];

/// A mounted image with its names.
struct Mounted {
    vfs: Arc<Vfs>,
}

impl Mounted {
    fn new(image: &Image) -> Mounted {
        let (sb, _disk) = image.mount();
        let root = ext4::iget(&sb, ROOT_INO).expect("a root");
        Mounted { vfs: Vfs::new(root, b"/dev/file", None).expect("a directory") }
    }
    fn site<'a>(&self, root: &'a Arc<vfs::Inode>) -> Site<'a> {
        Site { cwd: root, caller: &KernelCaller }
    }
    fn open(&self, name: &str) -> Arc<File> {
        let root = self.vfs.root();
        let flags = OpenFlags::RDWR | OpenFlags::CREAT;
        self.vfs.open(self.site(&root), name.as_bytes(), flags, 0o644).expect("the file opens")
    }
    fn write(&self, name: &str, pos: u64, bytes: &[u8]) -> Arc<File> {
        let file = self.open(name);
        let written = vfs::write_at(&file, pos, 0, &mut SliceSource::new(bytes), &KernelCaller);
        assert_eq!(written, Ok(bytes.len()));
        file
    }
    fn read(&self, name: &str, len: usize) -> Vec<u8> {
        let file = self.open(name);
        let mut bytes = vec![0; len];
        let got = vfs::read_at(&file, 0, 0, &mut SliceSink::new(&mut bytes), &KernelCaller).expect("a read");
        bytes.truncate(got);
        bytes
    }
    fn unlink(&self, name: &str) {
        let root = self.vfs.root();
        self.vfs.unlink(self.site(&root), name.as_bytes()).expect("unlink");
    }
    fn unmount(self) {
        self.vfs.unmount_all().expect("unmount");
    }
}

fn fsync(file: &File) {
    file.ops().fsync(file, SyncKind::All).expect("fsync");
}

/// What the disk of a mounted image holds at this moment: the power goes off with every write done.
fn cut(image: &Image) -> Image {
    let path = scratch("cut");
    std::fs::copy(&image.path, &path).expect("scratch space");
    Image { path }
}

/// Feeds `debugfs` a script.
fn script(image: &Image, lines: &str) {
    let mut debugfs = Command::new("debugfs");
    debugfs.args(["-w", "-f", "-"]).arg(&image.path).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = debugfs.spawn().expect("debugfs runs");
    child.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("debugfs reads");
    assert!(child.wait().expect("debugfs ends").success());
}

fn repair(image: &Image) {
    let out = Command::new("e2fsck").arg("-fy").arg(&image.path).output().expect("e2fsck runs");
    let text = String::from_utf8_lossy(&out.stdout);
    // 1: the journal was recovered, and the sums in the superblock, which are stored at unmount, brought up to date.
    assert!(out.status.code().is_some_and(|code| code <= 1), "e2fsck -fy: {text}");
    let more = |line: &&str| line.contains("wrong") && !line.starts_with("Free ") || line.contains("lear");
    assert_eq!(text.lines().find(more), None, "e2fsck found more than a journal: {text}");
}

fn block_of(image: &Image, number: usize) -> Vec<u8> {
    let bytes = std::fs::read(&image.path).expect("the image");
    bytes[number * BLOCK..][..BLOCK].to_vec()
}

/// Free blocks near the end of the image, where `debugfs` may log what it likes.
const FREE: [usize; 5] = [8000, 8001, 8002, 8003, 8004];

/// An image whose log was written by `debugfs`: three blocks, one that is revoked later, one without its commit block.
fn logged_by_debugfs(version: &str, with: &[&str]) -> (Image, Vec<u8>) {
    let image = Image::make("32M", BLOCK as u32, with);
    let payload = scratch("payload");
    let mut bytes: Vec<u8> = (0..3 * BLOCK).map(|i| (i / 7) as u8).collect();
    bytes[..4].copy_from_slice(&MAGIC); // To be escaped in the log.
    std::fs::write(&payload, &bytes).expect("scratch space");
    let file = payload.display();
    let [a, b, c, d, e] = FREE;
    script(
        &image,
        &format!(
            "jo {version}\njw -b {a},{b},{c} {file}\njw -b {d} {file}\njw -r {d}\njw -b {e} -c {file}\njc\nquit\n"
        ),
    );
    let _ = std::fs::remove_file(&payload);
    (image, bytes)
}

#[test]
fn a_log_written_by_debugfs_is_replayed() {
    for (version, with) in [
        ("-c -v 3", &[][..]),
        ("-c -v 2", &[]),
        ("", &[]),
        ("", &["-O", "^metadata_csum,^64bit"]),
        ("-c -v 2", &["-O", "^64bit"]),
    ] {
        let (image, bytes) = logged_by_debugfs(version, with);
        let before = FREE.map(|n| block_of(&image, n));
        Mounted::new(&image).unmount();
        for (index, want) in bytes.chunks(BLOCK).enumerate() {
            assert_eq!(block_of(&image, FREE[index]), want, "{version} {with:?}: block {index}");
        }
        assert_eq!(block_of(&image, FREE[3]), before[3], "revoked: {version}");
        assert_eq!(block_of(&image, FREE[4]), before[4], "without a commit block: {version}");
        image.check();
    }
}

#[test]
fn a_read_only_mount_of_a_log_that_needs_recovery_is_refused() {
    let (image, _) = logged_by_debugfs("-c -v 3", &[]);
    let options = MountOptions { read_only: true, ..MountOptions::default() };
    let disk = FileDisk::open(&image.path);
    assert_eq!(ext4::mount(disk.clone(), 1, options).err(), Some(Errno::EROFS));
    assert_eq!(disk.writes.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[test]
fn damage_in_front_of_a_commit_block_ends_the_mount() {
    // The log of the image begins at the block of the first descriptor; where, `debugfs` tells.
    let (image, _) = logged_by_debugfs("-c -v 3", &[]);
    let start = String::from_utf8_lossy(&image.debugfs("bmap <8> 1")).trim().parse::<usize>().expect("a number");
    let good = std::fs::read(&image.path).expect("the image");
    let with_flip = |block: usize, byte: usize| {
        let mut bytes = good.clone();
        bytes[(start + block) * BLOCK + byte] ^= 4;
        std::fs::write(&image.path, &bytes).expect("write");
        ext4::mount(FileDisk::open(&image.path), 1, MountOptions::default()).err()
    };
    // 0 descriptor, 1-3 copies, 4 commit, 5 descriptor, 6 copy, 7 commit, 8 revoke, 9 commit, 10 descriptor, 11 copy.
    for block in [0, 1, 2, 3, 4, 5, 7, 8] {
        assert_eq!(with_flip(block, 40), Some(Errno::EUCLEAN), "block {block} of the log");
    }
    // A cut can tear these, or they are never looked at.
    for block in [6, 9, 10, 11] {
        assert_eq!(with_flip(block, 40), None, "block {block} of the log");
    }
}

#[test]
fn journal_features_are_refused_by_name() {
    let image = Image::make("32M", BLOCK as u32, &[]);
    let start = String::from_utf8_lossy(&image.debugfs("bmap <8> 0")).trim().parse::<usize>().expect("a number");
    let good = std::fs::read(&image.path).expect("the image");
    // Byte 43 holds the low bits of `s_feature_incompat`: asynchronous commits, fast commits, and one nobody knows.
    for bit in [0x4, 0x20, 0x80] {
        let mut bytes = good.clone();
        bytes[start * BLOCK + 43] |= bit;
        std::fs::write(&image.path, &bytes).expect("write");
        let mounted = ext4::mount(FileDisk::open(&image.path), 1, MountOptions::default());
        assert_eq!(mounted.err(), Some(Errno::EOPNOTSUPP), "feature {bit:#x}");
    }
}

/// What was durable at the cut, and what was not asked to be.
fn busy_image() -> Image {
    let image = Image::make("64M", BLOCK as u32, &[]);
    let mounted = Mounted::new(&image);
    for n in 0..40 {
        let file = mounted.write(&format!("file{n}"), n * 5000, &[n as u8 + 1; 9000]);
        if n % 3 == 0 {
            fsync(&file);
        }
    }
    (0..10).for_each(|n| mounted.unlink(&format!("file{}", n * 3)));
    let last = mounted.write("last", 0, b"durable");
    fsync(&last);
    drop(last);
    mounted.write("lost", 0, b"never asked to be durable");
    let cut = cut(&image);
    mounted.unmount();
    image.check();
    cut
}

fn check_busy(image: &Image) {
    for n in 0..40u64 {
        let bytes = image.cat(&format!("/file{n}"));
        if n % 3 == 0 && n < 30 {
            assert!(bytes.is_empty(), "file{n} was unlinked before the last fsync");
        } else if n % 3 == 0 {
            let hole = vec![0; n as usize * 5000];
            assert_eq!(bytes, [&hole[..], &[n as u8 + 1; 9000]].concat(), "file{n} was durable");
        }
    }
    assert_eq!(image.cat("/last"), b"durable");
}

#[test]
fn sluice_recovers_its_own_log() {
    let image = busy_image();
    assert!(String::from_utf8_lossy(&image.debugfs("show_super_stats -h")).contains("needs_recovery"));
    Mounted::new(&image).unmount();
    image.check();
    check_busy(&image);
}

#[test]
fn e2fsck_recovers_a_log_of_sluice_to_the_same_files() {
    let image = busy_image();
    let by_sluice = Image { path: scratch("own") };
    std::fs::copy(&image.path, &by_sluice.path).expect("scratch space");
    repair(&image);
    image.check();
    check_busy(&image);
    Mounted::new(&by_sluice).unmount();
    for n in 0..40 {
        let name = format!("/file{n}");
        assert_eq!(image.cat(&name), by_sluice.cat(&name), "{name}");
    }
}

#[test]
fn recovery_that_is_cut_is_done_again() {
    // CRA-4: a cut right after the copies, before the log is marked empty, finds the same log again.
    let image = busy_image();
    let again = cut(&image);
    Mounted::new(&image).unmount();
    let start = String::from_utf8_lossy(&again.debugfs("bmap <8> 0")).trim().parse::<usize>().expect("a number");
    let log_super = block_of(&again, start);
    let mut half = std::fs::read(&image.path).expect("the image");
    // The recovered image with the old superblocks of log and file system: they say what still has to be done.
    half[start * BLOCK..][..BLOCK].copy_from_slice(&log_super);
    half[..BLOCK].copy_from_slice(&block_of(&again, 0));
    std::fs::write(&again.path, half).expect("write");
    Mounted::new(&again).unmount();
    again.check();
    check_busy(&again);
}

#[test]
fn a_small_log_wraps_around_and_is_emptied() {
    let image = Image::make("32M", 1024, &["-J", "size=1"]);
    let mounted = Mounted::new(&image);
    for round in 0..200u64 {
        let name = format!("f{}", round % 20);
        let file = mounted.write(&name, round * 1000, &[round as u8; 3000]);
        fsync(&file);
        drop(file);
        if round % 5 == 4 {
            mounted.unlink(&name);
        }
    }
    let cut = cut(&image);
    mounted.unmount();
    image.check();
    let mounted = Mounted::new(&cut);
    assert_eq!(mounted.read("f18", 1 << 20).len(), 198_000 + 3000);
    mounted.unmount();
    cut.check();
}

/// SQLite makes a commit durable so: the journal's name goes, and the directory is synced.
#[test]
fn fdatasync_of_a_directory_makes_its_names_durable() {
    let image = Image::make("32M", BLOCK as u32, &[]);
    let mounted = Mounted::new(&image);
    for name in ["gone", "old"] {
        fsync(&mounted.write(name, 0, b"x"));
    }
    let root = mounted.vfs.root();
    let directory = mounted.vfs.open(mounted.site(&root), b"/", OpenFlags::empty(), 0).expect("the root opens");
    fsync(&directory);
    mounted.unlink("gone");
    mounted.vfs.rename(mounted.site(&root), b"old", mounted.site(&root), b"new", false).expect("rename");
    directory.ops().fsync(&directory, SyncKind::Data).expect("fdatasync");
    let state = cut(&image);
    let after = Mounted::new(&state);
    let root = after.vfs.root();
    let there = |name: &str| after.vfs.lookup(after.site(&root), name.as_bytes(), true).map(|_| ());
    assert_eq!([there("gone"), there("old"), there("new")], [Err(Errno::ENOENT), Err(Errno::ENOENT), Ok(())]);
    drop(root);
    after.unmount();
    state.check();
    drop(directory);
    mounted.unmount();
    image.check();
}

#[test]
fn cra3_freed_blocks_wait_for_the_commit_that_frees_them() {
    // The blocks of an unlinked file go to nobody before the unlink is durable.
    let image = Image::make("32M", BLOCK as u32, &[]);
    let mounted = Mounted::new(&image);
    let old = vec![b'o'; 512 * 1024];
    let file = mounted.write("old", 0, &old);
    fsync(&file);
    drop(file);
    mounted.unlink("old");
    // As much as there is: more than is free besides the blocks of the unlinked file.
    let new = mounted.open("new");
    let mut pos = 0;
    while let Ok(n) = vfs::write_at(&new, pos, 0x200, &mut SliceSource::new(&[b'n'; 64 * 1024]), &KernelCaller) {
        pos += n as u64;
        if pos % (1 << 20) != 0 {
            continue;
        }
        let state = cut(&image);
        let after = Mounted::new(&state);
        let found = after.read("old", 1 << 20);
        after.unmount();
        assert!(found.is_empty() || found == old, "after {pos} bytes of another file");
        state.check();
        if found.is_empty() {
            break;
        }
    }
    drop(new);
    mounted.unmount();
    image.check();
}

#[test]
fn size2_a_write_through_takes_the_dirty_tail_of_its_last_block_along() {
    // The write-through sends the block that also holds the last bytes of the buffered write: they are clean after it, and fsync finds
    // nothing dirty that would raise the size on the disk. With blocks that were unwritten before, and with mapped ones.
    let image = Image::make("32M", BLOCK as u32, &[]);
    let mounted = Mounted::new(&image);
    for mapped in [false, true] {
        let name = if mapped { "mapped" } else { "unwritten" };
        if mapped {
            fsync(&mounted.write(name, 0, &[b'o'; 6000]));
        }
        let file = mounted.write(name, 0, &[b'b'; 7000]);
        let through = vfs::write_at(&file, 0, 0x200, &mut SliceSource::new(&[b't'; 4500]), &KernelCaller);
        assert_eq!(through, Ok(4500));
        fsync(&file);
    }
    let after = cut(&image);
    mounted.unmount();
    let mounted = Mounted::new(&after);
    for name in ["unwritten", "mapped"] {
        let found = mounted.read(name, 1 << 20);
        assert_eq!(found.len(), 7000, "{name}");
        assert!(found == [&[b't'; 4500][..], &[b'b'; 2500]].concat(), "{name}");
    }
    mounted.unmount();
    after.check();
}

#[test]
fn a_superblock_that_was_torn_at_its_mark_is_understood() {
    let image = Image::make("32M", BLOCK as u32, &[]);
    Mounted::new(&image).unmount();
    let clean = std::fs::read(&image.path).expect("the image");
    // The same with the mark, as a mount sets it: sector by sector from either side.
    let mut marked = clean.clone();
    marked[1024 + 0x60] |= 4;
    let sum = fs::ext4::geometry::super_checksum(&marked[1024..2048]);
    marked[2044..2048].copy_from_slice(&sum.to_le_bytes());
    for (first, second) in [(&clean, &marked), (&marked, &clean)] {
        let mut torn = clean.clone();
        torn[1024..1536].copy_from_slice(&first[1024..1536]);
        torn[1536..2048].copy_from_slice(&second[1536..2048]);
        std::fs::write(&image.path, &torn).expect("write");
        Mounted::new(&image).unmount();
        image.check();
    }
    let mut wrong = clean;
    wrong[1024 + 0x78] ^= 1;
    std::fs::write(&image.path, &wrong).expect("write");
    assert_eq!(ext4::mount(FileDisk::open(&image.path), 1, MountOptions::default()).err(), Some(Errno::EUCLEAN));
}
