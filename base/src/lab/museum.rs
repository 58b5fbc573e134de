//! The bug museum: `guard!("R12", cond)` protects against the hazard R12; a test switches the guard off by name and must
//! then fail in its own assertion. That proves that the test can fail.
//!
//! On the host the environment variable `SLUICE_GUARDS_OFF` (names with commas between them) switches guards off for the whole
//! process: that is how `make museum` shows a test the bug that it is there for.
use super::scope::scope;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

static COUNT: AtomicUsize = AtomicUsize::new(0);
static OFF: spin::Mutex<Vec<(u64, String)>> = spin::Mutex::new(Vec::new());

/// A guard is off, for this scope, while this lives.
#[must_use = "dropping it switches the guard on again"]
pub struct SwitchedOff(u64, String);

/// Switches the guard `name` off for the tasks of this scope.
pub fn switch_off(name: &str) -> SwitchedOff {
    let entry = (scope(), String::from(name));
    hal::irq::with_disabled(|| OFF.lock().push(entry.clone()));
    COUNT.fetch_add(1, Ordering::SeqCst);
    SwitchedOff(entry.0, entry.1)
}

impl Drop for SwitchedOff {
    fn drop(&mut self) {
        COUNT.fetch_sub(1, Ordering::SeqCst);
        let gone = hal::irq::with_disabled(|| {
            let mut off = OFF.lock();
            let at = off.iter().position(|(s, n)| *s == self.0 && *n == self.1);
            at.map(|at| off.swap_remove(at))
        });
        drop(gone);
    }
}

#[inline(always)]
pub(super) fn is_on(name: &str) -> bool {
    (COUNT.load(Ordering::Relaxed) == 0 || is_on_slowly(name)) && !off_for_process(name)
}

#[cfg(not(target_os = "none"))]
fn off_for_process(name: &str) -> bool {
    static NAMES: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
    let names = NAMES.get_or_init(|| names_in(&std::env::var("SLUICE_GUARDS_OFF").unwrap_or_default()));
    names.iter().any(|off| off == name)
}

/// A booted kernel has no environment.
#[cfg(target_os = "none")]
fn off_for_process(_: &str) -> bool {
    false
}

#[cfg(not(target_os = "none"))]
fn names_in(list: &str) -> Vec<String> {
    list.split(',').map(|name| String::from(name.trim())).filter(|name| !name.is_empty()).collect()
}

#[cold]
fn is_on_slowly(name: &str) -> bool {
    let scope = scope();
    hal::irq::with_disabled(|| !OFF.lock().iter().any(|(s, n)| *s == scope && n == name))
}

#[cfg(all(test, not(loom), not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn a_guard_is_off_by_name_and_scope_while_the_switch_lives() {
        let off = switch_off("R-test");
        assert!(!crate::guard!("R-test", true));
        assert!(crate::guard!("R-other", true));
        assert!(!crate::guard!("R-other", false));
        assert!(std::thread::spawn(|| crate::guard!("R-test", true)).join().unwrap());
        drop(off);
        assert!(crate::guard!("R-test", true));
    }

    #[test]
    fn names_are_separated_by_commas() {
        assert_eq!(names_in("R12, R29,,"), ["R12", "R29"]);
        assert!(names_in("").is_empty());
    }
}
