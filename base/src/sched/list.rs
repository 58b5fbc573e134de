//! A FIFO of tasks through links embedded in them: pushing and taking allocate nothing.
//!
//! A task has one link of each kind, so it stands in at most one list of a kind: it sleeps in one place at a time. The
//! links are protected by the lock around the list they are in; the little lock in each link only lets the compiler see
//! that, and is never contended.
use super::task::{Inner, Task};
use crate::sync::Arc;
use crate::sync::atomic::{AtomicBool, Ordering};

/// Kinds of links.
pub(super) const LINKS: usize = 3;
/// The link for wait queues.
pub(crate) const WAIT: usize = 0;
/// The link for the run queue and the list of the dead.
#[cfg_attr(not(target_os = "none"), allow(dead_code))]
pub(super) const RUN: usize = 1;
/// The link for time-outs.
#[cfg_attr(not(target_os = "none"), allow(dead_code))]
pub(super) const TIMER: usize = 2;

pub(super) struct Link {
    next: hal::sync::SpinLock<Option<Arc<Inner>>>,
    linked: AtomicBool,
}

impl Link {
    pub(super) fn new() -> Link {
        Link { next: hal::sync::SpinLock::new(None), linked: AtomicBool::new(false) }
    }
}

/// A list of tasks through their links of kind `KIND`. Stands inside a lock.
pub(crate) struct TaskList<const KIND: usize> {
    head: Option<Arc<Inner>>,
    tail: Option<Arc<Inner>>,
}

impl<const KIND: usize> TaskList<KIND> {
    pub(crate) const fn new() -> Self {
        TaskList { head: None, tail: None }
    }

    #[cfg_attr(not(target_os = "none"), allow(dead_code))]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Whether `task` stands in a list of this kind. May be asked without the list's lock by the task itself: it sees
    /// `false` at the latest when it sees the wake-up that followed.
    pub(crate) fn is_linked(task: &Inner) -> bool {
        task.links[KIND].linked.load(Ordering::Acquire)
    }

    /// Appends `task`, which must stand in no list of this kind.
    pub(crate) fn push_back(&mut self, task: Arc<Inner>) {
        task.links[KIND].linked.store(true, Ordering::Relaxed);
        match self.tail.replace(task.clone()) {
            Some(tail) => *tail.links[KIND].next.lock() = Some(task),
            None => self.head = Some(task),
        }
    }

    /// Takes the first task.
    pub(crate) fn pop_front(&mut self) -> Option<Task> {
        let task = self.head.take()?;
        self.head = task.links[KIND].next.lock().take();
        if self.head.is_none() {
            self.tail = None;
        }
        task.links[KIND].linked.store(false, Ordering::Release);
        Some(Task(task))
    }

    /// Takes the first task that `fits`. O(n) over those before it.
    #[cfg_attr(not(target_os = "none"), allow(dead_code))]
    pub(crate) fn pop_first(&mut self, fits: impl Fn(&Inner) -> bool) -> Option<Task> {
        if self.head.as_deref().is_some_and(&fits) {
            return self.pop_front();
        }
        let mut at = self.head.clone();
        while let Some(node) = at {
            if fits(&node) {
                self.remove(&node);
                return Some(Task(node));
            }
            at = node.links[KIND].next.lock().clone();
        }
        None
    }

    /// Takes the last task that `fits`. O(n).
    #[cfg_attr(not(target_os = "none"), allow(dead_code))]
    pub(crate) fn pop_last(&mut self, fits: impl Fn(&Inner) -> bool) -> Option<Task> {
        let mut found = None;
        self.find(|task| {
            if fits(task) {
                found = Some(task.clone());
            }
            false
        });
        found.inspect(|task| _ = self.remove(task)).map(Task)
    }

    /// The first task for which `is_it`. O(n) over those before it.
    #[cfg_attr(not(target_os = "none"), allow(dead_code))]
    pub(crate) fn find(&self, mut is_it: impl FnMut(&Arc<Inner>) -> bool) -> Option<Arc<Inner>> {
        let mut at = self.head.clone();
        while let Some(node) = at {
            if is_it(&node) {
                return Some(node);
            }
            at = node.links[KIND].next.lock().clone();
        }
        None
    }

