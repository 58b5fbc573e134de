//! Ends the process where something does not end: a step, or a recovery.
use super::case::Case;
use super::keep;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Nothing takes that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Knows when something was seen to go on, and with what.
pub struct Watch(Mutex<(Instant, Option<Case>)>);

impl Default for Watch {
    fn default() -> Self {
        Watch(Mutex::new((Instant::now(), None)))
    }
}

impl Watch {
    /// Something goes on, with this case.
    pub fn seen(&self, case: Case) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), Some(case));
    }

    /// Does `work`, in which something must be seen to go on.
    pub fn over<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let working = scope.spawn(work);
            while !working.is_finished() {
                std::thread::sleep(Duration::from_millis(10));
                self.check();
            }
            working.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn check(&self) {
        let (at, case) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if at.elapsed() > PATIENCE {
            let what = case.map_or_else(String::new, |case| keep::command(&case));
            println!("sluice: FAILED: nothing ends any more, at or after {what}");
            std::process::exit(1);
        }
    }
}
