//! Signals: what comes with them, waiting for them, and timers.
use crate::{Check, Outcome, call, expect_exit, fork, same, sys};
use linux_raw_sys::general as abi;
use user::sys::{EAGAIN, EINVAL, EPERM, Errno, Memory, PAGE};

pub const CHECKS: &[Check] = &[
    ("SIGCHLD tells of the child", child),
    ("real-time signals are queued with what they bring", queued),
    ("an interval timer, and a timerfd", timers),
    ("timers that a program makes", made_timers),
];

const REAL_TIME: u32 = 40;

fn bit(signal: u32) -> u64 {
    1 << (signal - 1)
}

/// Does `body` while `signals` are blocked.
fn blocking(signals: u64, body: impl FnOnce() -> Outcome) -> Outcome {
    let sets = Memory::new(PAGE);
    sets.set_words(0, &[signals, 0]);
    let change = |how: u32, set: usize, old: u64| sys(abi::__NR_rt_sigprocmask, [how.into(), sets.addr(set), old, 8]);
    change(abi::SIG_BLOCK, 0, sets.addr(8)).map_err(call("rt_sigprocmask"))?;
    let outcome = body();
    change(abi::SIG_SETMASK, 8, 0).map_err(call("rt_sigprocmask"))?;
    outcome
}

/// Waits for one of `signals`, at most `timeout_ms`; what came with it: signal, code, then the words from the sender on.
fn await_signal(signals: u64, timeout_ms: u64) -> Result<[u32; 6], Errno> {
    let memory = Memory::new(PAGE);
    memory.set_words(0, &[signals, timeout_ms / 1000, timeout_ms % 1000 * 1_000_000]);
    sys(abi::__NR_rt_sigtimedwait, [memory.addr(0), memory.addr(64), memory.addr(8), 8])?;
    let word = |at: usize| memory.word(64 + at) as u32;
    Ok([word(0), word(8), word(16), word(20), word(24), word(28)])
}

fn child() -> Outcome {
    blocking(bit(abi::SIGCHLD), || {
        let pid = fork(|| 7)?;
        let [signal, code, from, _uid, status, _] =
            await_signal(bit(abi::SIGCHLD), 20_000).map_err(call("the wait"))?;
        same("SIGCHLD", [signal, code, from, status], [abi::SIGCHLD, abi::CLD_EXITED, pid as u32, 7])?;
        expect_exit(pid, 7)?;
        same("a second wait", await_signal(bit(abi::SIGCHLD), 0), Err(EAGAIN))
    })
}

fn queued() -> Outcome {
    let (pid, parent) = (u64::from(std::process::id()), std::process::id());
    let send = |value: u64, code: i32| {
        let info = Memory::new(PAGE);
        info.set_words(0, &[0, u64::from(code as u32), u64::from(parent), value]);
        sys(abi::__NR_rt_sigqueueinfo, [pid, REAL_TIME.into(), info.addr(0)])
    };
    blocking(bit(REAL_TIME) | bit(abi::SIGUSR1), || {
        for value in [5, 6] {
            send(value, abi::SI_QUEUE).map_err(call("rt_sigqueueinfo"))?;
        }
        let forged = fork(|| u8::from(send(1, abi::SI_TKILL) != Err(EPERM)))?;
        expect_exit(forged, 0)?;
        sys(abi::__NR_tgkill, [pid, pid, abi::SIGUSR1.into()]).map_err(call("tgkill"))?;
        let both = bit(REAL_TIME) | bit(abi::SIGUSR1);
        let next = || await_signal(both, 0).map_err(call("the wait"));
        let [signal, code, from, ..] = next()?;
        same("tgkill", [signal, code, from], [abi::SIGUSR1, abi::SI_TKILL as u32, parent])?;
        for value in [5, 6] {
            let [signal, code, from, _uid, low, high] = next()?;
            let expected = [REAL_TIME, abi::SI_QUEUE as u32, parent, value, 0];
            same("rt_sigqueueinfo", [signal, code, from, low, high], expected)?;
        }
        same("and no more", await_signal(both, 0), Err(EAGAIN))
    })
}

