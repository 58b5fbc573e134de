//! The battery-backed clock, read once at boot.
use x86_64::instructions::port::Port;

const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;
const UPDATE_IN_PROGRESS: u8 = 0x80;
const BINARY: u8 = 0x04;
const HOURS_24: u8 = 0x02;
const PM: u8 = 0x80;
/// Seconds, minutes, hours, day of month, month, year of the century.
const FIELDS: [u8; 6] = [0x00, 0x02, 0x04, 0x07, 0x08, 0x09];
const TRIES: u32 = 1000;

/// Nanoseconds since 1970-01-01 UTC, to the second; 0 if the clock gives nonsense.
pub(super) fn read_ns() -> u64 {
    let raw = read_stable();
    let status = register(STATUS_B);
    let pm = status & HOURS_24 == 0 && raw[2] & PM != 0;
    let decode = |value: u8| u64::from(if status & BINARY == 0 { (value >> 4) * 10 + (value & 0xf) } else { value });
    let [second, minute, _, day, month, year] = raw.map(decode);
    let mut hour = decode(raw[2] & !PM);
    if status & HOURS_24 == 0 {
        hour = hour % 12 + if pm { 12 } else { 0 };
    }
    days_since_1970(2000 + year, month, day)
        .map_or(0, |days| (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000_000)
}

/// Two equal readings in a row: none of them was taken during an update.
fn read_stable() -> [u8; 6] {
    let mut last = FIELDS.map(register);
    for _ in 0..TRIES {
        if register(STATUS_A) & UPDATE_IN_PROGRESS == 0 {
            let again = FIELDS.map(register);
            if again == last {
                break;
            }
            last = again;
        }
    }
    last
}

/// Days of the Gregorian calendar; `None` for a month or day that isn't one.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // The year begins in March, so that the leap day is its last.
    let year = year - u64::from(month <= 2);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468)
}

fn register(index: u8) -> u8 {
    // SAFETY: the clock's index and data ports. Bit 7 of the index, which masks NMIs, stays clear.
    unsafe {
        Port::new(0x70).write(index);
        Port::new(0x71).read()
    }
}
