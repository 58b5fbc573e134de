//! The line discipline: what typed bytes become until a program reads them, what the terminal shows of them, and what written bytes become on
//! the way to it. Pure: it sends no signals and knows no device.
//!
//! ```text
//!   typed ──▶ translate ──▶ a key of signals? ──▶ canonical: edit the line ──(line feed, ^D)──▶ lines ──▶ read
//!                                 │                raw ──────────────────────────────────────▶ bytes ─▶ read
//!                                 ▼
//!                              signal                         what is shown ──▶ output processing ──▶ terminal
//! ```
//!
//! Stored and without effect: `IXON` and its keys (nothing stops the output), parity, speeds, `ECHOPRT`, `IUCLC`, `OLCUC`, delays.
use super::termios::Termios;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use linux_raw_sys::general as abi;

/// Bytes that are kept for readers, and the longest line with its end (`MAX_CANON`).
pub const CAPACITY: usize = 4096;
/// Room that must be left for more to be taken from the device, unless a line has no end yet.
const SPARE: usize = 256;
const TAB: usize = 8;

/// What a key asks to be sent to the foreground.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// ^C
    Interrupt,
    /// ^\
    Quit,
    /// ^Z
    Suspend,
}

/// The state of a terminal.
#[derive(Default)]
pub struct Discipline {
    settings: Termios,
    /// The line that is being typed; in canonical mode only.
    line: Vec<u8>,
    /// What can be read.
    ready: VecDeque<u8>,
    /// In canonical mode: how many bytes of `ready` belong to each complete line. An end of file alone is an empty one.
    lines: VecDeque<usize>,
    /// The next byte means itself.
    literal: bool,
    /// Where the cursor is, and where it was when the first byte of the line was shown.
    column: usize,
    line_column: usize,
}

impl Discipline {
    /// The settings.
    pub fn settings(&self) -> &Termios {
        &self.settings
    }

    /// Changes the settings. What was typed stays: bytes of raw mode become a line that can be read, a line in work becomes bytes.
    pub fn set(&mut self, settings: Termios) {
        let was = core::mem::replace(&mut self.settings, settings);
        match (was.local(abi::ICANON), self.canonical()) {
            (true, false) => {
                self.ready.extend(self.line.drain(..));
                self.lines.clear();
                self.literal = false;
            }
            (false, true) if !self.ready.is_empty() => self.lines = [self.ready.len()].into(),
            _ => {}
        }
    }

    fn canonical(&self) -> bool {
        self.settings.local(abi::ICANON)
    }

    /// Takes a byte that was typed. Appends what the terminal shows to `out`; returns what is to be sent.
    pub fn receive(&mut self, byte: u8, out: &mut Vec<u8>) -> Option<Key> {
        let byte = if self.settings.input(abi::ISTRIP) { byte & 0x7f } else { byte };
        if core::mem::take(&mut self.literal) {
            self.show_typed(byte, out);
            self.keep(byte, out);
            return None;
        }
        let byte = match byte {
            b'\r' if self.settings.input(abi::IGNCR) => return None,
            b'\r' if self.settings.input(abi::ICRNL) => b'\n',
            b'\n' if self.settings.input(abi::INLCR) => b'\r',
            byte => byte,
        };
        if let Some(key) = self.signal_of(byte) {
            if !self.settings.local(abi::NOFLSH) {
                self.forget_input();
            }
            self.show_typed(byte, out);
            return Some(key);
        }
        if !self.canonical() {
            self.show_typed(byte, out);
            self.keep(byte, out);
        } else if !self.edit(byte, out) {
            self.extend_line(byte, out);
        }
        None
    }

    fn signal_of(&self, byte: u8) -> Option<Key> {
        let keys = [(abi::VINTR, Key::Interrupt), (abi::VQUIT, Key::Quit), (abi::VSUSP, Key::Suspend)];
        let found = keys.into_iter().find(|&(key, _)| self.settings.is(byte, key));
        found.map(|(_, key)| key).filter(|_| self.settings.local(abi::ISIG))
    }

