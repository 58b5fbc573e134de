//! The counter's lines: one for each marked section.
use anyhow::{Context, Result};

/// What was executed in one section.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Section {
    /// Instructions of the program, every iteration of a REP counted.
    pub user: u64,
    /// Instructions of the kernel, likewise.
    pub kernel: u64,
    /// Iterations of REP instructions.
    pub iterations: u64,
    /// REP instructions.
    pub reps: u64,
    /// HLT instructions.
    pub halts: u64,
}

impl Section {
    /// Instructions, a REP counted once.
    pub fn instructions(&self) -> u64 {
        (self.user + self.kernel + self.reps).saturating_sub(self.iterations)
    }
}

/// Reads lines of names and numbers.
pub(super) fn parse(text: &str) -> Result<Vec<Section>> {
    text.lines().map(|line| section(line).with_context(|| format!("not a line of the counter: {line}"))).collect()
}

fn section(line: &str) -> Option<Section> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let value = |name: &str| words.chunks_exact(2).find(|pair| pair[0] == name)?[1].parse().ok();
    Some(Section {
        user: value("user")?,
        kernel: value("kernel")?,
        iterations: value("iterations")?,
        reps: value("reps")?,
        halts: value("halts")?,
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_rep_counts_once() {
        let sections = parse("user 10 kernel 4200 iterations 4097 reps 1 halts 2\n").unwrap();
        assert_eq!(sections[0].instructions(), 114);
        assert_eq!(sections[0].halts, 2);
        assert!(parse("user 10 kernel x").is_err());
    }
}
