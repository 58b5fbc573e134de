//! Disk images filled from the packages of Debian, so that programs run as their distribution built them.
//!
//! | file | idea |
//! |---|---|
//! | `apt` | which packages a set needs, and fetching them: `apt-get` with a state of its own |
//! | `linux` | Debian's own kernel, for figures of Linux beside those of Sluice |
//! | `tree` | the packages unpacked, with what a root file system needs besides |
//!
//! ```text
//!   names ── apt-get ──▶ debs/*.deb ── dpkg-deb ──▶ trees/KEY ── mke2fs -d ──▶ image
//!                                                      ▲
//!                                             folder, copied over it
//! ```
//!
//! Packages are unpacked, not installed: their maintainer scripts do not run, so that there are no alternatives
//! (`/etc/alternatives`), no users but root and nobody, and no generated files. Packages and trees are kept under
//! `target/packages`; the key of a tree names the packages and their check sums, so that it is never stale.
mod apt;
pub mod linux;
mod tree;

use crate::build;
use crate::image::{self, Spec};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Always there: the shell and the small tools, in one static binary.
const ALWAYS: &str = "busybox-static";
/// Room in MiB for the journal and for what the programs write.
const FREE_MIB: u64 = 256;

/// What to put on a disk; each can also be given as a variable.
#[derive(Args, Clone, Debug, Default)]
pub struct Contents {
    /// Debian packages, with all that they depend on; busybox-static is always there
    #[arg(long, env = "PKGS", default_value = "", hide_default_value = true)]
    pub pkgs: String,
    /// A folder that is copied over the packages
    #[arg(long, env = "DIR", default_value = "", hide_default_value = true)]
    pub dir: String,
    /// Size of the image in MiB; without it what the files need and 256 more
    #[arg(long, env = "SIZE", default_value = "", hide_default_value = true)]
    pub size: String,
}

/// Options of the command.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    contents: Contents,
    /// The image to make
    #[arg(long, env = "OUT", default_value = "", hide_default_value = true)]
    out: String,
}

/// `make image`.
pub fn run(options: &Options) -> Result<ExitCode> {
    ensure!(!options.out.trim().is_empty(), "OUT=file.img: the image to make");
    let out = Path::new(options.out.trim());
    options.contents.make_image(out).with_context(|| format!("OUT={}", out.display()))?;
    println!("sluice: image: {}, {} MiB", out.display(), out.metadata()?.len() >> 20);
    println!("sluice: boot it: make run DISK={} INIT=\"/bin/sh -c 'ls /'\"", out.display());
    Ok(ExitCode::SUCCESS)
}

impl Contents {
    /// These packages, and nothing else.
    pub fn of(packages: &[&str]) -> Contents {
        Contents { pkgs: packages.join(" "), ..Contents::default() }
    }

    /// Whether something was asked for.
    pub fn is_chosen(&self) -> bool {
        [&self.pkgs, &self.dir].iter().any(|text| !text.trim().is_empty())
    }

    /// Looks at the request alone: errors come before anything is fetched or built.
    pub fn look_at(&self) -> Result<()> {
        self.packages()?;
        self.size_mib()?;
        self.folder().map(drop)
    }

    /// Makes the image at `out`, new each time. It appears whole or not at all.
    pub fn make_image(&self, out: &Path) -> Result<()> {
        self.look_at()?;
        let tree = self.tree()?;
        let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let new = tempfile::Builder::new().suffix(".img").tempfile_in(parent).context("no place for an image")?;
        match self.folder()? {
            None => self.fill(new.path(), &tree)?,
            Some(folder) => {
                let both = tempfile::tempdir_in(cache("work")?)?;
                let root = both.path().join("root");
                overlay(&tree, &folder, &root)?;
                self.fill(new.path(), &root)?;
            }
        }
        new.persist(out)?;
        Ok(())
    }

    /// The unpacked packages, without the folder: a root file system, not to be changed.
    pub fn tree(&self) -> Result<PathBuf> {
        let packages = self.packages()?;
        let debs = apt::fetch(&packages, &cache("debs")?)?;
        tree::unpacked(&debs, &cache("trees")?)
    }

    /// Makes the folder `root` with the packages and what is copied over them. Files of the packages are shared: change none in place.
    pub fn make_folder(&self, root: &Path) -> Result<()> {
        let tree = self.tree()?;
        match self.folder()? {
            Some(folder) => overlay(&tree, &folder, root),
            None => link(&tree, root),
        }
    }

    fn fill(&self, image: &Path, root: &Path) -> Result<()> {
        let (bytes, entries) = extent(root)?;
        let needed_mib = (bytes + bytes / 20) >> 20;
        let size_mib = self.size_mib()?.unwrap_or(needed_mib + FREE_MIB);
        ensure!(size_mib > needed_mib, "SIZE={size_mib}: the files alone need {needed_mib} MiB");
        // One inode for 16 KiB, as mke2fs has it, unless the files are smaller than that.
        let inodes = (size_mib << 20 >> 14).max(entries * 2);
        let options = vec!["-N".into(), inodes.to_string()];
        image::make(image, &Spec { size_mib, options, root_owned: true, ..Spec::default() }, root)
    }

