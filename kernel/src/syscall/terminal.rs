//! The ioctls of terminals.
use super::{SyscallContext, UserAddr};
use crate::files::{TERMIOS_SHORT, Termios, Tty, WindowSize};
use crate::process::{Claim, Signal};
use base::sync::Arc;
use base::{Errno, Result};
use linux_raw_sys::{general as abi, ioctl as io};
use zerocopy::IntoBytes;

/// What a program can ask of a terminal. Who is in the background and changes something is stopped first. Errors: `ENOTTY` (an unknown
/// command, or not the terminal of the caller's session), `EINVAL`, `EPERM`, `ESRCH`, `EFAULT`; `EINTR`, `EIO` (in the background).
pub fn ioctl(context: &SyscallContext<'_>, tty: &Arc<Tty>, command: u32, arg: u64) -> Result<u64> {
    let (process, mm) = (context.process(), context.mm());
    let (pid, family) = (process.pid, &process.system.family);
    let done = match command {
        io::TCGETS => mm.write_bytes(arg, &tty.settings().as_bytes()[..TERMIOS_SHORT]),
        io::TCGETS2 => mm.write(arg, &tty.settings()),
        io::TCSETS | io::TCSETSW | io::TCSETS2 | io::TCSETSW2 | io::TCSETSF | io::TCSETSF2 => {
            set(context, tty, command, arg)
        }
        io::TIOCGWINSZ => mm.write(arg, &tty.window()),
        io::TIOCSWINSZ => mm.read::<WindowSize>(arg).map(|window| tty.set_window(window)),
        io::TIOCGPGRP => mm.write(arg, &family.job_control(pid, tty)?.1),
        io::TIOCSPGRP => {
            family.job_control(pid, tty)?;
            tty.check(Signal::SIGTTOU).map_err(|error| if error == Errno::EIO { Errno::ENOTTY } else { error })?;
            let group = u32::try_from(mm.read::<i32>(arg)?).map_err(|_| Errno::EINVAL)?;
            family.set_foreground(pid, tty, group)
        }
        io::TIOCGSID => mm.write(arg, &family.job_control(pid, tty)?.0),
        io::TIOCSCTTY => {
            let steal = arg == 1 && process.credentials.lock().euid == 0;
            family.acquire_terminal(pid, tty, if steal { Claim::Stolen } else { Claim::Asked })
        }
        io::TIOCNOTTY => family.release_terminal(pid, tty),
        io::FIONREAD => mm.write(arg, &(tty.readable_bytes() as u32)),
        // A write returns when everything is shown.
        io::TIOCOUTQ => mm.write(arg, &0u32),
        io::TCSBRK | io::TCSBRKP => tty.check(Signal::SIGTTOU),
        io::TCFLSH => tty.check(Signal::SIGTTOU).and_then(|()| flush(tty, arg)),
        io::TCXONC => tty.check(Signal::SIGTTOU).and_then(|()| flow(arg)),
        _ => Err(Errno::ENOTTY),
    };
    done.map(|()| 0)
}

/// Settings in the long or the short form, which leaves the speeds as they are; after a flush or not.
fn set(context: &SyscallContext<'_>, tty: &Arc<Tty>, command: u32, arg: UserAddr) -> Result<()> {
    tty.check(Signal::SIGTTOU)?;
    let long = matches!(command, io::TCSETS2 | io::TCSETSW2 | io::TCSETSF2);
    let mut settings: Termios = tty.settings();
    let len = if long { size_of::<Termios>() } else { TERMIOS_SHORT };
    context.mm().read_bytes(arg, settings.as_mut_bytes().get_mut(..len).unwrap_or_default())?;
    tty.set(settings, matches!(command, io::TCSETSF | io::TCSETSF2));
    Ok(())
}

/// Output is shown at once: there is only input to forget.
fn flush(tty: &Tty, which: u64) -> Result<()> {
    match u32::try_from(which) {
        Ok(abi::TCIFLUSH | abi::TCIOFLUSH) => tty.flush_input(),
        Ok(abi::TCOFLUSH) => {}
        _ => return Err(Errno::EINVAL),
    }
    Ok(())
}

/// Nothing can be stopped here, so there is nothing to start again either.
fn flow(action: u64) -> Result<()> {
    if matches!(u32::try_from(action), Ok(abi::TCOON | abi::TCION)) { Ok(()) } else { Err(Errno::EINVAL) }
}
