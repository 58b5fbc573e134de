//! Every system call with arguments that no program means, from a child that may die of it.
use crate::{Outcome, call, fork, shared, told};
use linux_raw_sys::general as abi;
use std::time::{Duration, Instant};
use user::sys::{self, Memory, PAGE, raw};

/// Numbers that are tried; those behind are not there.
const NUMBERS: u64 = 512;
/// How long a child may stand at one call before it is killed: calls wait, and a mask that a call has set can keep the timer from ending that.
const PATIENCE: Duration = Duration::from_millis(1000);
/// How often a call that waits is interrupted, in microseconds.
const TICK_US: u64 = 10_000;

/// Where a child is, for its parent: number and round, and how many calls have come back.
struct Place(Memory);

impl Place {
    fn at(&self) -> (u64, u64) {
        (self.0.word(0), self.0.word(8))
    }
    fn set(&self, number: u64, round: u64) {
        self.0.set_words(0, &[number, round]);
    }
    fn returned(&self) {
        self.0.set_words(16, &[self.0.word(16) + 1]);
    }
}

pub fn all() -> Outcome {
    // What is meant for the first process of all.
    for signal in [abi::SIGHUP, abi::SIGALRM, abi::SIGCHLD] {
        sys::ignore_signal(signal, true).map_err(told("rt_sigaction"))?;
    }
    sys::ignore_signal(abi::SIGCHLD, false).map_err(told("rt_sigaction"))?;
    let place = Place(shared()?);
    let (mut children, mut killed) = (0, 0);
    place.set(0, 0);
    while place.at().0 < NUMBERS {
        let pid = fork(|| play(&place))?;
        children += 1;
        killed += u64::from(watch(pid, &place)?);
        // It has died at this call, or is done.
        let (number, round) = place.at();
        place.set(number, round + 1);
    }
    println!("badtest: {} calls came back, {children} children, {killed} killed", place.0.word(16));
    Ok(())
}

/// Waits until the child has ended; kills it when it does not get on. Says whether it did.
fn watch(pid: u64, place: &Place) -> Result<bool, String> {
    let (mut at, mut since, mut killed) = (place.at(), Instant::now(), false);
    loop {
        let ended = call(abi::__NR_wait4, [pid, 0, abi::WNOHANG.into()]).map_err(told("wait4"))?;
        if ended == pid {
            // Children of the child, which died before it could see to them.
            while call(abi::__NR_wait4, [u64::MAX, 0, abi::WNOHANG.into()]).is_ok_and(|pid| pid > 0) {}
            return Ok(killed);
        }
        if place.at() != at {
            (at, since) = (place.at(), Instant::now());
        } else if since.elapsed() > PATIENCE {
            killed = true;
            sys::kill(pid as i32, abi::SIGKILL).map_err(told("kill"))?;
            since = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// All calls from `place` on.
fn play(place: &Place) -> u8 {
    let _ = call(abi::__NR_setpgid, []);
    sys::count_signal(abi::SIGALRM as i32);
    let (timer, page) = (Memory::new(PAGE), Memory::new(PAGE));
    timer.set_words(0, &[0, TICK_US, 0, TICK_US]);
    let own = std::process::id();
    let rounds = rounds(page);
    let (first, first_round) = place.at();
    for number in first..NUMBERS {
        let from = if number == first { first_round } else { 0 };
        for (round, arguments) in rounds.iter().enumerate().skip(from as usize) {
            place.set(number, round as u64);
            let _ = call(abi::__NR_setitimer, [abi::ITIMER_REAL.into(), timer.addr(0)]);
            let result = raw(number as u32, *arguments);
            if result == Ok(0) && std::process::id() != own {
                // A child of its own, in which the call has come back as well.
                return 0;
            }
            place.returned();
        }
    }
    place.set(NUMBERS, 0);
    0
}

/// The arguments of each call: one wild among zeros, or nothing but wild ones.
fn rounds(page: Memory) -> Vec<[u64; 6]> {
    let wild = [
        1,
        0xfff,
        page.addr(0),
        page.end() - 1,
        page.end(),
        u32::MAX.into(),
        0x7fff_ffff_f000,
        0x8000_0000_0000,
        0xffff_8000_0000_0000,
        u64::MAX - 7,
        u64::MAX,
    ];
    let alone = |value: u64| (0..6).map(move |at| std::array::from_fn(|i| if i == at { value } else { 0 }));
    wild.into_iter().flat_map(|value| alone(value).chain([[value; 6]])).collect()
}
