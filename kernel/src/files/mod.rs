//! Descriptors, and files that are not in a file system.
//!
//! | file | contents |
//! |---|---|
//! | `fd_table` | from a number to an open file |
//! | `kernel_io` | memory of the kernel as room for a read |
//! | `eventfd` | a counter to wait on |
//! | `pipe` | bytes from one descriptor to another |
//! | `fifo` | a pipe that has a name |
//! | `poll` | what files have to tell |
//! | `timerfd` | a timer to wait on |
//! | `tty` | terminals |
mod eventfd;
mod fd_table;
mod fifo;
mod kernel_io;
mod pipe;
pub mod poll;
mod timerfd;
mod tty;

pub use eventfd::EventFd;
pub use fd_table::FdTable;
pub use fifo::Fifos;
pub use kernel_io::{read_at, read_page_at};
pub use pipe::Pipe;
pub use timerfd::TimerFd;
pub use tty::{Console, Node, TERMIOS_SHORT, Termios, Tty, WindowSize};

use alloc::format;
use alloc::string::String;
use base::{Errno, Result};
use fs::io::{IoSink, IoSource};
use fs::vfs::File;

/// What stands in the place of a path for a file that has none.
pub fn kind_name(file: &File, number: u32) -> String {
    let is = |find: fn(&dyn core::any::Any) -> bool| file.ops().as_any().is_some_and(find);
    if is(|ops| ops.is::<Pipe>()) {
        format!("pipe:[{number}]")
    } else if is(|ops| ops.is::<EventFd>()) {
        "anon_inode:[eventfd]".into()
    } else if is(|ops| ops.is::<TimerFd>()) {
        "anon_inode:[timerfd]".into()
    } else {
        "anon_inode:[unknown]".into()
    }
}

/// Takes exactly `dst.len()` bytes, faulting them in. Nothing is locked. Errors: `EFAULT`.
fn copy_in(src: &mut dyn IoSource, dst: &mut [u8]) -> Result<()> {
    let mut done = 0;
    while let Some(rest) = dst.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let left = rest.len();
        match src.copy_to_slice(rest) {
            0 if src.fault_in(left) == 0 => return Err(Errno::EFAULT),
            n => done += n,
        }
    }
    Ok(())
}

/// Gives all of `src`, faulting room in; returns how many bytes. Nothing is locked. Errors: `EFAULT`.
fn copy_out(dst: &mut dyn IoSink, src: &[u8]) -> Result<usize> {
    let mut done = 0;
    while let Some(rest) = src.get(done..).filter(|rest| !rest.is_empty()) {
        match dst.copy_from_slice(rest) {
            0 if dst.fault_in(rest.len()) == 0 => return Err(Errno::EFAULT),
            n => done += n,
        }
    }
    Ok(src.len())
}
