//! The kernel's own counters, where it has them: `/proc/sluice/counters`, lines of a name and a number.

/// Counters worth a column, with its heading.
pub const COLUMNS: [(&str, &str); 8] = [
    ("bios", "bios"),
    ("kicks", "kicks"),
    ("interrupts", "irqs"),
    ("flushes", "flush"),
    ("commits", "commit"),
    ("heap_allocs", "allocs"),
    ("work_items", "works"),
    ("drain_waits", "drain"),
];

/// The columns' values at one moment.
pub type Snapshot = [u64; COLUMNS.len()];

/// Reads them; `None` on a kernel without.
pub fn read() -> Option<Snapshot> {
    let text = std::fs::read_to_string("/proc/sluice/counters").ok()?;
    Some(parse(&text))
}

fn parse(text: &str) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(Ok(value))) = (words.next(), words.next().map(str::parse))
            && let Some(column) = COLUMNS.iter().position(|(counter, _)| *counter == name)
        {
            snapshot[column] = value;
        }
    }
    snapshot
}

#[cfg(test)]
mod tests {
    #[test]
    fn known_counters_are_found_whatever_else_is_there() {
        let snapshot = super::parse("bios 7\nnew_thing 3\nflushes 2\nbroken\n");
        assert_eq!(snapshot, [7, 0, 0, 2, 0, 0, 0, 0]);
    }
}
