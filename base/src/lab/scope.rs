//! Which tasks an experiment is about.
//!
//! Tests run side by side in one process and use the same inode numbers. So each anchor, switch and planned failure belongs
//! to the *scope* of the task that set it up: that task and all it has started, directly or not, since it became a task. In
//! the booted kernel everything is in one scope.
use crate::sched;

/// The scope of the current task.
pub fn scope() -> u64 {
    sched::with_inner(|t| t.scope).unwrap_or(0)
}

/// The scope of a new task with the id `id`: its starter's, or its own if it was not started here.
pub(crate) fn scope_for_new_task(id: u64) -> u64 {
    #[cfg(target_os = "none")]
    {
        let _ = id;
        0
    }
    #[cfg(not(target_os = "none"))]
    hal::thread::with_data(|d| d.and_then(|d| d.downcast_ref::<sched::Inner>()).map(|t| t.scope)).unwrap_or(id)
}
