//! One write, held before the disk and behind it.
pub use user::lab::{Lab, PATH};
use user::sys::PAGE;

/// The closed gate; dropping it lets everything go on.
#[must_use = "dropping it opens the gate"]
pub struct Gate<'a>(&'a Lab);

impl Gate<'_> {
    /// Holds the next write before the disk.
    pub fn for_next_write(lab: &Lab) -> Result<Gate<'_>, String> {
        lab.command("hold write 1")?;
        Ok(Gate(lab))
    }

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
        match &self.0.held()?[..] {
            [held] if held.op == "write" && held.bytes == PAGE as u64 && !held.behind => Ok(held.sector),
            other => Err(format!("not one write of a page is held, but {other:?}")),
        }
    }
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        if let Err(text) = self.0.command("release") {
            eprintln!("demo: {text}");
        }
    }
}
