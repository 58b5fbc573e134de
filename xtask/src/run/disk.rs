//! Which disk: a fresh one, or somebody's own.
use super::Guest;
use crate::image::{self, Spec};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};

/// A disk to boot with.
pub(crate) struct Prepared {
    pub path: PathBuf,
    /// Whether it has the folder `/data`, where the benchmark works.
    pub has_data: bool,
}

impl Guest {
    /// Looks at what was asked for, without building anything. `usual` is the program that runs where none is named.
    pub(crate) fn look_at(&self, usual: &str) -> Result<()> {
        let program = &self.program(usual)?;
        if !program.starts_with('/') {
            bail!("INIT={program}: the path of a program on the disk starts with a slash");
        }
        if self.disk().is_some() && self.contents.is_chosen() {
            bail!("DISK with PKGS or DIR: a disk is given or made, not both; make image makes one to keep");
        }
        self.contents.look_at()?;
        let Some(disk) = self.disk() else { return Ok(()) };
        if !disk.is_file() {
            bail!("DISK={}: {}", disk.display(), if disk.exists() { "not a file" } else { "no such file" });
        }
        if !image::is_ext(disk)? {
            bail!("DISK={}: there is no ext4 file system in it", disk.display());
        }
        if !image::has_file(disk, program)? {
            bail!("INIT={program}: there is no such file in {}", disk.display());
        }
        Ok(())
    }

    /// The disk to boot with: somebody's own or a copy of it, or a fresh one with packages or with `programs`.
    pub(crate) fn prepare(&self, usual: &str, programs: &Path, work: &Path) -> Result<Prepared> {
        if let Some(own) = self.disk() {
            return self.own(own, work);
        }
        let path = if self.contents.is_chosen() { self.packaged(work)? } else { fresh(programs, work)? };
        Ok(Prepared { path: self.with_program(path, usual)?, has_data: true })
    }

    /// The same without Sluice's own programs: without a choice the disk has busybox.
    pub(crate) fn prepare_packaged(&self, usual: &str, work: &Path) -> Result<PathBuf> {
        match self.disk() {
            Some(own) => Ok(self.own(own, work)?.path),
            None => self.with_program(self.packaged(work)?, usual),
        }
    }

    fn own(&self, own: &Path, work: &Path) -> Result<Prepared> {
        let has_data = image::has_file(own, "/data")?;
        if self.write == "1" {
            println!("sluice: disk: {}", own.display());
            return Ok(Prepared { path: own.to_owned(), has_data });
        }
        let path = work.join("disk.img");
        std::fs::copy(own, &path).with_context(|| format!("cannot copy {}", own.display()))?;
        println!("sluice: disk: a copy of {} (WRITE=1 changes the disk itself)", own.display());
        Ok(Prepared { path, has_data })
    }

    /// A fresh image with the packages that were asked for.
    fn packaged(&self, work: &Path) -> Result<PathBuf> {
        let path = work.join("disk.img");
        self.contents.make_image(&path)?;
        println!("sluice: disk: fresh ext4, {} MiB, from packages", path.metadata()?.len() >> 20);
        Ok(path)
    }

    /// The image, if the program is on it.
    fn with_program(&self, image: PathBuf, usual: &str) -> Result<PathBuf> {
        let program = self.program(usual)?;
        if !image::has_file(&image, &program)? {
            bail!("INIT={program}: there is no such file on the fresh disk; DISK=my.img names another, PKGS= packages");
        }
        Ok(image)
    }

    fn program(&self, usual: &str) -> Result<String> {
        let (words, closed) = kernel::words::split(&self.init);
        ensure!(closed, "INIT={}: a quote has no end", self.init);
        Ok(words.into_iter().next().unwrap_or_else(|| usual.to_owned()))
    }
}

/// A fresh image with all programs in `/bin`.
pub(super) fn fresh(programs: &Path, work: &Path) -> Result<PathBuf> {
    let folder = tempfile::tempdir_in(work)?;
    image::root_folder(folder.path(), &image::programs_in(programs)?)?;
    let (path, spec) = (work.join("disk.img"), Spec::default());
    image::make(&path, &spec, folder.path())?;
    println!("sluice: disk: fresh ext4, {} MiB, blocks of {} bytes", spec.size_mib, spec.block_size);
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::Contents;

    fn error(disk: Option<PathBuf>, init: &str) -> String {
        told(&Guest { disk: disk.map(Into::into), init: init.into(), ..Guest::default() })
    }

    fn told(guest: &Guest) -> String {
        guest.look_at("/bin/usual").map_or_else(|e| format!("{e:#}"), |()| "fine".into())
    }

    #[test]
    fn wrong_disks_and_programs_are_told_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let (root, path) = (folder.path().join("root"), folder.path().join("disk.img"));
        image::root_folder(&root, &[]).unwrap();
        std::fs::write(root.join("bin/prog"), b"x").unwrap();
        assert_eq!(error(Some(path.clone()), ""), format!("DISK={}: no such file", path.display()));
        assert_eq!(error(Some(root.clone()), ""), format!("DISK={}: not a file", root.display()));
        assert_eq!(error(Some("".into()), ""), "fine", "an empty variable names no disk");
        std::fs::write(&path, [0; 8192]).unwrap();
        assert_eq!(
            error(Some(path.clone()), ""),
            format!("DISK={}: there is no ext4 file system in it", path.display())
        );
        image::make(&path, &Spec { size_mib: 8, ..Spec::default() }, &root).unwrap();
        assert_eq!(
            error(Some(path.clone()), "/bin/none a"),
            format!("INIT=/bin/none: there is no such file in {}", path.display())
        );
        assert_eq!(error(Some(path.clone()), "/bin/prog a"), "fine");
        assert_eq!(error(Some(path.clone()), "/bin/prog 'a"), "INIT=/bin/prog 'a: a quote has no end");
        let both = Guest { disk: Some(path.into()), contents: Contents::of(&["fio"]), ..Guest::default() };
        assert!(told(&both).starts_with("DISK with PKGS"), "{}", told(&both));
        assert_eq!(error(None, "prog"), "INIT=prog: the path of a program on the disk starts with a slash");
    }
}
