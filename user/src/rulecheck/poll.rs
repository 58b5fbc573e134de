//! poll, ppoll, select, pselect6: what files have to tell, and that a call sleeps until one of them has changed.
use crate::kit::{Check, Outcome, Scratch, call, fd, own, pipe, same};
use linux_raw_sys::general as abi;
use std::fs::File;
use std::io::{Read, Write};
use user::sys::{self, EBADF, EINTR, EINVAL, Fd, Memory, PAGE, raw};

pub const CHECKS: &[Check] = &[
    ("poll tells what files have to tell", told),
    ("poll sleeps until one of several files has changed", woken),
    ("ppoll and pselect6 wait with a signal mask", masked),
    ("select and pselect6 tell of their sets", sets),
    ("a time-out ends, and what is left of it is stored", rest),
];

const IN: u32 = abi::POLLIN;
const OUT: u32 = abi::POLLOUT;

fn eventfd() -> Result<File, String> {
    let flags = abi::EFD_NONBLOCK.into();
    raw(abi::__NR_eventfd2, [0, flags, 0, 0, 0, 0]).map(|n| own(n as Fd)).map_err(call("eventfd2"))
}

/// `poll` of descriptors and what is asked of each; what they tell.
fn poll(memory: Memory, asked: &[(u64, u32)], timeout_ms: i64) -> sys::Result<Vec<u32>> {
    for (i, (fd, events)) in asked.iter().enumerate() {
        memory.set_words(i * 8, &[fd & 0xffff_ffff | u64::from(*events) << 32]);
    }
    let n = raw(abi::__NR_poll, [memory.addr(0), asked.len() as u64, timeout_ms as u64, 0, 0, 0])?;
    let told: Vec<u32> = (0..asked.len()).map(|i| (memory.word(i * 8) >> 48) as u32).collect();
    if n as usize == told.iter().filter(|events| **events != 0).count() { Ok(told) } else { Err(EINVAL) }
}

fn told() -> Outcome {
    let memory = Memory::new(PAGE);
    let (event, file) = (eventfd()?, Scratch::new("poll", b"x")?);
    let (reader, mut writer) = pipe()?;
    let now = |asked: &[(u64, u32)]| poll(memory, asked, 0);
    let both = IN | OUT;
    let all = [(fd(&event), both), (fd(&reader), both), (fd(&writer), both), (fd(&file.file), both)];
    same("at first", now(&all), Ok(vec![OUT, 0, OUT, both]))?;
    writer.write_all(b"x").and_then(|()| (&event).write_all(&1u64.to_ne_bytes())).map_err(crate::kit::text)?;
    same("written", now(&all), Ok(vec![both, IN, OUT, both]))?;
    same("not asked for", now(&[(fd(&event), 0)]), Ok(vec![0]))?;
    same("no descriptor", now(&[(u64::MAX, IN), (999, IN)]), Ok(vec![0, abi::POLLNVAL]))?;
    drop(writer);
    same("no writer", now(&[(fd(&reader), IN)]), Ok(vec![IN | abi::POLLHUP]))?;
    same("no writer, nothing asked", now(&[(fd(&reader), 0)]), Ok(vec![abi::POLLHUP]))?;
    let (reader, writer) = pipe()?;
    drop(reader);
    same("no reader", now(&[(fd(&writer), OUT)]), Ok(vec![OUT | abi::POLLERR]))
}

/// Each of two threads waits for an eventfd or a pipe before it answers the other: a wake-up that is lost would end it all.
fn woken() -> Outcome {
    let ((ping_in, ping_out), event) = (pipe()?, eventfd()?);
    let idle = eventfd()?;
    const ROUNDS: usize = 500;
    std::thread::scope(|scope| {
        let answering = scope.spawn(|| {
            let memory = Memory::new(PAGE);
            for _ in 0..ROUNDS {
                same("ping", poll(memory, &[(fd(&idle), IN), (fd(&ping_in), IN)], -1), Ok(vec![0, IN]))?;
                (&ping_in).read_exact(&mut [0]).map_err(crate::kit::text)?;
                (&event).write_all(&1u64.to_ne_bytes()).map_err(crate::kit::text)?;
            }
            Ok(())
        });
        let memory = Memory::new(PAGE);
        for _ in 0..ROUNDS {
            (&ping_out).write_all(b"x").map_err(crate::kit::text)?;
            same("pong", poll(memory, &[(fd(&event), IN), (fd(&idle), IN)], -1), Ok(vec![IN, 0]))?;
            (&event).read_exact(&mut [0; 8]).map_err(crate::kit::text)?;
        }
        answering.join().map_err(|_| "the thread panicked")?
    })
}

