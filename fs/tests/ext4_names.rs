//! Names on real images: thousands of entries, indexes made here and by `e2fsck -D`, renames, links; judged by `e2fsck -fn`.
mod common;
use base::Errno;
use common::Image;
use fs::caller::KernelCaller;
use fs::ext4::{self, ROOT_INO};
use fs::vfs::{FileType, Inode, SuperBlock, iput};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

/// A directory with the locks that the VFS would take.
#[derive(Clone)]
struct Dir(Arc<Inode>);

impl Dir {
    fn root(sb: &Arc<SuperBlock>) -> Dir {
        Dir(ext4::iget(sb, ROOT_INO).expect("the root directory"))
    }
    fn lookup(&self, name: &str) -> base::Result<Arc<Inode>> {
        let _names = self.0.lock.read();
        self.0.ops().lookup(&self.0, name.as_bytes())
    }
    fn sub(&self, name: &str) -> Dir {
        Dir(self.lookup(name).expect("a directory"))
    }
    fn create(&self, name: &str) -> base::Result<Arc<Inode>> {
        let _names = self.0.lock.write();
        self.0.ops().create(&self.0, name.as_bytes(), FileType::Regular, 0o644, 0, &KernelCaller)
    }
    fn mkdir(&self, name: &str) -> base::Result<Dir> {
        let _names = self.0.lock.write();
        self.0.ops().mkdir(&self.0, name.as_bytes(), 0o755, &KernelCaller).map(Dir)
    }
    fn symlink(&self, name: &str, target: &[u8]) -> base::Result<Arc<Inode>> {
        let _names = self.0.lock.write();
        self.0.ops().symlink(&self.0, name.as_bytes(), target, &KernelCaller)
    }
    fn link(&self, name: &str, inode: &Arc<Inode>) -> base::Result<()> {
        let _names = self.0.lock.write();
        self.0.ops().link(&self.0, name.as_bytes(), inode)
    }
    fn remove(&self, name: &str) -> base::Result<()> {
        let victim = self.lookup(name)?;
        {
            let _names = self.0.lock.write();
            match victim.kind {
                FileType::Directory => self.0.ops().rmdir(&self.0, name.as_bytes(), &victim)?,
                _ => self.0.ops().unlink(&self.0, name.as_bytes(), &victim)?,
            }
        }
        iput(victim);
        Ok(())
    }
    fn rename(&self, old: &str, to: &Dir, new: &str) -> base::Result<()> {
        let (inode, target) = (self.lookup(old)?, to.lookup(new).ok());
        self.0.ops().rename(&self.0, old.as_bytes(), &inode, &to.0, new.as_bytes(), target.as_ref())?;
        if let Some(target) = target {
            iput(target);
        }
        Ok(())
    }
    /// All names but the two dots, read `chunk` at a time.
    fn names(&self, chunk: usize) -> BTreeMap<String, u64> {
        let (mut all, mut pos) = (BTreeMap::new(), 0);
        loop {
            let (mut taken, from) = (0, pos);
            let emit = &mut |entry: fs::vfs::DirEntry<'_>| {
                if taken == chunk {
                    return false;
                }
                taken += 1;
                pos = entry.next_pos;
                let name = String::from_utf8(entry.name.to_vec()).expect("a test's name");
                assert!(all.insert(name, entry.ino).is_none(), "an entry twice");
                true
            };
            self.0.ops().readdir(&self.0, from, emit).expect("readdir");
            if taken < chunk {
                break;
            }
        }
        assert!(all.remove(".").is_some() && all.remove("..").is_some());
        all
    }
    fn keys(&self, chunk: usize) -> Vec<String> {
        self.names(chunk).into_keys().collect()
    }
}

fn finish(sb: &Arc<SuperBlock>, image: &Image) {
    sb.run_releases();
    sb.ops().sync().expect("sync");
    sb.ops().unmount().expect("unmount");
    image.check();
}

