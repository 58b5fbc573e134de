//! What a timer is set to: the next expiry and the time between two. Pure.

/// In monotonic nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Setting {
    /// When it expires next; 0: it is not armed.
    pub next_ns: u64,
    /// How long after that again; 0: never.
    pub interval_ns: u64,
}

impl Setting {
    /// How often it has expired up to `now_ns` and not been counted; afterwards it is set to the first time after that.
    pub fn advance(&mut self, now_ns: u64) -> u64 {
        if self.next_ns == 0 || now_ns < self.next_ns {
            return 0;
        }
        if self.interval_ns == 0 {
            self.next_ns = 0;
            return 1;
        }
        let count = (now_ns - self.next_ns) / self.interval_ns + 1;
        self.next_ns = self.next_ns.saturating_add(count.saturating_mul(self.interval_ns));
        count
    }

    /// How long until it expires next, at least one nanosecond if it is armed; 0: never.
    pub fn left_ns(mut self, now_ns: u64) -> u64 {
        self.advance(now_ns);
        if self.next_ns == 0 { 0 } else { self.next_ns.saturating_sub(now_ns).max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_expires_once_or_again_and_again() {
        let mut once = Setting { next_ns: 100, interval_ns: 0 };
        assert_eq!((once.advance(99), once.left_ns(99)), (0, 1));
        assert_eq!((once.left_ns(100), once.advance(100), once.advance(1000)), (0, 1, 0));
        let mut often = Setting { next_ns: 100, interval_ns: 10 };
        assert_eq!(often.left_ns(105), 5);
        assert_eq!((often.advance(100), often.next_ns), (1, 110));
        assert_eq!((often.advance(139), often.next_ns), (3, 140));
        assert_eq!(Setting::default().advance(u64::MAX), 0);
        let mut last = Setting { next_ns: 1, interval_ns: 1 };
        assert_eq!((last.advance(u64::MAX), last.next_ns), (u64::MAX, u64::MAX));
    }
}
