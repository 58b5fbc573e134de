//! Which disk: a fresh one, or somebody's own.
use super::{BENCH, Options};
use crate::image::{self, Spec};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// A disk to boot with.
pub(super) struct Prepared {
    pub path: PathBuf,
    /// Whether it has the folder `/data`, where the benchmark works.
    pub has_data: bool,
}

/// Looks at what was asked for before anything is built: errors of the caller come at once and in one line.
pub(super) fn look_at(options: &Options) -> Result<()> {
    let program = program(options);
    if !program.starts_with('/') {
        bail!("INIT={program}: the path of a program on the disk starts with a slash");
    }
    if options.json().is_some() && !options.init.trim().is_empty() {
        bail!("JSON: the rows are those of the benchmark; with INIT there are none");
    }
    let Some(disk) = options.disk() else { return Ok(()) };
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

/// The disk to boot with: a fresh one with the programs on it, or somebody's own or a copy of it.
pub(super) fn prepare(options: &Options, programs: &Path, work: &Path) -> Result<Prepared> {
    let Some(own) = options.disk() else {
        let path = fresh(programs, work)?;
        let program = program(options);
        if !image::has_file(&path, program)? {
            bail!("INIT={program}: there is no such file on the fresh disk; DISK=my.img names another");
        }
        return Ok(Prepared { path, has_data: true });
    };
    let has_data = image::has_file(own, "/data")?;
    if options.write == "1" {
        println!("sluice: disk: {}", own.display());
        return Ok(Prepared { path: own.to_owned(), has_data });
    }
    let path = work.join("disk.img");
    std::fs::copy(own, &path).with_context(|| format!("cannot copy {}", own.display()))?;
    println!("sluice: disk: a copy of {} (WRITE=1 changes the disk itself)", own.display());
    Ok(Prepared { path, has_data })
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

fn program(options: &Options) -> &str {
    options.init.split_whitespace().next().unwrap_or(BENCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(disk: Option<PathBuf>, init: &str) -> String {
        let options = Options { disk: disk.map(Into::into), init: init.into(), ..Options::default() };
        look_at(&options).map_or_else(|e| format!("{e:#}"), |()| "fine".into())
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
        assert_eq!(error(Some(path), "/bin/prog a"), "fine");
        assert_eq!(error(None, "prog"), "INIT=prog: the path of a program on the disk starts with a slash");
    }
}