    /// The keys that edit the line. False: `byte` is none.
    fn edit(&mut self, byte: u8, out: &mut Vec<u8>) -> bool {
        let extended = self.settings.local(abi::IEXTEN);
        let is = |key| self.settings.is(byte, key);
        if is(abi::VERASE) {
            self.erase(out);
        } else if is(abi::VKILL) {
            self.kill(byte, out);
        } else if extended && is(abi::VWERASE) {
            self.erase_word(out);
        } else if extended && is(abi::VLNEXT) {
            self.literal = true;
            if self.settings.local(abi::ECHO) && self.settings.local(abi::ECHOCTL) {
                self.show(b"^\x08", out);
            }
        } else if extended && is(abi::VREPRINT) && self.settings.local(abi::ECHO) {
            self.show_typed(byte, out);
            self.process(b'\n', out);
            self.line_column = self.column;
            core::mem::take(&mut self.line).into_iter().for_each(|byte| {
                self.show_typed(byte, out);
                self.line.push(byte);
            });
        } else {
            return false;
        }
        true
    }

    /// A byte of the line, or its end.
    fn extend_line(&mut self, byte: u8, out: &mut Vec<u8>) {
        let extended = self.settings.local(abi::IEXTEN);
        if byte == b'\n' {
            if self.settings.local(abi::ECHO) || self.settings.local(abi::ECHONL) {
                self.process(byte, out);
            }
            self.end_line(Some(byte));
        } else if self.settings.is(byte, abi::VEOF) {
            self.end_line(None);
        } else {
            self.show_typed(byte, out);
            if self.settings.is(byte, abi::VEOL) || (extended && self.settings.is(byte, abi::VEOL2)) {
                self.end_line(Some(byte));
            } else {
                self.keep(byte, out);
            }
        }
    }

    /// Keeps a byte for readers. The place of a line's end is never taken: a line that is too long is cut, and can be ended.
    fn keep(&mut self, byte: u8, out: &mut Vec<u8>) {
        let room = CAPACITY - self.ready.len().min(CAPACITY);
        if self.canonical() {
            if self.line.len() + 1 < room {
                return self.line.push(byte);
            }
        } else if room > 0 {
            return self.ready.push_back(byte);
        }
        if self.settings.input(abi::IMAXBEL) {
            self.show(b"\x07", out);
        }
    }

    fn end_line(&mut self, end: Option<u8>) {
        let len = self.line.len() + usize::from(end.is_some());
        self.ready.extend(self.line.drain(..).chain(end));
        self.lines.push_back(len);
    }

    /// Takes the last character off the line.
    fn erase(&mut self, out: &mut Vec<u8>) {
        let Some(mut first) = self.line.pop() else { return };
        let mut width = self.width_behind(first);
        // The bytes of a character go together.
        while self.settings.input(abi::IUTF8) && first & 0xc0 == 0x80 {
            let Some(byte) = self.line.pop() else { break };
            (first, width) = (byte, 1);
        }
        if !self.settings.local(abi::ECHO) {
            return;
        }
        if !self.settings.local(abi::ECHOE) {
            return self.show_typed(self.settings.key(abi::VERASE), out);
        }
        let step: &[u8] = if first == b'\t' { b"\x08" } else { b"\x08 \x08" };
        (0..width).for_each(|_| self.show(step, out));
    }

    /// Takes the last word off the line, with what stands behind it.
    fn erase_word(&mut self, out: &mut Vec<u8>) {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
        let mut in_word = false;
        while let Some(&last) = self.line.last() {
            if in_word && !is_word(last) {
                break;
            }
            in_word |= is_word(last);
            self.erase(out);
        }
    }

    /// Takes the whole line away.
    fn kill(&mut self, byte: u8, out: &mut Vec<u8>) {
        let settings = self.settings;
        let shows = |flag| settings.local(flag);
        if shows(abi::ECHO) && shows(abi::ECHOK) && shows(abi::ECHOKE) && shows(abi::ECHOE) {
            while !self.line.is_empty() {
                self.erase(out);
            }
            return;
        }
        self.line.clear();
        self.show_typed(byte, out);
        if shows(abi::ECHO) && shows(abi::ECHOK) {
            self.process(b'\n', out);
        }
    }

