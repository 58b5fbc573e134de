//! The bytes of files, compared between the guest, which read them through its page cache, and the disk image.
use crate::image;
use anyhow::{Result, bail, ensure};
use std::path::Path;
use user::digest::Digest;

/// Compares every file that the benchmark told the digest of (`bench: file PATH N bytes digest X`) with what `debugfs`
/// finds on the disk. Returns how many were compared.
pub fn compare(image: &Path, lines: &[String]) -> Result<usize> {
    let mut compared = 0;
    for told in lines.iter().filter_map(|line| line.strip_prefix("bench: file ")) {
        let [path, len, "bytes", "digest", digest] = told.split_whitespace().collect::<Vec<_>>()[..] else {
            bail!("no record of a file: {told}");
        };
        let bytes = image::read_file(image, path)?;
        ensure!(bytes.len().to_string() == len, "{path}: {} bytes on the disk, {len} in the guest", bytes.len());
        ensure!(of(&bytes) == digest, "{path}: the disk has other bytes than the guest's page cache");
        compared += 1;
    }
    Ok(compared)
}

fn of(bytes: &[u8]) -> String {
    let mut digest = Digest::default();
    digest.update(bytes);
    format!("{:016x}", digest.value())
}

#[cfg(test)]
mod tests {
    use super::{compare, of};
    use crate::image::{Spec, make};

    #[test]
    fn another_byte_and_another_length_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let (root, image) = (folder.path().join("root"), folder.path().join("disk.img"));
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("a"), b"0123456789").unwrap();
        make(&image, &Spec { size_mib: 8, ..Spec::default() }, &root).unwrap();
        let told = |len: usize, bytes: &[u8]| vec![format!("bench: file /a {len} bytes digest {}", of(bytes))];
        assert_eq!(compare(&image, &told(10, b"0123456789")).unwrap(), 1);
        assert!(compare(&image, &told(10, b"0123456798")).is_err());
        assert!(compare(&image, &told(9, b"0123456789")).is_err());
        assert!(compare(&image, &["bench: file nonsense".to_owned()]).is_err());
    }
}
