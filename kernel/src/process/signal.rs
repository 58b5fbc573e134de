//! Signal numbers, sets of them, and what a process does about each.
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A signal number, `1..=64`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signal(u8);

macro_rules! signals {
    ($($name:ident = $number:literal)*) => {
        impl Signal {
            $(#[doc = concat!("`", stringify!($name), "`")]
            pub const $name: Signal = Signal($number);)*
            /// The name, `"SIG?"` for a real-time signal.
            pub fn name(self) -> &'static str {
                match self.0 {
                    $($number => stringify!($name),)*
                    _ => "SIG?",
                }
            }
        }
    };
}
signals! {
    SIGHUP = 1 SIGINT = 2 SIGQUIT = 3 SIGILL = 4 SIGTRAP = 5 SIGABRT = 6 SIGBUS = 7 SIGFPE = 8 SIGKILL = 9 SIGUSR1 = 10
    SIGSEGV = 11 SIGUSR2 = 12 SIGPIPE = 13 SIGALRM = 14 SIGTERM = 15 SIGSTKFLT = 16 SIGCHLD = 17 SIGCONT = 18 SIGSTOP = 19
    SIGTSTP = 20 SIGTTIN = 21 SIGTTOU = 22 SIGURG = 23 SIGXCPU = 24 SIGXFSZ = 25 SIGVTALRM = 26 SIGPROF = 27 SIGWINCH = 28
    SIGIO = 29 SIGPWR = 30 SIGSYS = 31
}

impl Signal {
    /// From a number; `None` if it is not one.
    pub fn from_number(number: u32) -> Option<Signal> {
        u8::try_from(number).ok().filter(|n| (1..=64).contains(n)).map(Signal)
    }
    /// The number.
    pub fn number(self) -> u32 {
        u32::from(self.0)
    }
    /// Whether the default action is to do nothing. That SIGCONT continues a process is no part of its action: it does so whatever that is.
    pub fn ignored_by_default(self) -> bool {
        matches!(self, Signal::SIGCHLD | Signal::SIGCONT | Signal::SIGURG | Signal::SIGWINCH)
    }
    /// Whether the default action is to stop the process.
    pub fn stops_by_default(self) -> bool {
        SigSet::STOPS.contains(self)
    }
    /// Whether it tells of a fault of the program itself, and not of somebody's wish.
    pub fn is_fault(self) -> bool {
        matches!(
            self,
            Signal::SIGILL
                | Signal::SIGTRAP
                | Signal::SIGABRT
                | Signal::SIGBUS
                | Signal::SIGFPE
                | Signal::SIGSEGV
                | Signal::SIGSYS
        )
    }
    /// Whether it waits as often as it is sent.
    pub fn is_real_time(self) -> bool {
        self.0 >= 32
    }
    const fn bit(self) -> u64 {
        1 << (self.0 - 1)
    }
}

impl core::fmt::Debug for Signal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}

/// A set of signals: `sigset_t` of the ABI.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(transparent)]
pub struct SigSet(pub u64);

impl SigSet {
    /// The signals that stop a process.
    pub const STOPS: SigSet =
        SigSet(Signal::SIGSTOP.bit() | Signal::SIGTSTP.bit() | Signal::SIGTTIN.bit() | Signal::SIGTTOU.bit());

    /// Just `signal`.
    pub fn of(signal: Signal) -> SigSet {
        SigSet(signal.bit())
    }
    /// Whether `signal` is in the set.
    pub fn contains(self, signal: Signal) -> bool {
        self.0 & signal.bit() != 0
    }
    /// The set with `other`.
    pub fn union(self, other: SigSet) -> SigSet {
        SigSet(self.0 | other.0)
    }
    /// The set without `other`.
    pub fn without(self, other: SigSet) -> SigSet {
        SigSet(self.0 & !other.0)
    }
    /// The set as a mask: SIGKILL and SIGSTOP cannot be blocked.
    pub fn blockable(self) -> SigSet {
        self.without(SigSet(Signal::SIGKILL.bit() | Signal::SIGSTOP.bit()))
    }
    /// The lowest signal of the set.
    pub fn first(self) -> Option<Signal> {
        Signal::from_number(self.0.trailing_zeros() + 1)
    }
}

/// What to do about a signal: `struct kernel_sigaction` of the ABI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Action {
    /// `SIG_DFL` (0), `SIG_IGN` (1) or the address of the handler.
    pub handler: u64,
    /// `SA_*`
    pub flags: u64,
    /// Where the handler returns to.
    pub restorer: u64,
    /// Blocked while the handler runs.
    pub mask: SigSet,
}

/// What a signal does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Nothing.
    Ignore,
    /// Ends the process.
    Terminate,
    /// Stops the process.
    Stop,
    /// Runs a handler.
    Handle(Action),
}

/// The actions of a process.
#[derive(Clone)]
pub struct SignalActions([Action; 64]);

impl Default for SignalActions {
    fn default() -> Self {
        SignalActions([Action::default(); 64])
    }
}

impl SignalActions {
    /// The action of `signal`.
    pub fn get(&self, signal: Signal) -> Action {
        self.0.get(usize::from(signal.0 - 1)).copied().unwrap_or_default()
    }
    /// Sets the action of `signal`.
    pub fn set(&mut self, signal: Signal, action: Action) {
        if let Some(place) = self.0.get_mut(usize::from(signal.0 - 1)) {
            *place = action;
        }
    }
    /// Handlers are gone with the program that had them; what is ignored stays ignored.
    pub fn reset_handlers(&mut self) {
        self.0.iter_mut().filter(|action| action.handler > 1).for_each(|action| *action = Action::default());
    }
    /// What `signal` does.
    pub fn disposition(&self, signal: Signal) -> Disposition {
        let action = self.get(signal);
        match action.handler {
            _ if signal == Signal::SIGKILL => Disposition::Terminate,
            _ if signal == Signal::SIGSTOP => Disposition::Stop,
            0 if signal.stops_by_default() => Disposition::Stop,
            0 if signal.ignored_by_default() => Disposition::Ignore,
            0 => Disposition::Terminate,
            1 => Disposition::Ignore,
            _ => Disposition::Handle(action),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kill_can_be_neither_blocked_nor_handled() {
        let all = SigSet(u64::MAX).blockable();
        assert!(!all.contains(Signal::SIGKILL) && !all.contains(Signal::SIGSTOP) && all.contains(Signal::SIGTERM));
        let mut actions = SignalActions::default();
        actions.set(Signal::SIGKILL, Action { handler: 1, ..Action::default() });
        assert_eq!(actions.disposition(Signal::SIGKILL), Disposition::Terminate);
        actions.set(Signal::SIGSTOP, Action { handler: 1, ..Action::default() });
        assert_eq!(actions.disposition(Signal::SIGSTOP), Disposition::Stop);
        actions.set(Signal::SIGTSTP, Action { handler: 1, ..Action::default() });
        assert_eq!(actions.disposition(Signal::SIGTSTP), Disposition::Ignore);
    }

    #[test]
    fn the_lowest_signal_comes_first() {
        let set = SigSet::of(Signal::SIGTERM).union(SigSet::of(Signal::SIGABRT));
        assert_eq!(set.first(), Some(Signal::SIGABRT));
        assert_eq!(SigSet::default().first(), None);
        assert_eq!(Signal::from_number(65), None);
        assert_eq!(Signal::from_number(0), None);
    }
}
