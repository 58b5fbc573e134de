//! What stands behind the device nodes of terminals.
use super::{Terminal, Tty};
use crate::process::{Claim, Thread};
use base::sync::Arc;
use base::{Errno, Result};
use fs::vfs::{FileOps, OpenFlags};

/// A way to a terminal.
pub enum Node {
    /// `/dev/console`: the terminal of the kernel, which nobody's session gets by opening it.
    Console(Arc<Tty>),
    /// A node of its own, such as `/dev/ttyS0`. The leader of a session that has none gets it by opening it, without `O_NOCTTY`.
    Line(Arc<Tty>),
    /// `/dev/tty`: the terminal of the caller's session.
    Own,
}

impl FileOps for Node {
    /// Errors: `ENXIO`: the session has no terminal.
    fn open_device(&self, flags: OpenFlags) -> Result<Option<Arc<dyn FileOps>>> {
        let caller = Thread::current().map(|thread| thread.process.clone());
        let tty = match (self, caller) {
            (Node::Console(tty), _) | (Node::Line(tty), None) => tty.clone(),
            (Node::Line(tty), Some(process)) => {
                if !flags.contains(OpenFlags::NOCTTY) {
                    // Who leads no session, or has a terminal, opens it all the same.
                    let _refused = process.system.family.acquire_terminal(process.pid, tty, Claim::Opened);
                }
                tty.clone()
            }
            (Node::Own, caller) => {
                let process = caller.ok_or(Errno::ENXIO)?;
                process.system.family.terminal(process.pid).map_err(|_| Errno::ENXIO)?.0
            }
        };
        Ok(Some(Arc::new(Terminal(tty))))
    }
}
