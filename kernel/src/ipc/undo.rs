//! What the end of a thread takes back of its operations on semaphores.
//!
//! Threads that were made with `CLONE_SYSVSEM`, which is all of a process, share one list, and the last of them takes back. What is in
//! the list is kept by the sets.
use super::Semaphores;
use base::sync::{Arc, SpinLock};

/// A list. It is a name: under it the sets keep what is to be taken back.
pub struct UndoList {
    /// Its number.
    pub number: u64,
}

/// The list of a thread, once it has one.
pub struct SemUndo(SpinLock<Option<Arc<UndoList>>>);

impl Default for SemUndo {
    fn default() -> Self {
        SemUndo(SpinLock::new(None))
    }
}

impl SemUndo {
    /// The list; a new one if there is none yet.
    pub fn list(&self, all: &Semaphores) -> Arc<UndoList> {
        let mut list = self.0.lock();
        list.get_or_insert_with(|| Arc::new(UndoList { number: all.new_list() })).clone()
    }
    /// A new thread's, which shares this one's.
    pub fn share(&self, child: &SemUndo, all: &Semaphores) {
        *child.0.lock() = Some(self.list(all));
    }
    /// Hands the list on to who goes on in this thread's place.
    pub fn hand_on(&self, to: &SemUndo) {
        *to.0.lock() = self.0.lock().take();
    }
    /// The thread of process `pid` ends. If it is the last that has the list, everything in it is taken back. Task context.
    pub fn leave(&self, all: &Semaphores, pid: u32) {
        let list = self.0.lock().take();
        if let Some(UndoList { number }) = list.and_then(Arc::into_inner) {
            all.all().iter().for_each(|set| set.take_back(number, pid));
        }
    }
}