    /// Takes `task` out; says whether it was in this list. O(n): only for a waiter that leaves by itself.
    pub(crate) fn remove(&mut self, task: &Arc<Inner>) -> bool {
        let mut before: Option<Arc<Inner>> = None;
        let mut at = self.head.clone();
        while let Some(node) = at {
            let next = node.links[KIND].next.lock().clone();
            if !Arc::ptr_eq(&node, task) {
                before = Some(node);
                at = next;
                continue;
            }
            *node.links[KIND].next.lock() = None;
            node.links[KIND].linked.store(false, Ordering::Release);
            if next.is_none() {
                self.tail = before.clone();
            }
            match before {
                Some(before) => *before.links[KIND].next.lock() = next,
                None => self.head = next,
            }
            return true;
        }
        false
    }

    /// Inserts `task` before the first one for which `goes_after` is true. O(n).
    #[cfg_attr(not(target_os = "none"), allow(dead_code))]
    pub(crate) fn insert_before(&mut self, task: Arc<Inner>, goes_after: impl Fn(&Inner) -> bool) {
        let mut before: Option<Arc<Inner>> = None;
        let mut at = self.head.clone();
        while let Some(node) = at {
            if goes_after(&node) {
                task.links[KIND].linked.store(true, Ordering::Relaxed);
                *task.links[KIND].next.lock() = Some(node);
                match before {
                    Some(before) => *before.links[KIND].next.lock() = Some(task),
                    None => self.head = Some(task),
                }
                return;
            }
            at = node.links[KIND].next.lock().clone();
            before = Some(node);
        }
        self.push_back(task);
    }

    /// The first task.
    #[cfg_attr(not(target_os = "none"), allow(dead_code))]
    pub(crate) fn front(&self) -> Option<&Inner> {
        self.head.as_deref()
    }
}

#[cfg(all(test, not(loom), not(shuttle)))]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn tasks(n: usize) -> Vec<Arc<Inner>> {
        (0..n).map(|_| Inner::new("t", Arc::new(()))).collect()
    }
    fn drain(list: &mut TaskList<RUN>) -> Vec<u64> {
        core::iter::from_fn(|| list.pop_front()).map(|t| t.id()).collect()
    }

    #[test]
    fn fifo_and_removal_at_every_place() {
        for out in 0..3 {
            let t = tasks(3);
            let mut list = TaskList::<RUN>::new();
            t.iter().for_each(|t| list.push_back(t.clone()));
            assert!(list.remove(&t[out]) && !list.remove(&t[out]));
            assert!(!TaskList::<RUN>::is_linked(&t[out]));
            list.push_back(t[out].clone());
            let mut want: Vec<u64> = t.iter().map(|t| t.id()).collect();
            let last = want.remove(out);
            want.push(last);
            assert_eq!(drain(&mut list), want);
            assert!(list.is_empty() && list.tail.is_none());
        }
    }

    #[test]
    fn the_first_that_fits_is_taken() {
        let t = tasks(3);
        let mut list = TaskList::<RUN>::new();
        t.iter().for_each(|t| list.push_back(t.clone()));
        assert_eq!(list.pop_first(|other| other.id() > t[0].id()).unwrap().id(), t[1].id());
        assert!(list.pop_first(|other| other.id() > t[2].id()).is_none());
        assert_eq!(drain(&mut list), [t[0].id(), t[2].id()]);
        assert!(list.pop_first(|_| true).is_none());
    }

    #[test]
    fn the_last_that_fits_is_taken() {
        let t = tasks(3);
        let mut list = TaskList::<RUN>::new();
        t.iter().for_each(|t| list.push_back(t.clone()));
        assert_eq!(list.pop_last(|other| other.id() < t[2].id()).unwrap().id(), t[1].id());
        assert_eq!(list.find(|other| other.id() > t[0].id()).unwrap().id(), t[2].id());
        assert!(list.pop_last(|_| false).is_none() && list.find(|_| false).is_none());
        assert_eq!(drain(&mut list), [t[0].id(), t[2].id()]);
    }

    #[test]
    fn ordered_insertion() {
        let t = tasks(4);
        let mut list = TaskList::<RUN>::new();
        for i in [2, 0, 3, 1] {
            let id = t[i].id();
            list.insert_before(t[i].clone(), |other| other.id() > id);
        }
        assert_eq!(list.front().unwrap().id(), t[0].id());
        assert_eq!(drain(&mut list), t.iter().map(|t| t.id()).collect::<Vec<_>>());
    }

    #[test]
    fn a_list_leaves_no_reference_behind() {
        let t = tasks(2);
        let mut list = TaskList::<RUN>::new();
        t.iter().for_each(|t| list.push_back(t.clone()));
        drain(&mut list);
        assert!(t.iter().all(|t| Arc::strong_count(t) == 1));
    }
}
