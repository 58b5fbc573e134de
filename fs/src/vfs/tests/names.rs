//! Name operations, rename and listings.
use super::Tree;
use crate::vfs::{OpenFlags, fput, readdir, stat};
use alloc::string::String;
use alloc::vec::Vec;
use base::Errno;
use base::sync::Arc;

fn list(t: &Tree, path: &str, step: usize) -> Vec<String> {
    let dir = t.open(path, OpenFlags::DIRECTORY).unwrap();
    let mut names = Vec::new();
    loop {
        let before = names.len();
        readdir(&dir, &mut |entry| {
            if names.len() - before == step {
                return false;
            }
            names.push(String::from_utf8(entry.name.to_vec()).unwrap());
            true
        })
        .unwrap();
        if names.len() == before {
            return names;
        }
    }
}

#[test]
fn entries_come_and_go() {
    let t = Tree::new();
    t.mkdir("d");
    assert_eq!(t.vfs.mkdir(t.site(), b"d", 0o755), Err(Errno::EEXIST));
    assert_eq!(t.vfs.mkdir(t.site(), b"d/.", 0o755), Err(Errno::EEXIST));
    t.vfs.mkdir(t.site(), b"d/sub/", 0o755).unwrap();
    t.touch("d/f");
    assert_eq!(list(&t, "d", 1), [".", "..", "sub", "f"]);
    assert_eq!(t.vfs.rmdir(t.site(), b"d"), Err(Errno::ENOTEMPTY));
    assert_eq!(t.vfs.rmdir(t.site(), b"d/f"), Err(Errno::ENOTDIR));
    assert_eq!(t.vfs.unlink(t.site(), b"d/sub"), Err(Errno::EISDIR));
    assert_eq!(t.vfs.rmdir(t.site(), b"d/."), Err(Errno::EINVAL));
    assert_eq!(t.vfs.rmdir(t.site(), b"d/sub/.."), Err(Errno::ENOTEMPTY));
    assert_eq!(t.vfs.unlink(t.site(), b"d/f/"), Err(Errno::ENOTDIR));
    t.vfs.unlink(t.site(), b"d/f").unwrap();
    assert_eq!(t.find("d/f").err(), Some(Errno::ENOENT));
    t.vfs.rmdir(t.site(), b"d/sub").unwrap();
    t.vfs.rmdir(t.site(), b"d").unwrap();
    assert_eq!(list(&t, "/", 10), [".", ".."]);
}

#[test]
fn a_removed_directory_takes_no_new_entries() {
    let t = Tree::new();
    t.mkdir("d");
    let inside = Tree { vfs: t.vfs.clone(), cwd: t.find("d").unwrap() };
    t.vfs.rmdir(t.site(), b"d").unwrap();
    assert_eq!(inside.open("f", OpenFlags::CREAT).err(), Some(Errno::ENOENT));
    assert_eq!(inside.vfs.mkdir(inside.site(), b"x", 0o755), Err(Errno::ENOENT));
    assert_eq!(inside.find("f").err(), Some(Errno::ENOENT));
    assert_eq!(t.vfs.path_of(&inside.cwd), Err(Errno::ENOENT));
}

#[test]
fn links_count() {
    let t = Tree::new();
    t.touch("a");
    let a = t.find("a").unwrap();
    t.vfs.link(&a, t.site(), b"b").unwrap();
    assert_eq!(stat(&a).nlink, 2);
    t.vfs.unlink(t.site(), b"a").unwrap();
    assert!(Arc::ptr_eq(&t.find("b").unwrap(), &a));
    t.vfs.unlink(t.site(), b"b").unwrap();
    assert_eq!(t.vfs.link(&a, t.site(), b"c"), Err(Errno::ENOENT), "no name comes back to an inode without links");
}

#[test]
fn rename_replaces_moves_and_refuses() {
    let t = Tree::new();
    t.mkdir("d");
    t.mkdir("d/e");
    t.mkdir("empty");
    t.touch("f");
    t.touch("g");
    let f = t.find("f").unwrap();
    assert_eq!(t.vfs.rename(t.site(), b"f", t.site(), b"g", true), Err(Errno::EEXIST));
    t.rename("f", "g").unwrap();
    assert!(Arc::ptr_eq(&t.find("g").unwrap(), &f));
    assert_eq!(t.find("f").err(), Some(Errno::ENOENT));
    assert_eq!(t.rename("g", "d"), Err(Errno::EISDIR));
    assert_eq!(t.rename("d", "g"), Err(Errno::ENOTDIR));
    assert_eq!(t.rename("d", "d/e/x"), Err(Errno::EINVAL));
    assert_eq!(t.rename("d", "d/x"), Err(Errno::EINVAL));
    assert_eq!(t.rename("d/e", "d"), Err(Errno::ENOTEMPTY));
    assert_eq!(t.rename("g", "h/"), Err(Errno::ENOTDIR));
    assert_eq!(t.rename("d/.", "x"), Err(Errno::EBUSY));
    t.rename("d/e", "empty").unwrap();
    assert_eq!(t.vfs.path_of(&t.find("empty").unwrap()).unwrap(), b"/empty");
    t.rename("empty", "d/moved").unwrap();
    assert!(Arc::ptr_eq(&t.find("d/moved/..").unwrap(), &t.find("d").unwrap()));
    assert_eq!(stat(&t.find("d").unwrap()).nlink, 3);
    assert_eq!(stat(&t.vfs.root()).nlink, 3);
}

#[test]
fn negative_entries_do_not_outlive_a_change() {
    let t = Tree::new();
    assert_eq!(t.find("f").err(), Some(Errno::ENOENT));
    t.touch("f");
    assert!(t.find("f").is_ok());
    assert_eq!(t.find("g").err(), Some(Errno::ENOENT));
    t.rename("f", "g").unwrap();
    assert!(t.find("g").is_ok());
    assert_eq!(t.find("h").err(), Some(Errno::ENOENT));
    t.vfs.link(&t.find("g").unwrap(), t.site(), b"h").unwrap();
    assert!(t.find("h").is_ok());
}

#[test]
fn an_open_file_outlives_its_name() {
    let t = Tree::new();
    let file = t.open("f", OpenFlags::RDWR | OpenFlags::CREAT).unwrap();
    t.vfs.unlink(t.site(), b"f").unwrap();
    let source = &mut crate::io::SliceSource::new(b"still here");
    assert_eq!(crate::vfs::write_current(&file, 0, source, &crate::caller::KernelCaller), Ok(10));
    assert_eq!(stat(file.inode.as_ref().unwrap()).nlink, 0);
    let inodes = t.vfs.root().sb.inodes().all().len();
    fput(file);
    assert_eq!(t.vfs.root().sb.inodes().all().len(), inodes - 1);
}