fn timers() -> Outcome {
    let memory = Memory::new(PAGE);
    blocking(bit(abi::SIGALRM), || {
        memory.set_words(0, &[0, 2000, 0, 2000]);
        sys(abi::__NR_setitimer, [abi::ITIMER_REAL.into(), memory.addr(0)]).map_err(call("setitimer"))?;
        for _ in 0..3 {
            let [signal, code, ..] = await_signal(bit(abi::SIGALRM), 20_000).map_err(call("the wait"))?;
            same("SIGALRM", [signal, code], [abi::SIGALRM, abi::SI_KERNEL])?;
        }
        sys(abi::__NR_alarm, [0]).map_err(call("alarm"))?;
        let _ = await_signal(bit(abi::SIGALRM), 0);
        same("after alarm(0)", await_signal(bit(abi::SIGALRM), 10), Err(EAGAIN))
    })?;
    let fd = sys(abi::__NR_timerfd_create, [abi::CLOCK_MONOTONIC.into(), 0]).map_err(call("timerfd_create"))?;
    memory.set_words(0, &[0, 2_000_000, 0, 2_000_000]);
    sys(abi::__NR_timerfd_settime, [fd, 0, memory.addr(0), 0]).map_err(call("timerfd_settime"))?;
    same("a read of the timerfd", sys(abi::__NR_read, [fd, memory.addr(64), 8]), Ok(8))?;
    memory.set_words(128, &[fd | u64::from(abi::POLLIN) << 32]);
    same("a poll of it", sys(abi::__NR_poll, [memory.addr(128), 1, 20_000]), Ok(1))?;
    same("some expiries", memory.word(64) > 0, true)?;
    sys(abi::__NR_close, [fd]).map(drop).map_err(call("close"))
}

/// Makes a timer that is told of by `notify` with `signal` and the value 0x1234_5678_9abc; its id.
fn make_timer(notify: u32, signal: u32) -> Result<u64, Errno> {
    let memory = Memory::new(PAGE);
    let tid = sys(abi::__NR_gettid, [])?;
    memory.set_words(0, &[0x1234_5678_9abc, u64::from(signal) | u64::from(notify) << 32, tid]);
    sys(abi::__NR_timer_create, [abi::CLOCK_MONOTONIC.into(), memory.addr(0), memory.addr(128)])?;
    Ok(u64::from(memory.word(128) as u32))
}

/// Sets it to expire after `first_ms` and then each `each_ms`.
fn set_timer(id: u64, first_ms: u64, each_ms: u64) -> Result<u64, Errno> {
    let memory = Memory::new(PAGE);
    let time = |ms: u64| [ms / 1000, ms % 1000 * 1_000_000];
    memory.set_words(0, &[time(each_ms), time(first_ms)].concat());
    sys(abi::__NR_timer_settime, [id, 0, memory.addr(0), 0])
}

fn made_timers() -> Outcome {
    let memory = Memory::new(PAGE);
    let wild = sys(abi::__NR_timer_create, [99, 0, memory.addr(0)]);
    same("a clock that there is not", wild, Err(EINVAL))?;
    same("a notification that there is not", make_timer(9, REAL_TIME), Err(EINVAL))?;
    blocking(bit(REAL_TIME), || {
        for notify in [abi::SIGEV_SIGNAL, abi::SIGEV_THREAD_ID] {
            let id = make_timer(notify, REAL_TIME).map_err(call("timer_create"))?;
            set_timer(id, 1, 2).map_err(call("timer_settime"))?;
            // However many expiries come meanwhile, one signal tells of them.
            std::thread::sleep(std::time::Duration::from_millis(30));
            let [signal, code, timer, overruns, low, high] =
                await_signal(bit(REAL_TIME), 20_000).map_err(call("wait"))?;
            let expected = [REAL_TIME, abi::SI_TIMER as u32, id as u32, 0x5678_9abc, 0x1234];
            same("what is told", [signal, code, timer, low, high], expected)?;
            same("expiries that were not told of", overruns >= 5, true)?;
            same("timer_getoverrun", sys(abi::__NR_timer_getoverrun, [id]), Ok(overruns.into()))?;
            await_signal(bit(REAL_TIME), 20_000).map_err(call("the next one"))?;
            let child = fork(|| u8::from(sys(abi::__NR_timer_getoverrun, [id]) != Err(EINVAL)))?;
            expect_exit(child, 0)?;
            sys(abi::__NR_timer_delete, [id]).map_err(call("timer_delete"))?;
            // One that was on its way.
            let _ = await_signal(bit(REAL_TIME), 0);
            same("after the deletion", await_signal(bit(REAL_TIME), 10), Err(EAGAIN))?;
            same("its id", set_timer(id, 1, 0), Err(EINVAL))?;
        }
        let silent = make_timer(abi::SIGEV_NONE, 0).map_err(call("a silent timer"))?;
        set_timer(silent, 60_000, 0).map_err(call("timer_settime"))?;
        sys(abi::__NR_timer_gettime, [silent, memory.addr(0)]).map_err(call("timer_gettime"))?;
        same("what is left of a minute", (50..=60).contains(&memory.word(16)), true)?;
        sys(abi::__NR_timer_delete, [silent]).map(drop).map_err(call("timer_delete"))
    })
}
