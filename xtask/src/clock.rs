//! The guest's clock beside the host's.
//!
//! The guest tells its time when it is asked to over the console. Its reading lies between the host's time when the question was sent and that when
//! the answer had come, however long the two took: so what follows from the readings holds on a busy host as well, only less sharply.
use crate::qemu::{End, Machine};
use anyhow::{Result, ensure};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// What the guest runs: `/bin/clock SECONDS`.
pub const PROGRAM: &str = "/bin/clock";

/// One reading, in seconds; the host's clock and the guest's begin anywhere.
#[derive(Clone, Copy, Debug)]
struct Reading {
    sent: f64,
    guest: f64,
    received: f64,
}

/// What the readings say.
#[derive(Clone, Copy, Debug)]
pub struct Agreement {
    /// Seconds between the first and the last reading, by the guest's clock.
    pub seconds: f64,
    /// Seconds of the guest in a second of the host: at least this many.
    pub least: f64,
    /// And at most this many.
    pub most: f64,
    /// How far the guest's wall clock is from the host's at least, in seconds.
    pub wall_off: f64,
}

impl Agreement {
    /// Whether the guest's clock can be within `part` of the host's.
    pub fn is_possible(&self, part: f64) -> bool {
        self.least <= 1.0 + part && self.most >= 1.0 - part
    }
    /// Whether it certainly is.
    pub fn is_certain(&self, part: f64) -> bool {
        self.most <= 1.0 + part && self.least >= 1.0 - part
    }
}

/// Boots `machine`, which runs [`PROGRAM`], and asks as often as it wants to be asked. Errors: the guest does not end well, or its clock goes back.
pub fn compare(machine: &Machine) -> Result<Agreement> {
    let start = Instant::now();
    let (mut readings, mut sent, mut wall_off) = (Vec::<Reading>::new(), None, 0.0_f64);
    let outcome = machine.type_at(&mut |line| {
        let now = start.elapsed().as_secs_f64();
        if line == "clock: ask" {
            sent = Some((start.elapsed().as_secs_f64(), wall()));
            return Some("\n".into());
        }
        // The echo of the question is a line as well.
        let [guest, guest_wall] = answer(line)?;
        let (asked, wall_then) = sent.take()?;
        readings.push(Reading { sent: asked, guest, received: now });
        wall_off = wall_off.max(wall_then - guest_wall).max(guest_wall - wall());
        None
    })?;
    ensure!(outcome.end == End::Clean && outcome.console.init_status() == Some(0), "{:?}", outcome.console.lines);
    let mut agreement = judge(&readings)?;
    agreement.wall_off = wall_off;
    Ok(agreement)
}

fn wall() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The two numbers of a line `clock: MONOTONIC WALL`, in seconds.
fn answer(line: &str) -> Option<[f64; 2]> {
    let (monotonic, wall) = line.strip_prefix("clock: ")?.split_once(' ')?;
    Some([monotonic.parse::<f64>().ok()? / 1e9, wall.parse::<f64>().ok()? / 1e9])
}

/// The sharpest bounds that any two readings give.
fn judge(readings: &[Reading]) -> Result<Agreement> {
    let mut agreement = Agreement { seconds: 0.0, least: 0.0, most: f64::INFINITY, wall_off: 0.0 };
    for (i, from) in readings.iter().enumerate() {
        for to in &readings[i + 1..] {
            let passed = to.guest - from.guest;
            ensure!(passed >= 0.0, "the clock went back: {from:?} {to:?}");
            agreement.seconds = agreement.seconds.max(passed);
            agreement.least = agreement.least.max(passed / (to.received - from.sent));
            if to.sent > from.received {
                agreement.most = agreement.most.min(passed / (to.sent - from.received));
            }
        }
    }
    ensure!(agreement.most.is_finite(), "{} readings are too few", readings.len());
    Ok(agreement)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock of this rate, read at each second in the middle of an interval of this width.
    fn judged(rate: f64, width: f64) -> Agreement {
        let reading =
            |second: f64| Reading { sent: second - width / 2.0, guest: second * rate, received: second + width / 2.0 };
        judge(&(0..13).map(|second| reading(f64::from(second))).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_wrong_clock_is_found_and_a_slow_host_is_no_wrong_clock() {
        assert!(judged(1.0, 0.01).is_certain(0.01) && judged(1.005, 0.01).is_certain(0.01));
        for rate in [0.97, 1.03, 1.8] {
            assert!(!judged(rate, 0.01).is_possible(0.01), "{rate}");
        }
        let busy = judged(1.0, 0.9);
        assert!(busy.is_possible(0.01) && !busy.is_certain(0.01), "{busy:?}");
        let back = [1.0, 0.5].map(|guest| Reading { sent: 0.0, guest, received: 0.0 });
        assert!(judge(&back).is_err() && judge(&back[..1]).is_err());
    }

    #[test]
    fn answers_are_read() {
        assert_eq!(answer("clock: 1500000000 3000000000"), Some([1.5, 3.0]));
        assert_eq!((answer("clock: ask"), answer("clock: 1"), answer("1 2")), (None, None, None));
    }
}
