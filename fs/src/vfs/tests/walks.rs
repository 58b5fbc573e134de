//! Path walks and open.
use super::Tree;
use crate::testing::User;
use crate::vfs::{Access, File, FileType, OpenFlags, Site, permission};
use alloc::format;
use base::Errno;
use base::sync::Arc;

#[test]
fn components_dots_and_slashes() {
    let t = Tree::new();
    t.mkdir("/a");
    t.mkdir("a/b");
    t.touch("a/b/f");
    let f = t.find("//a/./b/../b//f").unwrap();
    assert!(Arc::ptr_eq(&f, &t.find("/a/b/f").unwrap()));
    assert!(Arc::ptr_eq(&t.find("/../..").unwrap(), &t.vfs.root()));
    assert_eq!(t.find("a/b/f/").err(), Some(Errno::ENOTDIR));
    assert_eq!(t.find("a/b/f/x").err(), Some(Errno::ENOTDIR));
    assert_eq!(t.find("a/b/f/.").err(), Some(Errno::ENOTDIR));
    assert_eq!(t.find("a/none/x").err(), Some(Errno::ENOENT));
    assert_eq!(t.find("").err(), Some(Errno::ENOENT));
    assert_eq!(t.find(&"x".repeat(256)).err(), Some(Errno::ENAMETOOLONG));
    assert_eq!(t.find(&"x/".repeat(2048)).err(), Some(Errno::ENAMETOOLONG));
    assert_eq!(t.vfs.path_of(&t.find("a/b").unwrap()).unwrap(), b"/a/b");
}

#[test]
fn symbolic_links() {
    let t = Tree::new();
    t.mkdir("d");
    t.touch("d/f");
    t.link_to("d", "l");
    t.link_to("/l/f", "d/abs");
    t.link_to("loop", "loop");
    t.link_to("missing", "dangling");
    assert!(Arc::ptr_eq(&t.find("l/abs").unwrap(), &t.find("d/f").unwrap()));
    assert_eq!(t.find("loop").err(), Some(Errno::ELOOP));
    assert_eq!(t.find("loop/x").err(), Some(Errno::ELOOP));
    assert_eq!(t.vfs.lookup(t.site(), b"l", false).unwrap().kind, FileType::Symlink);
    assert_eq!(t.vfs.lookup(t.site(), b"l/", false).unwrap().kind, FileType::Directory);
    assert_eq!(t.open("l", OpenFlags::NOFOLLOW).err(), Some(Errno::ELOOP));
    assert!(t.open("l", OpenFlags::NOFOLLOW | OpenFlags::PATH).is_ok());
    t.open("dangling", OpenFlags::CREAT | OpenFlags::WRONLY).unwrap();
    assert!(t.find("missing").is_ok(), "O_CREAT goes through a dangling link");
    assert_eq!(t.open("dangling", OpenFlags::CREAT | OpenFlags::EXCL).err(), Some(Errno::EEXIST));
}

#[test]
fn forty_links_are_followed_and_not_one_more() {
    let t = Tree::new();
    t.touch("l0");
    for i in 1..=41 {
        t.link_to(&format!("l{}", i - 1), &format!("l{i}"));
    }
    assert!(t.find("l40").is_ok());
    assert_eq!(t.find("l41").err(), Some(Errno::ELOOP));
}

#[test]
fn open_flags() {
    let t = Tree::new();
    t.mkdir("d");
    t.touch("f");
    let fails = |path: &str, flags| t.open(path, flags).err();
    assert_eq!(fails("d", OpenFlags::RDWR), Some(Errno::EISDIR));
    assert_eq!(fails("d", OpenFlags::CREAT), Some(Errno::EISDIR));
    assert_eq!(fails("d/", OpenFlags::CREAT), Some(Errno::EISDIR));
    assert_eq!(fails("new/", OpenFlags::CREAT), Some(Errno::EISDIR));
    assert_eq!(fails("f", OpenFlags::DIRECTORY), Some(Errno::ENOTDIR));
    assert_eq!(fails("f", OpenFlags::CREAT | OpenFlags::EXCL), Some(Errno::EEXIST));
    assert_eq!(fails("f", OpenFlags::CREAT | OpenFlags::DIRECTORY), Some(Errno::EINVAL));
    assert_eq!(fails("d", OpenFlags::TMPFILE_BIT | OpenFlags::DIRECTORY | OpenFlags::RDWR), Some(Errno::EOPNOTSUPP));
    let path = t.open("f", OpenFlags::PATH | OpenFlags::RDWR).unwrap();
    assert!(!path.readable() && !path.writable());
    assert!(t.open("d", OpenFlags::DIRECTORY).is_ok());
}

#[test]
fn permissions() {
    let t = Tree::new();
    t.mkdir("closed");
    t.touch("closed/f");
    crate::vfs::chmod(&t.find("closed").unwrap(), 0o700, &crate::caller::KernelCaller).unwrap();
    t.touch("mine");
    let user = User(1000);
    let site = Site { cwd: &t.cwd, caller: &user };
    let open = |path: &[u8], flags| t.vfs.open(site, path, flags, 0o666).map(drop).err();
    assert_eq!(open(b"closed/f", OpenFlags::empty()), Some(Errno::EACCES));
    assert_eq!(open(b"mine", OpenFlags::WRONLY), Some(Errno::EACCES));
    assert_eq!(open(b"mine", OpenFlags::TRUNC), Some(Errno::EACCES));
    assert_eq!(open(b"mine", OpenFlags::empty()), None);
    assert_eq!(open(b"new", OpenFlags::CREAT), Some(Errno::EACCES));
    assert_eq!(crate::vfs::chmod(&t.find("mine").unwrap(), 0o777, &user), Err(Errno::EPERM));
    let root_exec = permission(&t.find("mine").unwrap(), Access::EXEC, &crate::caller::KernelCaller);
    assert_eq!(root_exec, Err(Errno::EACCES), "root executes only what somebody may execute");
}

#[test]
fn the_umask_and_ownership_of_a_new_file() {
    let t = Tree::new();
    crate::vfs::chmod(&t.vfs.root(), 0o1777, &crate::caller::KernelCaller).unwrap();
    let user = User(1000);
    let site = Site { cwd: &t.cwd, caller: &user };
    let file: Arc<File> = t.vfs.open(site, b"f", OpenFlags::CREAT | OpenFlags::WRONLY, 0o666).unwrap();
    let attr = file.inode.as_ref().unwrap().attr();
    assert_eq!((attr.mode, attr.uid, attr.gid), (0o644, 1000, 1000));
    let other = User(1001);
    let other = Site { cwd: &t.cwd, caller: &other };
    assert_eq!(t.vfs.unlink(other, b"f"), Err(Errno::EPERM), "sticky directory");
    assert_eq!(t.vfs.unlink(site, b"f"), Ok(()));
}
