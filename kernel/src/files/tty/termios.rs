//! The settings of a terminal, as programs give them.
use linux_raw_sys::general as abi;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `struct termios2` of the ABI; `struct termios` is the same without the speeds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Termios {
    pub input: u32,
    pub output: u32,
    pub control: u32,
    pub local: u32,
    pub line: u8,
    pub keys: [u8; abi::NCCS as usize],
    pub input_speed: u32,
    pub output_speed: u32,
}
const _: () = assert!(size_of::<Termios>() == size_of::<abi::termios2>());

/// Bytes of `struct termios`.
pub const SHORT: usize = size_of::<abi::termios>();
/// Bits of a second that the port sends: it is set up once.
const BAUD: u32 = 115_200;
/// What a key has that is switched off (`_POSIX_VDISABLE`).
const OFF: u8 = 0;

impl Default for Termios {
    /// What Linux gives a new terminal: lines that can be edited, with echo and signals; line ends as a terminal wants them.
    fn default() -> Termios {
        let mut keys = [OFF; abi::NCCS as usize];
        let given = [
            (abi::VINTR, b'C'),
            (abi::VQUIT, b'\\'),
            (abi::VEOF, b'D'),
            (abi::VSTART, b'Q'),
            (abi::VSTOP, b'S'),
            (abi::VSUSP, b'Z'),
            (abi::VKILL, b'U'),
            (abi::VREPRINT, b'R'),
            (abi::VDISCARD, b'O'),
            (abi::VWERASE, b'W'),
            (abi::VLNEXT, b'V'),
        ];
        given.into_iter().for_each(|(key, letter)| keys[key as usize] = letter ^ 0x40);
        keys[abi::VERASE as usize] = 0x7f;
        keys[abi::VMIN as usize] = 1;
        Termios {
            input: abi::ICRNL | abi::IXON,
            output: abi::OPOST | abi::ONLCR,
            control: abi::B115200 | abi::CS8 | abi::CREAD | abi::HUPCL | abi::CLOCAL,
            local: abi::ISIG
                | abi::ICANON
                | abi::ECHO
                | abi::ECHOE
                | abi::ECHOK
                | abi::ECHOCTL
                | abi::ECHOKE
                | abi::IEXTEN,
            line: 0,
            keys,
            input_speed: BAUD,
            output_speed: BAUD,
        }
    }
}

impl Termios {
    /// Whether this input flag is set.
    pub fn input(&self, flag: u32) -> bool {
        self.input & flag != 0
    }
    /// Whether this output flag is set.
    pub fn output(&self, flag: u32) -> bool {
        self.output & flag != 0
    }
    /// Whether this local flag is set.
    pub fn local(&self, flag: u32) -> bool {
        self.local & flag != 0
    }
    /// What `key` (`V*`) is set to; for `VMIN` and `VTIME` a number.
    pub fn key(&self, key: u32) -> u8 {
        self.keys.get(key as usize).copied().unwrap_or(OFF)
    }
    /// Whether `byte` is `key`, which is not switched off.
    pub fn is(&self, byte: u8, key: u32) -> bool {
        byte != OFF && byte == self.key(key)
    }
}

/// `struct winsize`: rows and columns, then pixels.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct WindowSize {
    pub rows: u16,
    pub columns: u16,
    pub pixels: [u16; 2],
}

impl Default for WindowSize {
    /// A serial line does not tell: what a terminal has that is as old as the line.
    fn default() -> WindowSize {
        WindowSize { rows: 24, columns: 80, pixels: [0; 2] }
    }
}
