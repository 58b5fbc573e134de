//! One read or write request: its position, its flags sampled once, and how it ends.
use crate::caller::Caller;
use crate::vfs::File;
use base::Result;
use base::sync::Arc;

bitflags::bitflags! {
    /// The flags of a request, sampled once at its start from the open flags and the per-call flags (FLAG-4).
    /// The low bits are the `RWF_*` values of the Linux ABI (FLAG-1).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct IoFlags: u32 {
        /// `RWF_HIPRI`: accepted, no effect (HIP-1).
        const HIPRI = 0x1;
        /// Data integrity: `RWF_DSYNC` or O_DSYNC.
        const DSYNC = 0x2;
        /// File integrity: `RWF_SYNC` or O_SYNC. Implies the duties of `DSYNC`.
        const SYNC = 0x4;
        /// `RWF_NOWAIT`
        const NOWAIT = 0x8;
        /// `RWF_APPEND` or O_APPEND (without `RWF_NOAPPEND`).
        const APPEND = 0x10;
        /// `RWF_NOAPPEND`
        const NOAPPEND = 0x20;
        /// `RWF_ATOMIC`
        const ATOMIC = 0x40;
        /// `RWF_DONTCACHE`; only with write-through (DNC-1).
        const DONTCACHE = 0x80;
        /// `RWF_NOSIGNAL`
        const NOSIGNAL = 0x100;
        /// `RWF_WRITETHROUGH`
        const WRITETHROUGH = 0x200;
        /// O_DIRECT was set on the open file when the request started.
        const DIRECT = 0x1_0000;
    }
}

/// The asynchronous end of a request. Called exactly once, on a worker task, after everything the outcome promises is true.
pub trait KiocbComplete: Send + Sync {
    /// Posts the outcome (AIO-6). Task context; must not sleep for long.
    fn complete(&self, result: Result<usize>);
}

/// The duty to complete an asynchronous request once. Moving it is the only way to pass the duty on.
#[must_use = "an asynchronous request must be completed"]
pub struct Completion(Option<Arc<dyn KiocbComplete>>);

impl Completion {
    /// A duty towards `target`.
    pub fn new(target: Arc<dyn KiocbComplete>) -> Self {
        Completion(Some(target))
    }
    /// Ends the request.
    pub fn complete(mut self, result: Result<usize>) {
        if let Some(target) = self.0.take() {
            target.complete(result);
        }
    }
    /// Drops the duty: the request ends by its return value instead (CMP-7).
    pub fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        debug_assert!(self.0.is_none(), "an asynchronous request was dropped without its completion (WT-5)");
        if let Some(target) = self.0.take() {
            target.complete(Err(base::Errno::EIO));
        }
    }
}

/// How a read or write call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Done: this many bytes.
    Done(usize),
    /// In flight: the request's [`Completion`] was taken and will be called.
    Queued,
}

/// One read or write request.
pub struct Kiocb<'a> {
    /// The open file; an asynchronous path clones it (CTX-8).
    pub file: &'a Arc<File>,
    /// Position of the first byte. For an append the path stores the position it chose (APP-1).
    pub pos: u64,
    /// Flags, sampled once.
    pub flags: IoFlags,
    /// The calling task.
    pub caller: &'a dyn Caller,
    completion: Option<Completion>,
}

impl<'a> Kiocb<'a> {
    /// A synchronous request.
    pub fn sync(file: &'a Arc<File>, pos: u64, flags: IoFlags, caller: &'a dyn Caller) -> Self {
        Kiocb { file, pos, flags, caller, completion: None }
    }
    /// A request that may be left in flight; if the call returns [`Outcome::Queued`], `completion` was taken.
    pub fn aio(file: &'a Arc<File>, pos: u64, flags: IoFlags, caller: &'a dyn Caller, completion: Completion) -> Self {
        Kiocb { file, pos, flags, caller, completion: Some(completion) }
    }
    /// Whether the request is synchronous.
    pub fn is_sync(&self) -> bool {
        self.completion.is_none()
    }
    /// Takes the duty to complete; the path that takes it returns [`Outcome::Queued`].
    pub fn take_completion(&mut self) -> Option<Completion> {
        self.completion.take()
    }
    /// Ends the submitter's view of an asynchronous request that returned without being queued: its duty, if still here, is
    /// dropped and the caller posts the result itself.
    pub fn into_result(mut self, result: Result<Outcome>) -> Result<Outcome> {
        if let Some(completion) = self.completion.take() {
            completion.disarm();
        }
        result
    }
}
