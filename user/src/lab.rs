//! The kernel's lab, by its file of commands: what the programs share that experiment with it. `docs/LAB.md` has the commands.
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Where the commands go.
pub const PATH: &str = "/proc/sluice/lab";

/// A kernel with a lab.
pub struct Lab(());

/// A request that stands at the gate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// Its number, by which it can be released.
    pub number: usize,
    /// `read`, `write` or `flush`.
    pub op: String,
    /// Its first sector of 512 bytes.
    pub sector: u64,
    /// Its length.
    pub bytes: u64,
    /// The disk has answered it.
    pub behind: bool,
}

impl Lab {
    /// `None` if this kernel has no lab.
    pub fn enter() -> Option<Lab> {
        Path::new(PATH).exists().then_some(Lab(()))
    }

    /// Obeyed when this returns. Errors: the command with what the kernel says of it.
    pub fn command(&self, line: &str) -> Result<(), String> {
        let written = File::options().write(true).open(PATH).and_then(|mut file| file.write_all(line.as_bytes()));
        written.map_err(|e| format!("{PATH}: {line}: {e}"))
    }

    /// The requests that are held, in the order in which they were submitted.
    pub fn held(&self) -> Result<Vec<Held>, String> {
        let text = std::fs::read_to_string(PATH).map_err(|e| format!("{PATH}: {e}"))?;
        let lines = text.lines().filter(|line| line.starts_with("held "));
        lines.map(|line| Held::parse(line).ok_or_else(|| format!("{PATH}: {line}"))).collect()
    }
}

impl Held {
    fn parse(line: &str) -> Option<Held> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, number, op, sector, bytes, side] = words[..] else { return None };
        let (number, sector, bytes) = (number.parse().ok()?, sector.parse().ok()?, bytes.parse().ok()?);
        Some(Held { number, op: op.into(), sector, bytes, behind: side == "behind" })
    }
}

#[cfg(test)]
mod tests {
    use super::Held;

    #[test]
    fn a_line_of_the_gate_is_read_or_refused() {
        let held = Held { number: 7, op: "write".into(), sector: 80, bytes: 4096, behind: true };
        assert_eq!(Held::parse("held 7 write 80 4096 behind"), Some(held));
        assert_eq!(Held::parse("held 7 write 80 4096"), None);
        assert_eq!(Held::parse("held x write 80 4096 before"), None);
    }
}
