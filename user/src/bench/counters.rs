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

const IN_FLIGHT: &str = "/proc/sluice/in-flight";

/// From now on the most requests that the disk has at once are noted anew. Does nothing on a kernel that does not note them.
pub fn watch_in_flight() {
    let _ = std::fs::write(IN_FLIGHT, "0");
}

/// The most requests that the disk had at once since then; `None` on a kernel that does not note them.
pub fn most_in_flight() -> Option<u64> {
    std::fs::read_to_string(IN_FLIGHT).ok()?.strip_prefix("most_in_flight ")?.trim().parse().ok()
}

/// Allocations and frees in interrupt context since the boot; `None` on a kernel without the figures. Both must be 0.
pub fn in_interrupts() -> Option<(u64, u64)> {
    in_interrupts_of(&std::fs::read_to_string("/proc/sluice/counters").ok()?)
}

fn in_interrupts_of(text: &str) -> Option<(u64, u64)> {
    let figure = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Some((figure("irq_allocs ")?, figure("irq_frees ")?))
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
    fn interrupts_are_told_where_they_are_counted() {
        assert_eq!(super::in_interrupts_of("bios 7\nirq_allocs 1\nirq_frees 2\n"), Some((1, 2)));
        assert_eq!(super::in_interrupts_of("bios 7\nirq_allocs 1\n"), None);
    }

    #[test]
    fn known_counters_are_found_whatever_else_is_there() {
        let snapshot = super::parse("bios 7\nnew_thing 3\nflushes 2\nbroken\n");
        assert_eq!(snapshot, [7, 0, 0, 2, 0, 0, 0, 0]);
    }
}
