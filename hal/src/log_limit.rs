//! How often the log shows one message: a program that provokes it without end must not fill the console, nor take the CPU with it.
//!
//! Messages are told apart by where they stand in the code. Each place may show [`MOST`] in [`PERIOD_S`] seconds; what comes beyond that is
//! counted, and its number shown with the next one that is. Two places may share a count; then they have as many together.
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Messages of one place that a period takes.
const MOST: u64 = 50;
/// Seconds of a period. It begins with its first message.
const PERIOD_S: u64 = 10;
const PLACES: usize = 64;

/// What is done with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is shown; this many before it were not.
    Shown {
        /// How many.
        left_out: u64,
    },
    /// It is shown, and no more of this period are.
    Last,
    /// It is counted.
    LeftOut,
}

/// What stands behind a message that is shown.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Shown { left_out: 0 } | Verdict::LeftOut => Ok(()),
            Verdict::Shown { left_out } => write!(f, " ({left_out} before it were left out)"),
            Verdict::Last => f.write_str(" (too many: more of them are left out)"),
        }
    }
}

/// The counts: in the upper half the second in which the period began, in the lower half how many messages have come.
pub struct LogLimit([AtomicU64; PLACES]);

impl LogLimit {
    /// Nothing has been shown.
    #[allow(clippy::new_without_default, reason = "it is made in a static")]
    pub const fn new() -> LogLimit {
        LogLimit([const { AtomicU64::new(0) }; PLACES])
    }

    /// Counts a message of `place`, any number that tells places apart, in second `now_s`. Any context.
    pub fn count(&self, place: u64, now_s: u64) -> Verdict {
        let slot = (place.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize % PLACES;
        let count = |word: u64| word & u64::from(u32::MAX);
        let begins = |word: u64| count(word) == 0 || now_s.saturating_sub(word >> 32) >= PERIOD_S;
        let next = |word: u64| if begins(word) { now_s << 32 | 1 } else { word.saturating_add(1) };
        let before = self
            .0
            .get(slot)
            .map_or(0, |word| word.fetch_update(Relaxed, Relaxed, |word| Some(next(word))).unwrap_or(0));
        match count(before) {
            came if begins(before) => Verdict::Shown { left_out: came.saturating_sub(MOST) },
            came if came + 1 < MOST => Verdict::Shown { left_out: 0 },
            came if came + 1 == MOST => Verdict::Last,
            _ => Verdict::LeftOut,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_its_number_told() {
        let limit = LogLimit::new();
        let (fresh, count) = (Verdict::Shown { left_out: 0 }, |place, now_s| limit.count(place, now_s));
        for _ in 1..MOST {
            assert_eq!(count(1, 100), fresh);
        }
        assert_eq!([count(1, 100), count(1, 109), count(1, 109)], [Verdict::Last, Verdict::LeftOut, Verdict::LeftOut]);
        assert_eq!(count(2, 109), fresh, "of another place");
        assert_eq!(count(1, 110), Verdict::Shown { left_out: 2 });
        assert_eq!([count(1, 110), count(1, 200), count(1, 200)], [fresh; 3]);
    }
}
