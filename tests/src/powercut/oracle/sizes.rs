//! Sizes of one file, by epoch: each truncate begins one, and so does a shift. What is durable in an epoch ends those before.

/// What a change does to the size.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// It is at least this.
    Raised(u64),
    /// It is this.
    Set(u64),
}

impl Size {
    /// Of a file of `size` bytes.
    pub fn after(self, size: u64) -> u64 {
        match self {
            Size::Raised(end) => size.max(end),
            Size::Set(size) => size,
        }
    }
}

/// A time in which a file only grows.
struct Epoch {
    base: u64,
    ends: Vec<u64>,
    least: u64,
    durable: bool,
}

impl Epoch {
    fn new(base: u64, durable: bool) -> Epoch {
        Epoch { base, ends: Vec::new(), least: base, durable }
    }
    fn most(&self) -> u64 {
        self.ends.iter().copied().max().unwrap_or(0).max(self.base)
    }
    fn fits(&self, found: u64, block_size: u64) -> bool {
        let exact = found == self.base || self.ends.contains(&found);
        (self.least..=self.most()).contains(&found) && (exact || found.is_multiple_of(block_size))
    }
}

/// Whether a file may have `found` bytes that had `base`, surely if `durable`, and then these changes, each with whether it is durable.
/// Errors: what was promised.
pub fn check(
    found: u64,
    base: (u64, bool),
    changes: impl Iterator<Item = (Size, bool)>,
    block_size: u64,
) -> Result<(), String> {
    let mut epochs = vec![Epoch::new(base.0, base.1)];
    for (size, durable) in changes {
        match size {
            Size::Set(size) => epochs.push(Epoch::new(size, durable)),
            Size::Raised(end) => {
                let Some(last) = epochs.last_mut() else { continue };
                last.ends.push(end);
                if durable {
                    (last.least, last.durable) = (last.least.max(end), true);
                }
            }
        }
    }
    let first = epochs.iter().rposition(|epoch| epoch.durable).unwrap_or(0);
    let possible = &epochs[first..];
    if possible.iter().any(|epoch| epoch.fits(found, block_size)) {
        return Ok(());
    }
    let ranges: Vec<String> = possible.iter().map(|epoch| format!("{}..={}", epoch.least, epoch.most())).collect();
    Err(format!("the size must be in {}, but is {found}", ranges.join(" or ")))
}
