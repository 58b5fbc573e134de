//! The polled serial port: early messages, the log, which says nothing too often, and panics.
use super::sync::IrqLock;
use crate::log_limit::{LogLimit, Verdict};
use core::fmt::{self, Write};
use log::{LevelFilter, Log, Metadata, Record};
use x86_64::instructions::port::Port;

const COM1: u16 = 0x3f8;
const LINE_STATUS: u16 = COM1 + 5;
const TRANSMITTER_EMPTY: u8 = 0x20;
/// So many looks at the status before a byte is given up: a machine without the port must not hang.
const PATIENCE: u32 = 100_000;

/// One writer at a time, so that lines stay whole.
static PORT: IrqLock<SerialPort> = IrqLock::new(SerialPort);

struct SerialPort;

impl SerialPort {
    fn put(&mut self, byte: u8) {
        // SAFETY: the first serial port's registers. A driver that takes the port over writes its data register under
        // a lock of its own; bytes may then mix, no more.
        unsafe {
            let mut status = Port::<u8>::new(LINE_STATUS);
            let _ = (0..PATIENCE).find(|_| status.read() & TRANSMITTER_EMPTY != 0);
            Port::new(COM1).write(byte);
        }
    }
}

impl Write for SerialPort {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.put(b'\r');
            }
            self.put(byte);
        }
        Ok(())
    }
}

/// Sets the port up (115200 baud, 8N1, FIFO) and makes it the sink of the `log` crate.
pub(super) fn init() {
    const SETUP: [(u16, u8); 7] = [(1, 0), (3, 0x80), (0, 1), (1, 0), (3, 0x03), (2, 0xc7), (4, 0x0b)];
    for (register, value) in SETUP {
        // SAFETY: the port's registers, before anybody else uses them.
        unsafe { Port::new(COM1 + register).write(value) };
    }
    // Fails only if there is a logger, which then stays.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(LevelFilter::Info);
}

/// Writes bytes as they are, waiting for room. Any context.
pub fn write_bytes(bytes: &[u8]) {
    let mut port = PORT.lock();
    bytes.iter().for_each(|&byte| port.put(byte));
}

/// Lets the port interrupt (ISA line 4) when a byte arrives.
pub fn enable_input() {
    let _port = PORT.lock();
    // SAFETY: the interrupt enable register: "received data available" only.
    unsafe { Port::<u8>::new(COM1 + 1).write(1) };
}

/// Takes a received byte out of the port. Any context.
pub fn read_byte() -> Option<u8> {
    // SAFETY: status and data registers; reading data when the status says there is some disturbs nobody but readers.
    unsafe {
        let status = Port::<u8>::new(LINE_STATUS).read();
        (status != 0xff && status & 1 != 0).then(|| Port::<u8>::new(COM1).read())
    }
}

/// Writes formatted text, `\n` as `\r\n`. Any context.
pub fn write_fmt(text: fmt::Arguments) {
    // The port's `write_str` can't fail.
    let _ = PORT.lock().write_fmt(text);
}

/// Writes formatted text even if the writer that was interrupted holds the lock: for last words.
pub fn write_fmt_unlocked(text: fmt::Arguments) {
    let _guard = PORT.try_lock();
    let _ = SerialPort.write_fmt(text);
}

struct ConsoleLog;
static LOGGER: ConsoleLog = ConsoleLog;
static LIMIT: LogLimit = LogLimit::new();

impl Log for ConsoleLog {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.level() <= log::max_level()
    }
    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let us = super::time::now_ns() / 1000;
        let (seconds, level, target) = (us / 1_000_000, record.level(), record.target());
        let place = record.file_static().map_or(0, |file| file.as_ptr() as u64);
        let verdict = LIMIT.count(place << 16 ^ u64::from(record.line().unwrap_or(0)), seconds);
        if verdict != Verdict::LeftOut {
            let (us, text) = (us % 1_000_000, record.args());
            write_fmt(format_args!("[{seconds:4}.{us:06}] {level:5} {target}: {text}{verdict}\n"));
        }
    }
    fn flush(&self) {}
}
