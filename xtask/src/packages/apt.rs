//! Which packages a set needs, and fetching them, by `apt-get` with the host's sources and a state of its own: its list of installed
//! packages is empty, so that what is installed on the host hides nothing.
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A package file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Deb {
    /// Where it is.
    pub path: PathBuf,
    bytes: u64,
    /// As the package lists have it.
    pub check_sum: String,
}

impl Deb {
    fn is_there(&self) -> bool {
        self.path.metadata().is_ok_and(|metadata| metadata.len() == self.bytes)
    }
}

/// The files of these packages and of all that they depend on, in the folder `debs`; what is there already is not fetched again.
pub(super) fn fetch(packages: &[String], debs: &Path) -> Result<Vec<Deb>> {
    let needed = needed(packages, debs)?;
    let missing = needed.iter().filter(|deb| !deb.is_there()).count();
    if missing > 0 {
        println!("sluice: packages: fetching {missing} of {}", needed.len());
        std::fs::create_dir_all(debs.join("partial"))?;
        let out = output(install(packages, debs)?.arg("--download-only"))?;
        ensure!(out.status.success(), "apt-get: {}", complaint(&out));
    }
    match needed.iter().find(|deb| !deb.is_there()) {
        Some(deb) => bail!("apt-get has not fetched {}", deb.path.display()),
        None => Ok(needed),
    }
}

/// The file of this package alone, without what it depends on, fetched into the folder `debs`.
pub(super) fn fetch_alone(package: &str, debs: &Path) -> Result<PathBuf> {
    let mut download = Command::new("apt-get");
    download.env("LC_ALL", "C").current_dir(debs).args(["-q", "-o", "APT::Sandbox::User=root", "download", package]);
    let out = output(&mut download)?;
    ensure!(out.status.success(), "{package}: {}", complaint(&out));
    let start = format!("{package}_");
    let names = std::fs::read_dir(debs)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let name = names.filter(|name| name.starts_with(&start) && name.ends_with(".deb")).max();
    name.map(|name| debs.join(name)).with_context(|| format!("{package}: apt-get has not fetched it"))
}

/// The package that `package` depends on whose name begins with `start`.
pub(super) fn dependency(package: &str, start: &str) -> Result<String> {
    let out = output(Command::new("apt-cache").env("LC_ALL", "C").args(["depends", package]))?;
    ensure!(out.status.success(), "{package}: {}", complaint(&out));
    let text = String::from_utf8_lossy(&out.stdout);
    depends_on(&text, start).with_context(|| format!("{package} of this system's sources names no {start}*"))
}

fn depends_on(text: &str, start: &str) -> Option<String> {
    let mut names = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.find(|name| name.starts_with(start)).map(String::from)
}

/// What is needed. Asked with an empty archive: what is there already would not be named.
fn needed(packages: &[String], debs: &Path) -> Result<Vec<Deb>> {
    let empty = tempfile::tempdir().context("no folder for apt-get")?;
    std::fs::create_dir(empty.path().join("partial"))?;
    let out = output(install(packages, empty.path())?.arg("--print-uris"))?;
    ensure!(out.status.success(), "PKGS: {}", complaint(&out));
    let found: Vec<Deb> = String::from_utf8_lossy(&out.stdout).lines().filter_map(|line| parse(line, debs)).collect();
    ensure!(!found.is_empty(), "PKGS: apt-get names no package file");
    Ok(found)
}

/// `'address' file size sum`.
fn parse(line: &str, debs: &Path) -> Option<Deb> {
    let mut words = line.strip_prefix('\'')?.split(' ').skip(1);
    let (name, bytes) = (words.next()?, words.next()?.parse().ok()?);
    let check_sum = words.next().unwrap_or_default().to_owned();
    name.ends_with(".deb").then(|| Deb { path: debs.join(name), bytes, check_sum })
}

/// An `apt-get install` that installs nothing, with `archives` as the folder of package files.
fn install(packages: &[String], archives: &Path) -> Result<Command> {
    let status = archives.join("status");
    std::fs::write(&status, "").with_context(|| status.display().to_string())?;
    let mut command = Command::new("apt-get");
    command.env("LC_ALL", "C").args(["-q", "-y", "--no-install-recommends"]);
    let mut set = |name: &str, value: &Path| _ = command.arg("-o").arg(format!("{name}={}", value.display()));
    set("Dir::State::status", &status);
    set("Dir::Cache::archives", archives);
    set("Debug::NoLocking", Path::new("1"));
    // Root fetches as root: the folder may be closed to apt's own user.
    set("APT::Sandbox::User", Path::new("root"));
    command.arg("install").args(packages);
    Ok(command)
}

fn output(command: &mut Command) -> Result<Output> {
    command.output().context("cannot run apt-get: images of packages are made on Debian, or on what descends from it")
}

/// What apt-get found wrong, in one line.
fn complaint(out: &Output) -> String {
    let text = String::from_utf8_lossy(&out.stderr);
    let mut errors: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("E: ")).collect();
    if errors.iter().any(|error| error.starts_with("Unable to locate package")) {
        errors.push("apt-get update fetches new lists");
    }
    // What does not fit together stands on the other stream.
    let stdout = String::from_utf8_lossy(&out.stdout);
    let unmet = stdout.lines().skip_while(|line| !line.contains("unmet dependencies")).skip(1).map(str::trim);
    errors.extend(unmet.take(5).filter(|line| !line.is_empty()));
    if errors.is_empty() { format!("it failed ({})", out.status) } else { errors.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn files_are_read_from_what_apt_says() {
        let line = "'http://host/pool/a_1%3a2.deb' a_1%3a2_amd64.deb 928188 MD5Sum:f6f1";
        let deb = Deb { path: "/d/a_1%3a2_amd64.deb".into(), bytes: 928188, check_sum: "MD5Sum:f6f1".into() };
        assert_eq!(parse(line, Path::new("/d")), Some(deb));
        for other in ["Need to get 3797 kB of archives.", "'http://host/x' x 12 y", "'http://host/x.deb' x.deb much"] {
            assert_eq!(parse(other, Path::new("/d")), None, "{other}");
        }
    }

    #[test]
    fn a_dependency_is_found_by_the_start_of_its_name() {
        let text = "linux-image-cloud-amd64\n  Depends: kmod\n  Depends: linux-image-6.1.0-56-cloud-amd64\n";
        assert_eq!(depends_on(text, "linux-image-6.1.").as_deref(), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(depends_on(text, "linux-image-6.12."), None);
    }

    #[test]
    fn what_is_wrong_is_one_line() {
        let out = |stdout: &str, stderr: &str| Output {
            status: std::process::ExitStatus::from_raw(100 << 8),
            stdout: stdout.into(),
            stderr: stderr.into(),
        };
        let unknown = out("Reading...", "W: old\nE: Unable to locate package fioo\n");
        assert_eq!(complaint(&unknown), "Unable to locate package fioo; apt-get update fetches new lists");
        let unmet = out("The following packages have unmet dependencies:\n a : Depends: b\n", "E: broken\n");
        assert_eq!(complaint(&unmet), "broken; a : Depends: b");
        assert!(complaint(&out("", "")).contains("100"));
    }
}