/// Names that `debugfs` lists in a directory, without hidden ones and without unused records (inode 0).
fn debugfs_names(image: &Image, path: &str) -> Vec<String> {
    let listing = String::from_utf8(image.debugfs(&format!("ls -p {path}"))).expect("plain names");
    let fields = listing.lines().map(|line| line.split('/').collect::<Vec<_>>());
    let live = fields.filter(|f| f.len() > 5 && f[1] != "0" && !f[5].is_empty() && !f[5].starts_with('.'));
    let mut names: Vec<String> = live.map(|f| f[5].to_owned()).collect();
    names.sort();
    names
}

fn is_indexed(image: &Image, path: &str) -> bool {
    String::from_utf8_lossy(&image.debugfs(&format!("stat {path}"))).contains("Flags: 0x81000")
}

fn thousands_of_names(block: u32, extra: &[&str], indexed: bool) {
    let image = Image::make("64M", block, &[&["-N", "6000"], extra].concat());
    let (sb, _disk) = image.mount();
    let dir = Dir::root(&sb).mkdir("many").expect("mkdir");
    let name = |i: usize| format!("name-{i}-{}", "y".repeat(i % 40));
    for i in 0..2500 {
        dir.create(&name(i)).expect("create");
    }
    assert_eq!(dir.create(&name(17)).err(), Some(Errno::EEXIST));
    assert_eq!(dir.lookup("missing").err(), Some(Errno::ENOENT));
    let mut expected: Vec<String> = (0..2500).map(name).collect();
    expected.sort();
    assert!(dir.keys(7) == expected, "readdir");
    for i in (0..2500).filter(|i| i % 3 != 0) {
        dir.remove(&name(i)).expect("unlink");
    }
    for i in 0..2500 {
        assert_eq!(dir.lookup(&name(i)).is_ok(), i % 3 == 0, "{}", name(i));
    }
    for i in 2500..3300 {
        dir.create(&name(i)).expect("create in the gaps");
    }
    let mut expected: Vec<String> = (0..3300).filter(|&i| i >= 2500 || i % 3 == 0).map(name).collect();
    expected.sort();
    assert!(dir.keys(1000) == expected, "readdir");
    drop(dir);
    finish(&sb, &image);
    assert!(debugfs_names(&image, "/many") == expected, "debugfs sees other names");
    assert_eq!(is_indexed(&image, "/many"), indexed);
}

#[test]
fn thousands_of_names_in_blocks_of_1k() {
    thousands_of_names(1024, &[], true);
}

#[test]
fn thousands_of_names_in_blocks_of_2k() {
    thousands_of_names(2048, &[], true);
}

#[test]
fn thousands_of_names_in_blocks_of_4k() {
    thousands_of_names(4096, &[], true);
}

#[test]
fn thousands_of_names_without_checksums() {
    thousands_of_names(1024, &["-O", "^metadata_csum"], true);
}

#[test]
fn thousands_of_names_without_index() {
    thousands_of_names(4096, &["-O", "^dir_index"], false);
}

/// Three names of 250 bytes fill a block of 1024: the index gets its second level, and its nodes are split.
#[test]
fn long_names_need_a_second_level() {
    let image = Image::make("64M", 1024, &["-N", "4000"]);
    let (sb, _disk) = image.mount();
    let dir = Dir::root(&sb).mkdir("deep").expect("mkdir");
    let name = |i: usize| format!("{i}-{}", "z".repeat(245));
    for i in 0..1500 {
        dir.create(&name(i)).expect("create");
    }
    for i in 0..1500 {
        dir.lookup(&name(i)).expect("lookup");
    }
    for i in 0..700 {
        dir.remove(&name(i)).expect("unlink");
    }
    let mut expected: Vec<String> = (700..1500).map(name).collect();
    expected.sort();
    assert!(dir.keys(64) == expected, "readdir");
    assert_eq!(dir.create(&"n".repeat(256)).err(), Some(Errno::ENAMETOOLONG));
    drop(dir);
    finish(&sb, &image);
    let dump = String::from_utf8_lossy(&image.debugfs("htree_dump /deep")).into_owned();
    assert!(dump.contains("Indirect levels: 1"), "{dump:.400}");
}

