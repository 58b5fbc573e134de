//! The error type: a Linux `errno` value.

/// A positive Linux error number, `1..=4095`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(u16);

/// The result of every fallible call.
pub type Result<T> = core::result::Result<T, Errno>;

macro_rules! errnos {
    ($($name:ident)*) => {
        impl Errno {
            $(#[doc = concat!("`", stringify!($name), "`")]
            pub const $name: Errno = Errno(linux_raw_sys::errno::$name as u16);)*

            /// The symbolic name, `"E?"` for a number without one here.
            pub fn name(self) -> &'static str {
                match self {
                    $(Errno::$name => stringify!($name),)*
                    _ => "E?",
                }
            }
        }
    };
}
errnos! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST EXDEV
    ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK
    ENAMETOOLONG ENOSYS ENOTEMPTY ELOOP ENODATA EOVERFLOW EOPNOTSUPP ETIMEDOUT EINPROGRESS ECANCELED EDQUOT EUCLEAN EBADR
    ENOLCK EAFNOSUPPORT EIDRM
}

impl Errno {
    /// The value a system call returns for this error: `-errno`.
    pub fn to_ret(self) -> i64 {
        -i64::from(self.0)
    }
    /// The positive number.
    pub fn number(self) -> u16 {
        self.0
    }
    /// From a positive number; `None` if it is not one.
    pub fn from_number(n: u16) -> Option<Errno> {
        (1..=4095).contains(&n).then_some(Errno(n))
    }
}

impl core::fmt::Debug for Errno {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}
impl core::fmt::Display for Errno {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}
