//! Anchors (HK-1): a test stops the n-th passage of a named point and lets it go again.
//!
//! ```text
//!   let stop = stop_at("F2").id(ino).arm();    the test
//!   ...                                        a task passes anchor!("F2", ino) and stands there
//!   stop.wait_reached();                       returns once somebody stands there: no sleep, no time
//!   ...                                        whatever is to happen in between
//!   stop.release();                            the task goes on; dropping the stop does the same
//! ```
use super::scope::scope;
use crate::sched::{self, Task};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{Arc, WaitQueue};
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::AtomicUsize;

const ARMED: u32 = 0;
const REACHED: u32 = 1;
const RELEASED: u32 = 2;

/// How many stops exist: a passage looks no further while there are none.
static STOPS: AtomicUsize = AtomicUsize::new(0);
/// All stops. Not a lock of `base`: it is taken for moments only, and the checkers need not explore it.
static REGISTRY: spin::Mutex<Vec<Arc<Point>>> = spin::Mutex::new(Vec::new());

struct Point {
    name: String,
    id: Option<u64>,
    task: Option<u64>,
    nth: u32,
    scope: u64,
    passages: core::sync::atomic::AtomicU32,
    state: AtomicU32,
    standing: hal::sync::IrqLock<Option<Task>>,
    reached: WaitQueue,
}

/// Describes a stop; see [`stop_at`].
#[must_use = "`arm` makes the stop"]
pub struct StopAt {
    name: String,
    id: Option<u64>,
    task: Option<u64>,
    nth: u32,
}

/// A stop at the anchor `name`: the first passage, of any object and any task of this [`scope`], unless it is narrowed.
pub fn stop_at(name: &str) -> StopAt {
    StopAt { name: name.into(), id: None, task: None, nth: 1 }
}

impl StopAt {
    /// Only passages for the object `id`.
    pub fn id(self, id: u64) -> Self {
        StopAt { id: Some(id), ..self }
    }
    /// Only passages of this task.
    pub fn task(self, task: &Task) -> Self {
        StopAt { task: Some(task.id()), ..self }
    }
    /// The `n`-th passage that fits, from 1.
    pub fn nth(self, n: u32) -> Self {
        StopAt { nth: n, ..self }
    }
    /// From now on the passage stops.
    pub fn arm(self) -> Stop {
        let point = Arc::new(Point {
            name: self.name,
            id: self.id,
            task: self.task,
            nth: self.nth,
            scope: scope(),
            passages: core::sync::atomic::AtomicU32::new(0),
            state: AtomicU32::new(ARMED),
            standing: hal::sync::IrqLock::new(None),
            reached: WaitQueue::new(),
        });
        with_registry(|all| all.push(point.clone()));
        STOPS.fetch_add(1, Ordering::SeqCst);
        Stop(point)
    }
}

/// An armed stop. Dropping it lets go whoever stands there, and nobody stops any more.
#[must_use = "dropping the stop disarms it"]
pub struct Stop(Arc<Point>);

impl Stop {
    /// Sleeps until a task stands at the stop.
    pub fn wait_reached(&self) {
        self.0.reached.wait_until(|| self.is_reached());
    }
    /// As [`Stop::wait_reached`], until [`crate::time::now_ns`] reaches `deadline_ns`; false if nobody has come by then.
    pub fn wait_reached_until(&self, deadline_ns: u64) -> bool {
        self.0.reached.wait_until_deadline(deadline_ns, || self.is_reached())
    }
    /// Whether a task has come to the stop, be it let go or not.
    pub fn is_reached(&self) -> bool {
        self.0.state.load(Ordering::Acquire) != ARMED
    }
    /// The task that stands there.
    pub fn task(&self) -> Option<Task> {
        self.0.standing.lock().clone()
    }
    /// Lets the task go; if none has come yet, none will stop.
    pub fn release(&self) {
        self.0.state.store(RELEASED, Ordering::Release);
        if let Some(task) = self.0.standing.lock().as_ref() {
            task.unpark();
        }
    }
    /// How many passages fitted so far, the one that stopped included.
    pub fn passages(&self) -> u32 {
        self.0.passages.load(Ordering::Relaxed)
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.release();
        STOPS.fetch_sub(1, Ordering::SeqCst);
        let gone = with_registry(|all| {
            let at = all.iter().position(|p| Arc::ptr_eq(p, &self.0));
            at.map(|at| all.remove(at))
        });
        drop(gone);
    }
}

