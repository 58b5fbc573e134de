//! The kernel's lab, by its file of commands.
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Where the commands go.
pub const PATH: &str = "/proc/sluice/lab";

/// A kernel with a lab.
pub struct Lab(());

impl Lab {
    /// `None` if this kernel has no lab.
    pub fn enter() -> Option<Lab> {
        Path::new(PATH).exists().then_some(Lab(()))
    }

    /// Holds the next write before the disk.
    pub fn hold_next_write(&self) -> Result<Gate<'_>, String> {
        self.command("hold write 1")?;
        Ok(Gate(self))
    }

    fn command(&self, line: &str) -> Result<(), String> {
        let written = File::options().write(true).open(PATH).and_then(|mut file| file.write_all(line.as_bytes()));
        written.map_err(|e| format!("{PATH}: {line}: {e}"))
    }
}

/// The closed gate; dropping it lets everything go on.
#[must_use = "dropping it opens the gate"]
pub struct Gate<'a>(&'a Lab);

impl Gate<'_> {
    /// Waits for the write, sends it to the disk, and waits until the disk has answered. The completion is held then. Returns
    /// the sector that is written.
    pub fn let_the_disk_write(&self) -> Result<u64, String> {
        self.0.command("wait-held 1")?;
        let sector = self.held_sector()?;
        self.0.command("pass")?;
        self.0.command("wait-end 1")?;
        Ok(sector)
    }

    /// Where the one request goes that is held.
    fn held_sector(&self) -> Result<u64, String> {
        let held = std::fs::read_to_string(PATH).map_err(|e| format!("{PATH}: {e}"))?;
        let words: Vec<&str> = held.split_whitespace().collect();
        let ["held", _, "write", sector, "4096", "before"] = words[..] else {
            return Err(format!("not one write of a page is held, but:\n{held}"));
        };
        sector.parse().map_err(|_| format!("not a sector: {sector}"))
    }
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        if let Err(text) = self.0.command("release") {
            eprintln!("demo: {text}");
        }
    }
}
