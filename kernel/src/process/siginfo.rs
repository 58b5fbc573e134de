//! What comes with a signal: who sent it, or where a fault was. Pure.
use super::signal::Signal;
use super::{Change, Child, ExitStatus};
use linux_raw_sys::general as abi;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `siginfo_t` of the ABI: signal, error, code, and from the fifth word on what the code says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(transparent)]
pub struct SigInfo([u32; 32]);

/// A clock tick of the ABI: a hundred a second.
pub const TICK_NS: u64 = 10_000_000;
const CODE: usize = 2;
/// The id of the sender, of the child or of the timer; the address of a fault.
const FIRST: usize = 4;

impl SigInfo {
    /// With this code (`SI_*` and its relatives) and nothing else.
    fn of_code(code: i32) -> SigInfo {
        let mut info = [0; 32];
        info[CODE] = code as u32;
        SigInfo(info)
    }
    fn with(mut self, fields: &[u32]) -> SigInfo {
        self.0[FIRST..].iter_mut().zip(fields).for_each(|(place, field)| *place = *field);
        self
    }
    /// Sent by the kernel for no program: `SI_KERNEL`.
    pub fn kernel() -> SigInfo {
        Self::of_code(abi::SI_KERNEL as i32)
    }
    /// Sent by a program of process `pid` and user `uid`: `SI_USER` or `SI_TKILL`.
    pub fn sent(code: i32, pid: u32, uid: u32) -> SigInfo {
        Self::of_code(code).with(&[pid, uid])
    }
    /// What has happened to a child.
    pub fn child(child: &Child) -> SigInfo {
        let (code, status) = match child.change {
            Change::Ended(ExitStatus::Code(code)) => (abi::CLD_EXITED, u32::from(code)),
            Change::Ended(ExitStatus::Killed(signal)) => (abi::CLD_KILLED, signal.number()),
            Change::Stopped(signal) => (abi::CLD_STOPPED, signal.number()),
            Change::Continued => (abi::CLD_CONTINUED, Signal::SIGCONT.number()),
        };
        let [user, system] = [child.times.user_ns, child.times.system_ns].map(|ns| ns / TICK_NS);
        let halves = |ticks: u64| [ticks as u32, (ticks >> 32) as u32];
        let [user, system] = [halves(user), halves(system)];
        let fields = [child.pid, child.uid, status, 0, user[0], user[1], system[0], system[1]];
        Self::of_code(code as i32).with(&fields).of(Signal::SIGCHLD)
    }
    /// Of the timer `id` of the process, with what the program wants to be told.
    pub fn timer(id: u32, value: u64) -> SigInfo {
        Self::of_code(abi::SI_TIMER).with(&[id, 0, value as u32, (value >> 32) as u32])
    }
    /// Of which timer it is.
    pub fn timer_id(&self) -> Option<u32> {
        (self.code() == abi::SI_TIMER).then_some(self.0[FIRST])
    }
    /// The same, after so many expiries that were not told of.
    pub fn after(mut self, overruns: u32) -> SigInfo {
        self.0[FIRST + 1] = overruns;
        self
    }
    /// A fault at the address `addr`.
    pub fn fault(code: u32, addr: u64) -> SigInfo {
        Self::of_code(code as i32).with(&[addr as u32, (addr >> 32) as u32])
    }

    /// The same, for `signal`.
    pub fn of(mut self, signal: Signal) -> SigInfo {
        self.0[0] = signal.number();
        self
    }
    /// The signal.
    pub fn signal(&self) -> Option<Signal> {
        Signal::from_number(self.0[0])
    }
    /// Its code.
    pub fn code(&self) -> i32 {
        self.0[CODE] as i32
    }
    /// The words of the ABI.
    pub fn words(&self) -> &[u32; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::sched::CpuTimes;

    #[test]
    fn fields_stand_where_the_abi_has_them() {
        let info = SigInfo::fault(abi::SEGV_MAPERR, 0x1234_5678_9abc).of(Signal::SIGSEGV);
        assert_eq!(info.words()[..6], [11, 0, 1, 0, 0x5678_9abc, 0x1234]);
        let info = SigInfo::sent(abi::SI_TKILL, 7, 1000).of(Signal::SIGUSR1);
        assert_eq!((&info.words()[..6], info.code()), (&[10, 0, -6_i32 as u32, 0, 7, 1000][..], -6));
    }

    #[test]
    fn what_happened_to_a_child_is_told_as_the_abi_says() {
        let kinds = [
            (Change::Ended(ExitStatus::Code(3)), abi::CLD_EXITED, 3),
            (Change::Ended(ExitStatus::Killed(Signal::SIGKILL)), abi::CLD_KILLED, 9),
            (Change::Stopped(Signal::SIGTSTP), abi::CLD_STOPPED, 20),
            (Change::Continued, abi::CLD_CONTINUED, 18),
        ];
        for (change, code, value) in kinds {
            let times = CpuTimes { user_ns: 3 * TICK_NS, system_ns: 4 * TICK_NS };
            let info = SigInfo::child(&Child { pid: 7, uid: 8, change, times });
            assert_eq!(info.words()[..11], [17, 0, code, 0, 7, 8, value, 0, 3, 0, 4]);
        }
    }
}