/// An index that `e2fsck -D` made, with each hash.
#[test]
fn an_index_of_others_is_understood() {
    for algorithm in ["legacy", "half_md4", "tea"] {
        let tree = common::scratch("tree");
        std::fs::create_dir_all(tree.join("d")).expect("scratch space");
        let name = |i: usize| format!("entry-{i}-ä");
        (0..1500).for_each(|i| std::fs::write(tree.join("d").join(name(i)), "").expect("scratch space"));
        let image = Image::make("64M", 1024, &["-N", "5000", "-d", tree.to_str().expect("a plain path")]);
        std::fs::remove_dir_all(&tree).expect("scratch space");
        let hash = format!("hash_alg={algorithm}");
        assert!(
            Command::new("tune2fs").args(["-E", &hash]).arg(&image.path).output().expect("tune2fs").status.success()
        );
        let made = Command::new("e2fsck").args(["-fyD"]).arg(&image.path).output().expect("e2fsck");
        assert!(made.status.code().is_some_and(|c| c <= 1));
        assert!(is_indexed(&image, "/d"));
        let (sb, _disk) = image.mount();
        let dir = Dir::root(&sb).sub("d");
        (0..1500).for_each(|i| _ = dir.lookup(&name(i)).expect("lookup"));
        (1500..2600).for_each(|i| _ = dir.create(&name(i)).expect("create"));
        (0..2600).step_by(2).for_each(|i| dir.remove(&name(i)).expect("unlink"));
        let mut expected: Vec<String> = (0..2600).filter(|i| i % 2 == 1).map(name).collect();
        expected.sort();
        assert!(dir.keys(33) == expected, "readdir");
        drop(dir);
        finish(&sb, &image);
    }
}

#[test]
fn directories_come_move_and_go() {
    let image = Image::make("64M", 1024, &[]);
    let (sb, _disk) = image.mount();
    let root = Dir::root(&sb);
    let links = root.0.nlink();
    let (a, b) = (root.mkdir("a").expect("mkdir"), root.mkdir("b").expect("mkdir"));
    let child = a.mkdir("child").expect("mkdir");
    child.create("file").expect("create");
    assert_eq!((root.0.nlink(), a.0.nlink(), child.0.nlink()), (links + 2, 3, 2));
    assert_eq!(a.remove("child").err(), Some(Errno::ENOTEMPTY));

    a.rename("child", &b, "moved").expect("rename across directories");
    assert_eq!((a.0.nlink(), b.0.nlink()), (2, 3));
    assert_eq!(child.lookup("..").map(|up| up.ino), Ok(b.0.ino));

    // A large directory moves too: its `..` stands in the root of the index.
    let large = a.mkdir("large").expect("mkdir");
    (0..400).for_each(|i| _ = large.create(&format!("some-name-{i}")).expect("create"));
    a.rename("large", &b, "large").expect("rename of an indexed directory");
    assert_eq!(large.lookup("..").map(|up| up.ino), Ok(b.0.ino));

    // Over an empty directory, and over one that is not.
    a.mkdir("empty").expect("mkdir");
    assert_eq!(a.rename("empty", &b, "moved").err(), Some(Errno::ENOTEMPTY));
    root.mkdir("target").expect("mkdir");
    a.rename("empty", &root, "target").expect("rename over an empty directory");
    assert_eq!(root.0.nlink(), links + 3);
    assert_eq!(a.keys(10).len(), 0);
    root.remove("a").expect("rmdir");
    assert_eq!(a.create("late").err(), Some(Errno::ENOENT));
    drop((root, a, b, child, large));
    finish(&sb, &image);
}

