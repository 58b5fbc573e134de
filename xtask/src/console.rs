//! The guest's console: lines, and the records the kernel leaves in them.

/// The line with which the kernel tells how the first program ended.
const EXIT_RECORD: &str = "sluice: init exited with status ";

/// Everything the guest has printed.
#[derive(Default)]
pub struct Console {
    /// Complete lines, without line ends.
    pub lines: Vec<String>,
    partial: Vec<u8>,
}

impl Console {
    /// Takes bytes as they come and hands complete lines on.
    pub fn feed(&mut self, bytes: &[u8], on_line: &mut dyn FnMut(&str)) {
        for &byte in bytes {
            match byte {
                b'\n' => self.end_line(on_line),
                b'\r' => {}
                byte => self.partial.push(byte),
            }
        }
    }

    /// Takes what stands after the last line end.
    pub fn flush(&mut self, on_line: &mut dyn FnMut(&str)) {
        if !self.partial.is_empty() {
            self.end_line(on_line);
        }
    }

    fn end_line(&mut self, on_line: &mut dyn FnMut(&str)) {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.partial)).into_owned();
        on_line(&line);
        self.lines.push(line);
    }

    /// The exit status of the first program, if the kernel told one.
    pub fn init_status(&self) -> Option<i32> {
        self.lines.iter().rev().find_map(|l| l.trim().strip_prefix(EXIT_RECORD)?.trim().parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::Console;

    #[test]
    fn lines_arrive_whole_whatever_the_pieces() {
        let mut console = Console::default();
        let mut seen = Vec::new();
        for piece in [&b"ab"[..], b"c\r\nde", b"f\n", b"sluice: init exited with status 3"] {
            console.feed(piece, &mut |l| seen.push(l.to_owned()));
        }
        console.flush(&mut |l| seen.push(l.to_owned()));
        assert_eq!(seen, ["abc", "def", "sluice: init exited with status 3"]);
        assert_eq!(console.init_status(), Some(3));
    }
}