#[inline(always)]
pub(super) fn pass(name: &'static str, id: u64) {
    if STOPS.load(Ordering::Relaxed) != 0 {
        pass_slowly(name, id);
    }
}

#[cold]
fn pass_slowly(name: &'static str, id: u64) {
    let (scope, task) = (scope(), sched::current_id());
    let fits = |p: &Point| {
        p.name == name && p.scope == scope && p.id.is_none_or(|i| i == id) && p.task.is_none_or(|t| t == task)
    };
    // One registry lock for counting and choosing: two tasks can't both be the n-th.
    let chosen = with_registry(|all| {
        let mut chosen = None;
        for point in all.iter().filter(|p| fits(p)) {
            let passage = point.passages.fetch_add(1, Ordering::Relaxed) + 1;
            if passage == point.nth && chosen.is_none() {
                chosen = Some(point.clone());
            }
        }
        chosen
    });
    if let Some(point) = chosen {
        point.stand();
    }
}

impl Point {
    /// Stands at the point until it is released.
    fn stand(&self) {
        *self.standing.lock() = Some(sched::current());
        let armed = self.state.compare_exchange(ARMED, REACHED, Ordering::AcqRel, Ordering::Acquire).is_ok();
        self.reached.wake_all();
        if armed && sched::may_stop_here() {
            while self.state.load(Ordering::Acquire) != RELEASED {
                sched::park_in_lab();
            }
            // The parks may have eaten a wake-up that was meant for what the task does next.
            sched::current().unpark();
        }
        self.standing.lock().take();
    }
}

fn with_registry<R>(f: impl FnOnce(&mut Vec<Arc<Point>>) -> R) -> R {
    hal::irq::with_disabled(|| f(&mut REGISTRY.lock()))
}

#[cfg(all(test, not(loom), not(shuttle)))]
mod tests {
    use super::*;
    use alloc::boxed::Box;
    use core::sync::atomic::AtomicBool;

    #[test]
    fn the_nth_passage_stops_until_released() {
        let stop = stop_at("lab-nth").id(7).nth(2).arm();
        let done = Arc::new(AtomicBool::new(false));
        let flag = done.clone();
        let task = sched::spawn(
            "walker",
            Box::new(move || {
                for id in [7, 8, 7, 7] {
                    crate::anchor!("lab-nth", id);
                }
                flag.store(true, Ordering::SeqCst);
            }),
        );
        let task = task.unwrap();
        stop.wait_reached();
        assert!(stop.task().unwrap().is(&task));
        assert_eq!(stop.passages(), 2);
        assert!(!done.load(Ordering::SeqCst));
        stop.release();
        task.join();
        assert!(done.load(Ordering::SeqCst));
        assert_eq!(stop.passages(), 3);
    }

    #[test]
    fn a_stop_in_a_played_interrupt() {
        let stop = stop_at("lab-irq").arm();
        let body = || hal::irq::as_interrupt(|| crate::anchor!("lab-irq", 1));
        let task = sched::spawn("irq", Box::new(body)).unwrap();
        stop.wait_reached();
        assert!(!task.has_exited());
        drop(stop);
        task.join();
    }

    #[test]
    fn other_tests_pass_freely() {
        let stop = stop_at("lab-scope").arm();
        std::thread::spawn(|| crate::anchor!("lab-scope", 1)).join().unwrap();
        assert!(!stop.is_reached());
    }

    #[test]
    fn a_stop_keeps_the_wake_up_it_ate() {
        let stop = stop_at("lab-token").arm();
        let body = || {
            crate::anchor!("lab-token", 1);
            sched::park();
        };
        let task = sched::spawn("sleeper", Box::new(body)).unwrap();
        stop.wait_reached();
        task.unpark();
        stop.release();
        task.join();
    }
}