#[test]
fn files_are_renamed_and_linked() {
    let image = Image::make("64M", 4096, &[]);
    let (sb, _disk) = image.mount();
    let root = Dir::root(&sb);
    let dir = root.mkdir("dir").expect("mkdir");
    let one = root.create("one").expect("create");
    root.link("two", &one).expect("link");
    dir.link("three", &one).expect("link");
    assert_eq!(one.nlink(), 3);
    assert_eq!(dir.link("three", &one).err(), Some(Errno::EEXIST));
    assert_eq!(one.nlink(), 3, "a failed link takes its count back");
    let other = root.create("other").expect("create");
    root.rename("other", &dir, "three").expect("rename over a name");
    assert_eq!((one.nlink(), other.nlink()), (2, 1));
    root.rename("two", &root, "one-and-two").expect("rename in place");
    assert_eq!(root.lookup("two").err(), Some(Errno::ENOENT));
    assert_eq!(root.lookup("one-and-two").map(|i| i.ino), Ok(one.ino));
    root.remove("one").expect("unlink");
    root.remove("one-and-two").expect("unlink");
    assert_eq!(one.nlink(), 0);
    drop((one, other, root, dir));
    finish(&sb, &image);
    assert_eq!(debugfs_names(&image, "/"), ["dir", "lost+found"]);
    assert_eq!(debugfs_names(&image, "/dir"), ["three"]);
}

#[test]
fn symbolic_links_of_every_length() {
    for block in [1024, 4096] {
        let image = Image::make("64M", block, &[]);
        let (sb, _disk) = image.mount();
        let root = Dir::root(&sb);
        let lengths = [1, 30, 59, 60, 61, 500, block as usize - 1];
        let target = |len: usize| "t".repeat(len);
        for len in lengths {
            root.symlink(&format!("link{len}"), target(len).as_bytes()).expect("symlink");
        }
        let too_long = target(block as usize);
        assert_eq!(root.symlink("long", too_long.as_bytes()).err(), Some(Errno::ENAMETOOLONG));
        drop(root);
        finish(&sb, &image);
        let (sb, _disk) = image.mount();
        let root = Dir::root(&sb);
        for len in lengths {
            let link = root.lookup(&format!("link{len}")).expect("lookup");
            assert_eq!(link.ops().readlink(&link).expect("readlink"), target(len).as_bytes());
            root.remove(&format!("link{len}")).expect("unlink");
        }
        drop(root);
        finish(&sb, &image);
    }
}

/// Damage in the blocks of a directory without checksums: every operation ends, and none panics.
#[test]
fn damaged_directories_give_errors() {
    let image = Image::make("32M", 1024, &["-O", "^metadata_csum", "-N", "2000"]);
    let (sb, _disk) = image.mount();
    let dir = Dir::root(&sb).mkdir("d").expect("mkdir");
    let name = |i: usize| format!("{i}-{}", "q".repeat(200));
    (0..500).for_each(|i| _ = dir.create(&name(i)).expect("create"));
    drop(dir);
    finish(&sb, &image);
    let listed = String::from_utf8(image.debugfs("blocks /d")).expect("numbers");
    let blocks: Vec<usize> = listed.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    assert!(blocks.len() > 130, "a second level: {}", blocks.len());
    let sound = std::fs::read(&image.path).expect("the image");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % n
    };
    let mut errors = 0;
    for _ in 0..60 {
        let mut bytes = sound.clone();
        for _ in 0..30 {
            // Half of the damage hits the index, which the first blocks hold.
            let block = if below(2) == 0 { blocks[0] } else { blocks[below(blocks.len())] };
            let within = if below(2) == 0 { 48 } else { 1024 };
            bytes[block * 1024 + below(within)] = below(256) as u8;
        }
        std::fs::write(&image.path, &bytes).expect("the image");
        let (sb, _disk) = image.mount();
        let Ok(dir) = Dir::root(&sb).lookup("d").map(Dir) else { continue };
        for i in 0..20 {
            errors += usize::from(dir.lookup(&name(below(500))).is_err());
            errors += usize::from(dir.create(&format!("new{i}")).is_err());
            let mut count = 0;
            let _ = dir.0.ops().readdir(&dir.0, 0, &mut |_| {
                count += 1;
                true
            });
            assert!(count < 1024 * blocks.len() / 8);
        }
    }
    assert!(errors > 100, "the damage was not found: {errors}");
}
