//! Archives of the format "newc" of cpio, in which Linux takes its initramfs.
use std::io::Write;

/// The type bits of a mode.
const FOLDER: u32 = 0o040_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
const REGULAR: u32 = 0o100_000;

/// An archive in the making.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a folder; its parents come before it.
    pub fn folder(&mut self, name: &str) {
        self.entry(name, FOLDER | 0o755, (0, 0), &[]);
    }

    /// Adds a file that everybody may read and run.
    pub fn file(&mut self, name: &str, content: &[u8]) {
        self.entry(name, REGULAR | 0o755, (0, 0), content);
    }

    /// Adds a character device with these numbers.
    pub fn device(&mut self, name: &str, numbers: (u32, u32)) {
        self.entry(name, CHARACTER_DEVICE | 0o600, numbers, &[]);
    }

    /// The archive, with its trailer.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        let name_len = name.len() as u32 + 1;
        // The inode, mode, owner, group, links, time, length, device of the file, device that it is, length of the name, check sum.
        let fields = [self.entries, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, device.0, device.1, name_len, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            write!(self.bytes, "{field:08x}").expect("a vector takes everything");
        }
        self.bytes.extend(name.bytes().chain([0]));
        self.align();
        self.bytes.extend(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    #[test]
    fn an_archive_has_headers_of_110_bytes_and_is_aligned() {
        let mut archive = Archive::default();
        archive.folder("dev");
        archive.device("dev/console", (5, 1));
        archive.file("init", b"hello");
        let bytes = archive.finish();
        // 110 + "dev\0" is aligned by two bytes more.
        assert_eq!(&bytes[..6], b"070701");
        assert_eq!(&bytes[110..114], b"dev\0");
        let second = &bytes[116..];
        assert_eq!(&second[..22], b"0707010000000200002180");
        assert_eq!(&second[78..94], b"0000000500000001");
        let third = &second[(110 + 12usize).next_multiple_of(4)..];
        assert_eq!((&third[14..22], &third[54..62]), (&b"000081ed"[..], &b"00000005"[..]));
        assert_eq!(&third[116..121], b"hello");
        assert!(bytes.len().is_multiple_of(4) && bytes.windows(10).any(|w| w == b"TRAILER!!!"));
    }
}
