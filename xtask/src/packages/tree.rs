//! The root file system that the packages make: unpacked, with the folders, tables and links that it needs besides.
use super::apt::Deb;
use super::{pipe, unpack};
use crate::image;
use anyhow::{Context, Result, ensure};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Changes whenever this file makes another tree of the same packages.
const LAYOUT: u32 = 2;

/// Folders that Debian has as links since it merged `/usr`.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// Folders that must be there, with their modes. The kernel mounts `/dev`, `/proc`, `/sys` and `/tmp`.
const FOLDERS: [(&str, u32); 11] = [
    ("dev", 0o755),
    ("proc", 0o755),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("root", 0o700),
    ("data", 0o755),
    ("etc", 0o755),
    ("mnt", 0o755),
    ("run", 0o755),
    ("var", 0o755),
    ("var/tmp", 0o1777),
];

/// Tables that maintainer scripts would have made; what a package brings stays.
const TABLES: [(&str, &str); 5] = [
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"),
    ("etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"),
    ("etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files\n"),
    ("etc/profile", "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nPS1='sluice:\\w# '\n"),
];

/// The tree of these packages below the folder `trees`; one that is there is taken as it is.
pub(super) fn unpacked(debs: &[Deb], trees: &Path) -> Result<PathBuf> {
    let tree = trees.join(key(debs));
    if tree.is_dir() {
        return Ok(tree);
    }
    println!("sluice: packages: unpacking {}", debs.len());
    let new = tempfile::tempdir_in(trees)?;
    std::fs::set_permissions(new.path(), PermissionsExt::from_mode(0o755))?;
    build(debs, new.path())?;
    // Somebody else may have been quicker, with the same tree.
    if let Err(error) = std::fs::rename(new.path(), &tree) {
        ensure!(tree.is_dir(), "cannot make {}: {error}", tree.display());
    }
    Ok(tree)
}

/// A name for what comes out. The owners of the files depend on who unpacks.
fn key(debs: &[Deb]) -> String {
    let mut names: Vec<_> = debs.iter().map(|deb| (deb.path.file_name(), &deb.check_sum)).collect();
    names.sort();
    let mut hasher = DefaultHasher::new();
    (LAYOUT, image::is_root(), names).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn build(debs: &[Deb], root: &Path) -> Result<()> {
    for name in MERGED {
        std::fs::create_dir_all(root.join("usr").join(name))?;
        symlink(Path::new("usr").join(name), root.join(name))?;
    }
    for deb in debs {
        // dpkg-deb -x would put a folder where the link is.
        let mut files = Command::new("dpkg-deb");
        files.arg("--fsys-tarfile").arg(&deb.path);
        pipe(&mut files, &mut unpack(root), &format!("cannot unpack {}", deb.path.display()))?;
    }
    complete(root)?;
    applets(root)
}

/// Folders and tables.
fn complete(root: &Path) -> Result<()> {
    for (name, mode) in FOLDERS {
        let path = root.join(name);
        std::fs::create_dir_all(&path)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode))?;
    }
    for (name, text) in TABLES {
        let path = root.join(name);
        if !path.exists() {
            std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

/// A link for each of busybox's applets whose name no package has.
fn applets(root: &Path) -> Result<()> {
    let busybox = root.join("usr/bin/busybox");
    let out = Command::new(&busybox).arg("--list-full").output().context("cannot ask busybox for its applets")?;
    ensure!(out.status.success(), "busybox --list-full failed ({})", out.status);
    for line in String::from_utf8_lossy(&out.stdout).lines() {
        let path = Path::new(line);
        // One, `linuxrc`, has no folder.
        let (Some(name), Some(folder)) = (path.file_name(), path.parent().and_then(Path::file_name)) else { continue };
        let taken = ["usr/bin", "usr/sbin"].iter().any(|bin| root.join(bin).join(name).symlink_metadata().is_ok());
        if !taken {
            symlink("../bin/busybox", root.join("usr").join(folder).join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_tables_are_there_and_those_of_packages_stay() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/hosts"), "mine").unwrap();
        complete(root.path()).unwrap();
        assert_eq!(std::fs::read_to_string(root.path().join("etc/hosts")).unwrap(), "mine");
        assert!(std::fs::read_to_string(root.path().join("etc/passwd")).unwrap().starts_with("root:x:0:0:"));
        assert_eq!(root.path().join("tmp").metadata().unwrap().permissions().mode() & 0o7777, 0o1777);
    }

    #[test]
    fn applets_leave_the_names_of_packages_alone() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::create_dir_all(at("usr/bin")).unwrap();
        std::fs::create_dir_all(at("usr/sbin")).unwrap();
        std::fs::write(
            at("usr/bin/busybox"),
            "#!/bin/sh\necho bin/sh; echo sbin/fsck; echo usr/bin/awk; echo linuxrc\n",
        )
        .unwrap();
        std::fs::set_permissions(at("usr/bin/busybox"), PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::write(at("usr/bin/awk"), "a package's").unwrap();
        applets(root.path()).unwrap();
        assert_eq!(std::fs::read_link(at("usr/bin/sh")).unwrap(), Path::new("../bin/busybox"));
        assert_eq!(std::fs::read_link(at("usr/sbin/fsck")).unwrap(), Path::new("../bin/busybox"));
        assert_eq!(std::fs::read_to_string(at("usr/bin/awk")).unwrap(), "a package's");
        assert!(!at("linuxrc").exists());
    }
}