/// The signal is blocked when it is sent, and let through by the mask of the call: no moment has to be hit.
fn masked() -> Outcome {
    let (memory, event) = (Memory::new(PAGE), eventfd()?);
    let number = u64::from(abi::SIGUSR1);
    let [process, thread] = [abi::__NR_getpid, abi::__NR_gettid].map(|call| raw(call, [0; 6]).unwrap_or(0));
    let send = || raw(abi::__NR_tgkill, [process, thread, number, 0, 0, 0]).map(drop).map_err(call("tgkill"));
    let handled = sys::signals_counted();
    sys::count_signal(number as i32);
    let (empty, usr1, pair, set) = (memory.addr(64), memory.addr(72), memory.addr(80), memory.addr(128));
    memory.set_words(64, &[0, 1 << (number - 1), empty, 8]);
    let block =
        |how: u32| raw(abi::__NR_rt_sigprocmask, [how.into(), usr1, 0, 8, 0, 0]).map_err(call("rt_sigprocmask"));
    block(abi::SIG_BLOCK)?;
    send()?;
    memory.set_words(0, &[fd(&event) | u64::from(IN) << 32]);
    let ppoll = |mask: u64, len: u64| raw(abi::__NR_ppoll, [memory.addr(0), 1, 0, mask, len, 0]);
    same("a mask of another length", ppoll(empty, 4), Err(EINVAL))?;
    same("ppoll", ppoll(empty, 8), Err(EINTR))?;
    same("handled", sys::signals_counted(), handled + 1)?;
    send()?;
    memory.set_words(128, &[1 << fd(&event)]);
    same("pselect6", raw(abi::__NR_pselect6, [fd(&event) + 1, set, 0, 0, 0, pair]), Err(EINTR))?;
    same("handled", sys::signals_counted(), handled + 2)?;
    send()?;
    (&event).write_all(&1u64.to_ne_bytes()).map_err(crate::kit::text)?;
    same("ready before", ppoll(empty, 8), Ok(1))?;
    block(abi::SIG_UNBLOCK)?;
    same("handled", sys::signals_counted(), handled + 3)
}

fn sets() -> Outcome {
    let (memory, event) = (Memory::new(PAGE), eventfd()?);
    let (reader, writer) = pipe()?;
    let bit = |file: &File| 1u64 << fd(file);
    let all = bit(&event) | bit(&reader) | bit(&writer);
    let count = 1 + [&event, &reader, &writer].map(fd).into_iter().max().unwrap_or(0);
    let select = |number: u32| {
        memory.set_words(0, &[all, all, all, 0, 0]);
        raw(number, [count, memory.addr(0), memory.addr(8), memory.addr(16), memory.addr(24), 0])
    };
    for number in [abi::__NR_select, abi::__NR_pselect6] {
        same("writable", select(number), Ok(2))?;
        let sets = [0, 8, 16].map(|at| memory.word(at));
        same("sets", sets, [0, bit(&event) | bit(&writer), 0])?;
    }
    (&writer).write_all(b"x").map_err(crate::kit::text)?;
    same("readable", select(abi::__NR_select), Ok(3))?;
    same("readers", memory.word(0), bit(&reader))?;
    memory.set_words(0, &[1 << 63]);
    let bad = raw(abi::__NR_select, [64, memory.addr(0), 0, 0, memory.addr(24), 0]);
    same("no descriptor", bad, Err(EBADF))?;
    same("a negative number", raw(abi::__NR_select, [u64::MAX, 0, 0, 0, 0, 0]), Err(EINVAL))
}

fn rest() -> Outcome {
    let (memory, event) = (Memory::new(PAGE), eventfd()?);
    same("poll", poll(memory, &[(fd(&event), IN)], 20), Ok(vec![0]))?;
    memory.set_words(64, &[0, 20_000_000]);
    let ppoll = || raw(abi::__NR_ppoll, [memory.addr(0), 1, memory.addr(64), 0, 0, 0]);
    same("ppoll", ppoll(), Ok(0))?;
    same("nothing is left", (memory.word(64), memory.word(72)), (0, 0))?;
    (&event).write_all(&1u64.to_ne_bytes()).map_err(crate::kit::text)?;
    memory.set_words(64, &[1000, 0]);
    same("ready", ppoll(), Ok(1))?;
    same("most is left", (900..1000).contains(&memory.word(64)), true)
}
