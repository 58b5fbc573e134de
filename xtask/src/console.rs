//! The guest's console: lines, the line in progress, and the records the kernel leaves in them.
//!
//! A carriage return without a line feed starts the line over: that is how a program shows how far it is. What stood there
//! before is transient: a terminal shows it, the list of lines does not keep it.
use std::io::{IsTerminal, Write};

/// The line with which the kernel tells how the first program ended.
const EXIT_RECORD: &str = "sluice: init exited with status ";

/// A piece of the guest's output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece<'a> {
    /// A complete line, without its end.
    Line(&'a str),
    /// The line in progress; the next piece replaces it.
    Transient(&'a str),
}

/// Takes pieces as they come.
pub type Screen<'a> = &'a mut dyn FnMut(Piece);

/// A screen that shows nothing.
pub fn nowhere(_: Piece) {}

/// A screen that is this process's output, with the transient text where that is a terminal.
pub fn standard_output() -> impl FnMut(Piece) {
    let terminal = std::io::stdout().is_terminal();
    move |piece| {
        let mut out = std::io::stdout().lock();
        // A closed pipe must not end the machine before the disk is checked.
        let _ = match piece {
            Piece::Line(line) if terminal => writeln!(out, "\r\x1b[K{line}"),
            Piece::Line(line) => writeln!(out, "{line}"),
            Piece::Transient(text) if terminal => write!(out, "\r\x1b[K{text}").and_then(|()| out.flush()),
            Piece::Transient(_) => Ok(()),
        };
    }
}

/// A screen for runs whose lines are for the tool alone: only what is in progress is shown, on a terminal.
pub fn transient_only() -> impl FnMut(Piece) {
    let mut screen = standard_output();
    move |piece| match piece {
        Piece::Transient(_) => screen(piece),
        Piece::Line(_) => screen(Piece::Transient("")),
    }
}

/// Everything the guest has printed.
#[derive(Default)]
pub struct Console {
    /// Complete lines, without line ends.
    pub lines: Vec<String>,
    partial: Vec<u8>,
    /// The last byte was a carriage return: a line feed makes it a line end, anything else starts the line over.
    returned: bool,
}

impl Console {
    /// Takes bytes as they come and hands pieces on.
    pub fn feed(&mut self, bytes: &[u8], screen: Screen) {
        for &byte in bytes {
            if byte == b'\r' {
                self.returned = true;
            } else if byte == b'\n' {
                self.end_line(screen);
            } else {
                if std::mem::take(&mut self.returned) {
                    self.partial.clear();
                }
                self.partial.push(byte);
            }
        }
        if !self.partial.is_empty() {
            screen(Piece::Transient(&String::from_utf8_lossy(&self.partial)));
        }
    }

    /// Takes what stands after the last line end.
    pub fn flush(&mut self, screen: Screen) {
        if !self.partial.is_empty() {
            self.end_line(screen);
        }
    }

    fn end_line(&mut self, screen: Screen) {
        self.returned = false;
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.partial)).into_owned();
        screen(Piece::Line(&line));
        self.lines.push(line);
    }

    /// Why the kernel stopped of its own accord, without a panic: what it has logged as errors.
    pub fn refusal(&self) -> Option<String> {
        if self.lines.iter().any(|line| line.starts_with("PANIC")) {
            return None;
        }
        let message = |line: &String| {
            let (_, logged) = line.split_once("] ERROR ")?;
            logged.split_once(": ").map(|(_, message)| message.to_owned())
        };
        let errors: Vec<String> = self.lines.iter().filter_map(message).collect();
        (!errors.is_empty()).then(|| errors.join("; "))
    }

    /// The exit status of the first program, if the kernel told one.
    pub fn init_status(&self) -> Option<i32> {
        self.lines.iter().rev().find_map(|l| l.trim().strip_prefix(EXIT_RECORD)?.trim().parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::{Console, Piece};

    /// All pieces, transient ones in brackets.
    fn pieces(chunks: &[&[u8]]) -> (Vec<String>, Console) {
        let (mut console, mut seen) = (Console::default(), Vec::new());
        let mut screen = |piece: Piece| {
            seen.push(match piece {
                Piece::Line(line) => line.to_owned(),
                Piece::Transient(text) => format!("[{text}]"),
            });
        };
        chunks.iter().for_each(|chunk| console.feed(chunk, &mut screen));
        console.flush(&mut screen);
        (seen, console)
    }

    #[test]
    fn lines_arrive_whole_whatever_the_pieces() {
        let (_, console) = pieces(&[b"ab", b"c\r", b"\nde", b"f\n\r\n", b"sluice: init exited with status 3"]);
        assert_eq!(console.lines, ["abc", "def", "", "sluice: init exited with status 3"]);
        assert_eq!(console.init_status(), Some(3));
    }

    #[test]
    fn errors_without_a_panic_are_a_refusal() {
        let log: &[u8] = b"[ 0.1] ERROR fs::x: ext4 vda: no\n[ 0.2] INFO a: b\n[ 0.3] ERROR k: cannot mount\n";
        assert_eq!(pieces(&[log]).1.refusal().as_deref(), Some("ext4 vda: no; cannot mount"));
        assert_eq!(pieces(&[log, b"PANIC at 5 ns: why\n"]).1.refusal(), None);
        assert_eq!(pieces(&[b"[ 0.2] INFO a: b\n"]).1.refusal(), None);
    }

    #[test]
    fn progress_is_shown_and_not_kept() {
        let (seen, console) = pieces(&[b"\r 1/2", b"\r 2/2", b"\r    \rdone\r\n"]);
        assert_eq!(console.lines, ["done"]);
        assert_eq!(seen, ["[ 1/2]", "[ 2/2]", "done"]);
    }
}
