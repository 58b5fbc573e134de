//! What a file system asks about the task on whose behalf it works.

/// The calling task: credentials and limits. The kernel implements it for a thread, a test for a struct.
pub trait Caller: Send + Sync {
    /// File-system user id.
    fn uid(&self) -> u32;
    /// File-system group id.
    fn gid(&self) -> u32;
    /// Whether `gid` is the caller's group or one of its supplementary groups.
    fn in_group(&self, gid: u32) -> bool;
    /// Mode bits that a newly created file does not get.
    fn umask(&self) -> u16;
    /// `RLIMIT_FSIZE` in bytes; `u64::MAX` where there is no limit (CHK-3).
    fn file_size_limit(&self) -> u64;
    /// Tells that `RLIMIT_FSIZE` was hit: the submitting task gets SIGXFSZ (CHK-3).
    fn file_size_exceeded(&self);
    /// Whether a fatal signal is pending: long loops stop between folios (SUB-6).
    fn fatal_signal_pending(&self) -> bool;
}

/// The kernel itself: root, no limits, no signals.
pub struct KernelCaller;

impl Caller for KernelCaller {
    fn uid(&self) -> u32 {
        0
    }
    fn gid(&self) -> u32 {
        0
    }
    fn in_group(&self, _gid: u32) -> bool {
        true
    }
    fn umask(&self) -> u16 {
        0
    }
    fn file_size_limit(&self) -> u64 {
        u64::MAX
    }
    fn file_size_exceeded(&self) {}
    fn fatal_signal_pending(&self) -> bool {
        false
    }
}
