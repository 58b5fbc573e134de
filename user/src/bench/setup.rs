//! The files the rows work on.
use std::cell::Cell;
use std::ffi::CString;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use user::digest::Digest;
use user::sys::{self, PAGE, PageBuffer};

/// Pages of a file that rows write at random: 32 MiB, all allocated, written and cached.
pub const FILE_PAGES: u64 = 8192;

/// Pages of one of eight files: all together are as large as one that rows write at random.
pub const EIGHTH_PAGES: u64 = FILE_PAGES / 8;

/// Where the files are.
pub struct Place {
    dir: PathBuf,
    /// File `b` is made when a row first needs it.
    has_b: Cell<bool>,
}

impl Place {
    /// Makes file `a`. Errors: what could not be made.
    pub fn new(dir: &Path) -> Result<Place, String> {
        let place = Place { dir: dir.to_owned(), has_b: Cell::new(false) };
        place.fill("a", FILE_PAGES)?;
        Ok(place)
    }

    /// The path of file `name`, for raw calls.
    pub fn path(&self, name: &str) -> CString {
        CString::new(self.dir.join(name).as_os_str().as_bytes()).expect("the folder's name has no NUL")
    }

    /// Makes file `b` like `a`, once.
    pub fn need_b(&self) -> Result<(), String> {
        if !self.has_b.replace(true) {
            self.fill("b", FILE_PAGES)?;
        }
        Ok(())
    }

    /// Makes eight files of [`EIGHTH_PAGES`]; the row that wants them removes them.
    pub fn make_eight(&self) -> Result<Vec<CString>, String> {
        let names: Vec<String> = (0..8).map(|i| format!("d{i}")).collect();
        names.iter().try_for_each(|name| self.fill(name, EIGHTH_PAGES))?;
        Ok(names.iter().map(|name| self.path(name)).collect())
    }

    fn fill(&self, name: &str, pages: u64) -> Result<(), String> {
        let told = |what: &str, e: sys::Errno| {
            format!("{}: {what}: {}", self.dir.join(name).display(), std::io::Error::from_raw_os_error(e.0))
        };
        let fd = sys::open(&self.path(name), sys::O_RDWR | sys::O_CREAT | sys::O_TRUNC).map_err(|e| told("open", e))?;
        let buffer = vec![0x5a; 64 * PAGE];
        for at in (0..pages * PAGE as u64).step_by(buffer.len()) {
            let n = sys::pwrite(fd, &buffer, at).map_err(|e| told("write", e))?;
            if n != buffer.len() {
                return Err(format!("{}: a write ended after {n} bytes", self.dir.join(name).display()));
            }
        }
        sys::fsync(fd).and_then(|()| sys::close(fd)).map_err(|e| told("fsync", e))
    }

    /// Prints a digest of each file, for a comparison with what is on the disk.
    pub fn tell_digests(&self) -> Result<(), String> {
        for name in ["a", "b"].iter().take(1 + usize::from(self.has_b.get())) {
            let path = self.dir.join(name);
            let (len, digest) = digest(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            println!("bench: file {} {} bytes digest {:016x}", path.display(), len, digest.value());
        }
        Ok(())
    }
}

/// The length and the digest of a file, read piece by piece: a machine with little memory has no room for all of it.
fn digest(path: &Path) -> std::io::Result<(u64, Digest)> {
    let (mut file, mut piece) = (std::fs::File::open(path)?, vec![0; 16 * PAGE]);
    let (mut len, mut digest) = (0, Digest::default());
    loop {
        let mut filled = 0;
        // A digest takes whole words: a short read is not the end of a piece.
        while filled < piece.len() {
            match file.read(&mut piece[filled..])? {
                0 => break,
                n => filled += n,
            }
        }
        digest.update(&piece[..filled]);
        len += filled as u64;
        if filled < piece.len() {
            return Ok((len, digest));
        }
    }
}

/// A page to write.
pub fn page(fill: u8) -> Box<PageBuffer> {
    Box::new(PageBuffer([fill; PAGE]))
}

/// Random pages by a fixed seed: every kernel and every run does the same.
pub struct Rng(u64);

impl Rng {
    /// The usual sequence, or that of another thread.
    pub fn new(thread: u64) -> Rng {
        Rng(0x9e37_79b9_7f4a_7c15 ^ (thread * 7919))
    }
    /// The position of a page among the first `pages`.
    pub fn page(&mut self, pages: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % pages * PAGE as u64
    }
}
