//! Running one row: for a time with a latency for each operation, or a number of times between the counter's marks.
use crate::counters::{self, Snapshot};
use std::time::{Duration, Instant};
use user::sys;

/// Ticks of the time-stamp counter in a second.
#[derive(Clone, Copy)]
pub struct Clock {
    ticks_per_second: f64,
}

impl Clock {
    /// Compares the counter with the kernel's clock for 20 ms.
    pub fn calibrate() -> Clock {
        let (start, ticks) = (Instant::now(), sys::tsc());
        while start.elapsed() < Duration::from_millis(20) {}
        Clock { ticks_per_second: (sys::tsc() - ticks) as f64 / start.elapsed().as_secs_f64() }
    }
    fn seconds(self, ticks: u64) -> f64 {
        ticks as f64 / self.ticks_per_second
    }
    fn ticks(self, seconds: f64) -> u64 {
        (seconds * self.ticks_per_second) as u64
    }
}

/// Why a row has no figures.
#[derive(Debug)]
pub enum Stop {
    /// The running kernel does not have the feature.
    Unsupported,
    /// A call failed.
    Failed(String),
}

/// The figures of one row.
pub struct RowResult {
    pub name: &'static str,
    /// `None`: the running kernel does not have the feature.
    pub figures: Option<Figures>,
}

/// What was measured.
pub struct Figures {
    pub ops: u64,
    pub seconds: f64,
    pub p50_us: Option<f64>,
    pub p99_us: Option<f64>,
    /// Share of the time inside `io_submit`, for asynchronous rows.
    pub submit_share: Option<f64>,
    /// The most requests that the disk had at once.
    pub most_in_flight: Option<u64>,
    /// Kernel counters an operation.
    pub counters: Option<[f64; counters::COLUMNS.len()]>,
}

/// Measures one row.
pub struct Meter {
    clock: Clock,
    budget_ticks: u64,
    fixed_ops: Option<u64>,
    latencies: Vec<u32>,
    ops: u64,
    started: u64,
    ticks: u64,
    submit_ticks: u64,
    asynchronous: bool,
    before: Option<Snapshot>,
    after: Option<Snapshot>,
    most_in_flight: Option<u64>,
}

impl Meter {
    /// For a row that usually has `usual_ops` operations where their number is fixed.
    pub fn new(clock: Clock, seconds: f64, percent: Option<u64>, usual_ops: u64) -> Meter {
        Meter {
            clock,
            budget_ticks: clock.ticks(seconds),
            fixed_ops: percent.map(|p| (usual_ops * p / 100).max(64)),
            latencies: Vec::with_capacity(1 << 16),
            ops: 0,
            started: 0,
            ticks: 0,
            submit_ticks: 0,
            asynchronous: false,
            before: None,
            after: None,
            most_in_flight: None,
        }
    }

    /// How many operations a row may do at most: for rows that make room for them first.
    pub fn at_most(&self, otherwise: u64) -> u64 {
        self.fixed_ops.unwrap_or(otherwise)
    }

    /// Starts the measured section.
    pub fn start(&mut self) {
        counters::watch_in_flight();
        self.before = counters::read();
        self.started = sys::tsc();
        sys::count_start();
    }

    /// Ends it.
    pub fn stop(&mut self) {
        sys::count_stop();
        self.ticks = sys::tsc() - self.started;
        self.after = counters::read();
        self.most_in_flight = counters::most_in_flight();
    }

    /// Whether a section that has done `done` operations goes on; `limit` is the row's own end.
    #[inline]
    pub fn goes_on(&self, done: u64, limit: u64) -> bool {
        done < limit && self.fixed_ops.map_or_else(|| sys::tsc() - self.started < self.budget_ticks, |ops| done < ops)
    }

    /// One section of single operations, at most `limit`. `op` gets the operation's number.
    pub fn each(&mut self, limit: u64, mut op: impl FnMut(u64) -> sys::Result<()>) -> Result<(), Stop> {
        let timed = self.fixed_ops.is_none();
        self.start();
        let mut done = 0;
        while self.goes_on(done, limit) {
            let start = if timed { sys::tsc() } else { 0 };
            op(done).map_err(failed)?;
            if timed {
                self.latency(sys::tsc() - start);
            }
            done += 1;
        }
        self.stop();
        self.ops = done;
        Ok(())
    }

    /// Notes the latency of one operation.
    pub fn latency(&mut self, ticks: u64) {
        if self.latencies.len() < self.latencies.capacity() {
            self.latencies.push(u32::try_from(ticks).unwrap_or(u32::MAX));
        }
    }

    /// Notes time inside `io_submit`.
    pub fn submitting(&mut self, ticks: u64) {
        self.asynchronous = true;
        self.submit_ticks += ticks;
    }

    /// Sets the number of operations of a section that was not run by [`Meter::each`].
    pub fn did(&mut self, ops: u64) {
        self.ops = ops;
    }

    /// The row's result. Errors: what failed.
    pub fn finish(mut self, name: &'static str, outcome: Result<(), Stop>) -> Result<RowResult, String> {
        match outcome {
            Err(Stop::Failed(text)) => return Err(format!("{name}: {text}")),
            Err(Stop::Unsupported) => {
                if self.fixed_ops.is_some() {
                    // The counter's sections stay in step with the rows.
                    sys::count_start();
                    sys::count_stop();
                }
                return Ok(RowResult { name, figures: None });
            }
            Ok(()) => {}
        }
        self.latencies.sort_unstable();
        let us = |share: f64| {
            let index = (self.latencies.len() as f64 * share) as usize;
            self.latencies
                .get(index.min(self.latencies.len().saturating_sub(1)))
                .map(|t| self.clock.seconds(u64::from(*t)) * 1e6)
        };
        let per_op = |(before, after): (Snapshot, Snapshot)| {
            std::array::from_fn(|i| after[i].saturating_sub(before[i]) as f64 / self.ops.max(1) as f64)
        };
        let figures = Figures {
            ops: self.ops,
            seconds: self.clock.seconds(self.ticks),
            p50_us: us(0.50),
            p99_us: us(0.99),
            submit_share: self.asynchronous.then(|| self.submit_ticks as f64 / self.ticks.max(1) as f64),
            most_in_flight: self.most_in_flight,
            counters: self.before.zip(self.after).map(per_op),
        };
        Ok(RowResult { name, figures: Some(figures) })
    }
}

/// A failed call as the end of a row.
pub fn failed(error: sys::Errno) -> Stop {
    Stop::Failed(std::io::Error::from_raw_os_error(error.0).to_string())
}
