//! Debian's own kernel 6.1, in its form for virtual machines, with the modules that a virtio disk with ext4 needs.
//!
//! It is fetched once, like every package, by `apt-get` from the host's sources, and kept under `target/packages/linux`.
use super::{apt, cache};
use crate::build;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Depends on the newest.
const PACKAGE: &str = "linux-image-cloud-amd64";
/// What figures are compared with: another Linux is not it.
const KERNEL: &str = "linux-image-6.1.";
/// In the order in which they are loaded: none needs a later one. ext4 is in the kernel itself.
const MODULES: [&str; 7] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_blk",
    // Checksums as fast as they can be.
    "crc32c-intel",
];

/// A kernel to boot.
pub struct LinuxKernel {
    /// The compressed image.
    pub image: PathBuf,
    /// Modules, in the order in which they are loaded.
    pub modules: Vec<PathBuf>,
    /// The version of the package.
    pub version: String,
}

impl LinuxKernel {
    /// The kernel, fetched if it is not there. Errors: why it cannot be had; there is no such package for every system.
    pub fn fetch() -> Result<LinuxKernel> {
        let folder = cache("linux")?;
        // Written last.
        let version = folder.join("version");
        if !version.exists() {
            unpack(&folder)?;
        }
        Ok(LinuxKernel {
            image: folder.join("vmlinuz"),
            modules: MODULES.iter().map(|name| folder.join(name).with_extension("ko")).collect(),
            version: std::fs::read_to_string(version)?.trim().to_owned(),
        })
    }
}

fn unpack(folder: &Path) -> Result<()> {
    let package = apt::dependency(PACKAGE, KERNEL)?;
    println!("sluice: packages: fetching {package}");
    let work = tempfile::tempdir_in(folder)?;
    let deb = apt::fetch_alone(&package, work.path())?;
    let root = work.path().join("root");
    build::status(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&root), "cannot unpack the package")?;
    let files = files_below(&root)?;
    let find = |what: &str, fits: &dyn Fn(&str) -> bool| {
        let named = |path: &&PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(fits);
        files.iter().find(named).with_context(|| format!("{package} has no {what}"))
    };
    let keep = |from: &Path, name: &str| std::fs::rename(from, folder.join(name));
    keep(find("vmlinuz", &|name| name.starts_with("vmlinuz-"))?, "vmlinuz")?;
    for module in MODULES {
        let name = format!("{module}.ko");
        keep(find(&name, &|other| other == name)?, &name)?;
    }
    std::fs::write(folder.join("version"), version_of(&deb)?)?;
    Ok(())
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    Ok(files)
}

/// `name_version_architecture.deb`
fn version_of(deb: &Path) -> Result<String> {
    let name = deb.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let words: Vec<&str> = name.split('_').collect();
    ensure!(words.len() == 3, "{name}: not the name of a package file");
    Ok(words[1].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_file() {
        assert_eq!(version_of(Path::new("/x/linux-image-6.1.0-56_6.1.192-2_amd64.deb")).unwrap(), "6.1.192-2");
        assert!(version_of(Path::new("/x/linux.deb")).is_err());
    }
}