    /// Columns that the byte `last` took, which stood behind the line as it is now.
    fn width_behind(&self, last: u8) -> usize {
        match last {
            b'\t' => {
                let at = self.line.iter().fold(self.line_column, |at, &byte| match byte {
                    b'\t' => at + TAB - at % TAB,
                    byte => at + self.width(byte),
                });
                TAB - at % TAB
            }
            byte => self.width(byte),
        }
    }

    fn width(&self, byte: u8) -> usize {
        match byte {
            _ if is_control(byte) => {
                if self.settings.local(abi::ECHOCTL) {
                    2
                } else {
                    0
                }
            }
            _ if self.settings.input(abi::IUTF8) && byte & 0xc0 == 0x80 => 0,
            _ => 1,
        }
    }

    /// Shows a typed byte, if there is echo.
    fn show_typed(&mut self, byte: u8, out: &mut Vec<u8>) {
        if !self.settings.local(abi::ECHO) {
            return;
        }
        if self.line.is_empty() {
            self.line_column = self.column;
        }
        if is_control(byte) && byte != b'\t' && self.settings.local(abi::ECHOCTL) && (byte != b'\n' || self.canonical())
        {
            self.show(&[b'^', byte ^ 0x40], out);
        } else {
            self.process(byte, out);
        }
    }

    fn show(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        bytes.iter().for_each(|&byte| self.process(byte, out));
    }

    /// Output processing: appends what the terminal gets for `byte`.
    pub fn process(&mut self, byte: u8, out: &mut Vec<u8>) {
        let is = |flag| self.settings.output(flag);
        if !is(abi::OPOST) {
            return out.push(byte);
        }
        let mut byte = byte;
        match byte {
            b'\n' if is(abi::ONLCR) => {
                out.push(b'\r');
                self.column = 0;
            }
            b'\n' if is(abi::ONLRET) => self.column = 0,
            b'\r' if is(abi::ONOCR) && self.column == 0 => return,
            b'\r' if is(abi::OCRNL) => byte = b'\n',
            b'\r' => self.column = 0,
            b'\t' => {
                let spaces = TAB - self.column % TAB;
                self.column += spaces;
                if self.settings.output & abi::TABDLY == abi::XTABS {
                    return out.extend(core::iter::repeat_n(b' ', spaces));
                }
            }
            0x08 => self.column = self.column.saturating_sub(1),
            _ if is_control(byte) || (self.settings.input(abi::IUTF8) && byte & 0xc0 == 0x80) => {}
            _ => self.column += 1,
        }
        out.push(byte);
    }

    /// Whether the cursor is at the beginning of a line.
    pub fn at_line_start(&self) -> bool {
        self.column == 0
    }

    /// Moves what can be read into `dst`: in canonical mode at most one line. `None`: nothing can. A count of 0 is an end of file.
    pub fn read(&mut self, dst: &mut [u8]) -> Option<usize> {
        let most = if self.canonical() { *self.lines.front()? } else { self.ready.len() };
        let n = most.min(dst.len());
        for (to, byte) in dst.iter_mut().zip(self.ready.drain(..n)) {
            *to = byte;
        }
        if self.canonical() {
            match self.lines.front_mut() {
                Some(left) if *left > n => *left -= n,
                _ => _ = self.lines.pop_front(),
            }
            return Some(n);
        }
        (n > 0).then_some(n)
    }

    /// Bytes that a read could get: 0 in canonical mode if the first line is an end of file.
    pub fn readable_bytes(&self) -> usize {
        if self.canonical() { self.lines.iter().sum() } else { self.ready.len() }
    }
    /// Whether a reader that wants at least `least` bytes in raw mode, or a line, gets something.
    pub fn is_readable(&self, least: usize) -> bool {
        if self.canonical() { !self.lines.is_empty() } else { self.ready.len() >= least }
    }
    /// Whether the next bytes are wanted already. Without a complete line they are in any case, because one of them may be its end.
    pub fn has_room(&self) -> bool {
        self.ready.len() + SPARE <= CAPACITY || (self.canonical() && self.lines.is_empty())
    }

    /// Forgets what was typed and not read.
    pub fn forget_input(&mut self) {
        self.line.clear();
        self.ready.clear();
        self.lines.clear();
        self.literal = false;
    }
}

fn is_control(byte: u8) -> bool {
    byte < b' ' || byte == 0x7f
}
