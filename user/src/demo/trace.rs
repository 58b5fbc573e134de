//! The kernel's trace ring, as it reads in `/proc/sluice/trace`: a line an event.
use std::time::{Duration, Instant};

const PATH: &str = "/proc/sluice/trace";
/// An event that has not come by then does not come.
const LIMIT: Duration = Duration::from_secs(20);

/// What the program itself writes into the trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    Start = 1,
    Submitted,
    Released,
    Reaped,
}

impl Mark {
    const ALL: [(Mark, &str); 4] = [
        (Mark::Start, "start"),
        (Mark::Submitted, "io_submit returned"),
        (Mark::Released, "gate opened"),
        (Mark::Reaped, "event reaped"),
    ];

    /// What each number means, a line each, for readers of a kept trace.
    pub fn legend() -> impl Iterator<Item = String> {
        Mark::ALL.iter().map(|(mark, name)| format!("# mark {} {name}\n", *mark as u64))
    }
}

/// One event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    pub number: u64,
    pub time_ns: u64,
    pub thread: u64,
    pub name: String,
    pub kind: String,
    pub a: u64,
    pub b: u64,
}

impl Event {
    fn parse(line: &str) -> Option<Event> {
        let mut words = line.split_ascii_whitespace();
        let mut word = || words.next();
        Some(Event {
            number: word()?.parse().ok()?,
            time_ns: word()?.parse().ok()?,
            thread: word()?.parse().ok()?,
            name: word()?.into(),
            kind: word()?.into(),
            a: word()?.parse().ok()?,
            b: word()?.parse().ok()?,
        })
    }

    /// The line as it came.
    pub fn line(&self) -> String {
        let Event { number, time_ns, thread, name, kind, a, b } = self;
        format!("{number} {time_ns} {thread} {name} {kind} {a} {b}\n")
    }

    pub fn is(&self, kind: &str, a: u64) -> bool {
        self.kind == kind && self.a == a
    }

    pub fn is_mark(&self, mark: Mark) -> bool {
        self.is("mark", mark as u64)
    }
}

/// Writes a mark.
pub fn mark(mark: Mark) -> Result<(), String> {
    std::fs::write(PATH, (mark as u64).to_string()).map_err(|e| format!("{PATH}: {e}"))
}

/// Everything that the ring still has, oldest first.
pub fn read() -> Result<Vec<Event>, String> {
    let text = std::fs::read_to_string(PATH).map_err(|e| format!("{PATH}: {e}"))?;
    text.lines().map(|line| Event::parse(line).ok_or(format!("{PATH}: not an event: {line}"))).collect()
}

/// Waits until the trace has an event of `kind` about `a` after the latest start.
pub fn wait_for(kind: &str, a: u64) -> Result<(), String> {
    let start = Instant::now();
    loop {
        let events = read()?;
        if events.iter().rev().take_while(|e| !e.is_mark(Mark::Start)).any(|e| e.is(kind, a)) {
            return Ok(());
        }
        if start.elapsed() > LIMIT {
            return Err(format!("no {kind} of inode {a} within {} s", LIMIT.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::Event;

    #[test]
    fn a_line_is_read_and_written_alike() {
        let line = "7 1500 3 ext4-end wt.finish 12 0\n";
        let event = Event::parse(line).unwrap();
        assert!(event.is("wt.finish", 12) && event.thread == 3 && event.name == "ext4-end");
        assert_eq!(event.line(), line);
        for broken in ["", "7 1500 3 ext4-end wt.finish 12", "x 1500 3 a wt.finish 12 0"] {
            assert_eq!(Event::parse(broken), None, "{broken}");
        }
    }
}