    fn packages(&self) -> Result<Vec<String>> {
        let mut names: Vec<String> = self.pkgs.split([' ', ',', '\t', '\n']).map(String::from).collect();
        names.retain(|name| !name.is_empty());
        if let Some(odd) = names.iter().find(|name| !is_package_name(name)) {
            bail!("PKGS: {odd} is no name of a package");
        }
        names.push(ALWAYS.into());
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn folder(&self) -> Result<Option<PathBuf>> {
        let dir = self.dir.trim();
        ensure!(dir.is_empty() || Path::new(dir).is_dir(), "DIR={dir}: no such folder");
        Ok((!dir.is_empty()).then(|| dir.into()))
    }

    fn size_mib(&self) -> Result<Option<u64>> {
        let text = self.size.trim().trim_end_matches(['M', 'm']);
        if text.is_empty() {
            return Ok(None);
        }
        let size = text.parse().ok().filter(|size| (8..=1 << 20).contains(size));
        size.map(Some).with_context(|| format!("SIZE={}: not a size in MiB", self.size))
    }
}

/// Debian's rule for names, with a version (`=1.2`) or an architecture (`:amd64`) where somebody wants one.
fn is_package_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+.-:=~".contains(c);
    name.len() > 1
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.chars().all(plain)
}

/// A folder of the cache.
fn cache(name: &str) -> Result<PathBuf> {
    let folder = build::target().join("packages").join(name);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// Makes `root` from `tree` with `folder` over it. Files of the tree are shared by links; what the folder has takes their place.
fn overlay(tree: &Path, folder: &Path, root: &Path) -> Result<()> {
    link(tree, root)?;
    let mut pack = Command::new("tar");
    pack.args(["--owner=0", "--group=0", "--numeric-owner", "-c", "-C"]).arg(folder).arg(".");
    pipe(&mut pack, &mut unpack(root), "DIR: cannot copy the folder")
}

/// Makes `root` from `tree`, with links to its files.
fn link(tree: &Path, root: &Path) -> Result<()> {
    build::status(Command::new("cp").arg("-al").arg(tree).arg(root), "cannot copy the unpacked packages")
}

/// A `tar` that unpacks its standard input below `root`. `/bin` is a link to `usr/bin` and stays one.
fn unpack(root: &Path) -> Command {
    let mut command = Command::new("tar");
    command.args(["--keep-directory-symlink", "--numeric-owner", "-xp", "-C"]).arg(root);
    command
}

/// Runs `from | into`. Both must succeed.
fn pipe(from: &mut Command, into: &mut Command, otherwise: &str) -> Result<()> {
    let start =
        |command: &mut Command| command.spawn().with_context(|| format!("cannot run {:?}", command.get_program()));
    let mut left = start(from.stdout(Stdio::piped()))?;
    let stdout = left.stdout.take().expect("stdout is a pipe");
    let right = start(into.stdin(stdout)).and_then(|mut right| Ok(right.wait()?));
    let left = left.wait()?;
    ensure!(right?.success() && left.success(), "{otherwise}");
    Ok(())
}

/// How many bytes of blocks the files below `root` need, and how many files there are.
fn extent(root: &Path) -> Result<(u64, u64)> {
    let (mut bytes, mut entries) = (0, 0);
    for entry in std::fs::read_dir(root).with_context(|| root.display().to_string())? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let below = if metadata.is_dir() { extent(&entry.path())? } else { (0, 0) };
        bytes += metadata.len().next_multiple_of(4096) + below.0;
        entries += 1 + below.1;
    }
    Ok((bytes, entries))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pkgs: &str, dir: &str, size: &str) -> String {
        let contents = Contents { pkgs: pkgs.into(), dir: dir.into(), size: size.into() };
        contents.look_at().map_or_else(|error| error.to_string(), |()| "fine".into())
    }

    #[test]
    fn what_is_wrong_with_a_request_is_told() {
        assert_eq!(told("fio, sqlite3 g++", "", ""), "fine");
        assert_eq!(told("fio -o Dir=/", "", ""), "PKGS: -o is no name of a package");
        assert_eq!(told("fio Dir::X", "", ""), "PKGS: Dir::X is no name of a package");
        assert_eq!(told("", "/no/such", ""), "DIR=/no/such: no such folder");
        assert_eq!(told("", "", "much"), "SIZE=much: not a size in MiB");
        assert_eq!(told("", "", "1"), "SIZE=1: not a size in MiB");
        assert_eq!(told("", "", "64M"), "fine");
    }

    #[test]
    fn busybox_is_always_there_and_no_name_is_twice() {
        let contents = Contents::of(&["fio", "busybox-static", "fio"]);
        assert_eq!(contents.packages().unwrap(), ["busybox-static", "fio"]);
        assert_eq!(Contents::default().packages().unwrap(), ["busybox-static"]);
        assert!(contents.is_chosen() && !Contents::default().is_chosen());
    }

    #[test]
    fn a_folder_goes_over_the_tree_and_links_of_folders_stay() {
        let work = tempfile::tempdir().unwrap();
        let at = |name: &str| work.path().join(name);
        for folder in ["tree/usr/bin", "dir/bin"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        std::os::unix::fs::symlink("usr/bin", at("tree/bin")).unwrap();
        std::fs::write(at("tree/usr/bin/old"), "old").unwrap();
        std::fs::write(at("dir/bin/old"), "new").unwrap();
        std::fs::write(at("dir/bin/more"), "more").unwrap();
        overlay(&at("tree"), &at("dir"), &at("root")).unwrap();
        assert_eq!(std::fs::read_to_string(at("root/usr/bin/old")).unwrap(), "new");
        assert_eq!(std::fs::read_to_string(at("root/bin/more")).unwrap(), "more");
        assert_eq!(std::fs::read_to_string(at("tree/bin/old")).unwrap(), "old", "the tree is shared");
        assert_eq!(extent(&at("dir/bin")).unwrap(), (2 * 4096, 2));
    }
}
