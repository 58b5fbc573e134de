//! Disk images, made and checked by e2fsprogs: real tools, never stand-ins.
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// An e2fsprogs command; Debian keeps them where an ordinary user's PATH does not look.
fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

fn output(command: &mut Command) -> Result<Output> {
    command.output().with_context(|| format!("cannot run {:?}", command.get_program()))
}

/// What to put into a new image.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Size in MiB.
    pub size_mib: u64,
    /// Block size in bytes.
    pub block_size: u32,
    /// Further options of mke2fs.
    pub options: Vec<String>,
}

impl Default for Spec {
    fn default() -> Spec {
        Spec { size_mib: 256, block_size: 4096, options: vec![] }
    }
}

/// Makes an ext4 image at `path` with the files below `folder` in it.
pub fn make(path: &Path, spec: &Spec, folder: &Path) -> Result<()> {
    let _ = std::fs::remove_file(path);
    std::fs::File::create(path)?.set_len(spec.size_mib << 20)?;
    let mut command = tool("mke2fs");
    command.args(["-q", "-F", "-t", "ext4", "-b", &spec.block_size.to_string(), "-E", "root_owner=0:0"]);
    command.args(&spec.options).arg("-d").arg(folder).arg(path);
    let out = output(&mut command)?;
    if !out.status.success() {
        bail!("mke2fs failed: {}", String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(())
}

/// Changes an image by commands of debugfs, one after the other.
pub fn edit(path: &Path, commands: &[String]) -> Result<()> {
    let script = tempfile::NamedTempFile::new()?;
    std::fs::write(script.path(), commands.join("\n"))?;
    let out = output(tool("debugfs").arg("-w").arg("-f").arg(script.path()).arg(path))?;
    // Its first line on the error stream names the version; its status is 0 whatever happened.
    let errors = String::from_utf8_lossy(&out.stderr).into_owned();
    if !out.status.success() || errors.lines().count() > 1 {
        bail!("debugfs -w {}: {}", path.display(), errors.trim());
    }
    Ok(())
}

/// Plays the journal of an image that was not unmounted, and does nothing else to it.
pub fn recover(path: &Path) -> Result<()> {
    let out = output(tool("e2fsck").args(["-p", "-E", "journal_only"]).arg(path))?;
    if !matches!(out.status.code(), Some(0 | 1)) {
        bail!("e2fsck -E journal_only {}: {}", path.display(), String::from_utf8_lossy(&out.stdout).trim());
    }
    Ok(())
}

/// Checks an image without changing it. `Err` carries what e2fsck found.
pub fn check(path: &Path) -> Result<()> {
    let out = output(tool("e2fsck").arg("-fn").arg(path))?;
    if out.status.code() != Some(0) {
        bail!("e2fsck -fn {}: {}", path.display(), String::from_utf8_lossy(&out.stdout).trim());
    }
    Ok(())
}

/// Whether there is an ext2/3/4 file system: its magic number stands at byte 1080.
pub fn is_ext(path: &Path) -> Result<bool> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut magic = [0; 2];
    file.seek(SeekFrom::Start(1080))?;
    Ok(file.read_exact(&mut magic).is_ok() && u16::from_le_bytes(magic) == 0xef53)
}

/// The bytes of a file in an image.
pub fn read_file(image: &Path, path: &str) -> Result<Vec<u8>> {
    let out = output(tool("debugfs").arg("-R").arg(format!("cat {path}")).arg(image))?;
    let errors = String::from_utf8_lossy(&out.stderr);
    if errors.lines().any(|l| l.contains("File not found")) {
        bail!("{path} is not in {}", image.display());
    }
    Ok(out.stdout)
}

/// Whether a file is in an image.
pub fn has_file(image: &Path, path: &str) -> Result<bool> {
    let out = output(tool("debugfs").arg("-R").arg(format!("stat {path}")).arg(image))?;
    Ok(String::from_utf8_lossy(&out.stdout).contains("Inode:"))
}

/// The programs in the folder where cargo left them.
pub fn programs_in(folder: &Path) -> Result<Vec<PathBuf>> {
    use std::os::unix::fs::PermissionsExt;
    let mut programs = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 {
            programs.push(entry.path());
        }
    }
    programs.sort();
    Ok(programs)
}

/// A folder with the programs of `binaries` under `bin`, as the content of a root image.
pub fn root_folder(folder: &Path, binaries: &[PathBuf]) -> Result<()> {
    for sub in ["bin", "dev", "proc", "tmp", "data"] {
        std::fs::create_dir_all(folder.join(sub))?;
    }
    for binary in binaries {
        let name = binary.file_name().context("a program has a name")?;
        std::fs::copy(binary, folder.join("bin").join(name)).with_context(|| format!("copy {}", binary.display()))?;
    }
    Ok(())
}
