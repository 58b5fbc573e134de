//! A20, second half: events, waiting, cancelling, ending.
use crate::aio::{Aio, EVENT, Iocb, POLL, cancel, destroy, getevents};
use crate::kit::{Check, Outcome, Scratch, WT, call, fd, own, pipe, same, wild};
use linux_raw_sys::general as abi;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::time::Instant;
use user::sys::{EAGAIN, EBADF, EFAULT, EINPROGRESS, EINTR, EINVAL, Fd, Memory, PAGE, raw};

pub const CHECKS: &[Check] = &[
    ("AIO-5 an event has data, address, result and 0", fields),
    ("AIO-5 later changes of the iocb have no effect", later_changes),
    ("AIO-7 0 <= min <= nr", numbers),
    ("AIO-7 at least min, at most nr", at_least_and_at_most),
    ("AIO-7 timeouts", timeouts),
    ("AIO-7 a bad events pointer is EFAULT and keeps the events", keeps_events),
    ("AIO-7 a signal is EINTR only if nothing was collected", signal),
    ("AIO-8 R69 every event goes to exactly one of several waiters", waiters),
    ("AIO-10 io_cancel", cancels),
    ("AIO-3 AIO-10 POLL ends once, when there is something to tell or it is cancelled", polls),
    ("AIO-12 PRC-2 io_destroy and the end of the process end POLLs", polls_end),
    ("AIO-11 the eventfd is signalled once an event, after it", eventfd),
    ("AIO-11 a bad eventfd", bad_eventfd),
    ("AIO-12 io_destroy twice", twice),
    ("AIO-12 R66 of two at once one succeeds, and waiters wake", destroy_races),
    ("AIO-15 a program takes events without a call", reaps_itself),
    ("AIO-15 stores to the mapped ring do no harm", hostile_ring),
];

const RESFD: u32 = 1;

fn fields() -> Outcome {
    let (file, aio, memory) = (Scratch::new("fields", &[])?, Aio::new(2)?, Memory::new(PAGE));
    let data = 0x0123_4567_89ab_cdef;
    let unreadable = Iocb { buffer: memory.end(), ..Iocb::write(&file.file, memory, 8, 0, WT) };
    for (iocb, res) in [(Iocb::write(&file.file, memory, 77, 5, WT), 77), (unreadable, -i64::from(EFAULT.0))] {
        same("io_submit", aio.submit(&[iocb.with_data(data)]), Ok(1))?;
        let event = aio.reap(1)?[0];
        same("event", (event.data, event.obj, event.res, event.res2), (data, aio.iocbs.addr(0), res, 0))?;
    }
    Ok(())
}

fn later_changes() -> Outcome {
    let (file, aio, memory) = (Scratch::new("later", &[])?, Aio::new(2)?, Memory::new(PAGE));
    for round in 0..20 {
        let iocb = Iocb::write(&file.file, memory, 100, 0, WT).with_data(round);
        same("io_submit", aio.submit(&[iocb]), Ok(1))?;
        aio.iocbs.set(0, &[0xff; 64]);
        let event = aio.reap(1)?[0];
        same("event", (event.data, event.obj, event.res), (round, aio.iocbs.addr(0), 100))?;
    }
    Ok(())
}

fn numbers() -> Outcome {
    let aio = Aio::new(4)?;
    same("io_submit", aio.submit(&[Iocb::noop(); 2]), Ok(2))?;
    for (min, most) in [(-1, 1), (2, 1), (0, -1), (i64::MIN, i64::MAX), (1, 0), (-2, -1)] {
        let result = getevents(aio.id, min, most, aio.events.addr(0), 0);
        same("io_getevents", result, Err(EINVAL)).map_err(|e| format!("{min}, {most}: {e}"))?;
    }
    same("none wanted", aio.events(0, 0, None), Ok(vec![]))?;
    same("events", aio.reap(2)?.len(), 2)
}

fn at_least_and_at_most() -> Outcome {
    let aio = Aio::new(64)?;
    same("io_submit", aio.submit(&[Iocb::noop(); 40]), Ok(40))?;
    let mut left = 40;
    for (min, most) in [(0, 1), (1, 1), (3, 5), (17, 20)] {
        let n = aio.events(min, most, None).map_err(call("io_getevents"))?.len();
        same("all that fit", n, most as usize)?;
        left -= n;
    }
    same("the rest", aio.events(0, 64, None).map_err(call("io_getevents"))?.len(), left)?;
    aio.expect_none()
}

fn timeouts() -> Outcome {
    let aio = Aio::new(4)?;
    same("a poll", aio.events(1, 4, Some(0)), Ok(vec![]))?;
    let start = Instant::now();
    same("nothing came", aio.events(1, 4, Some(20_000_000)), Ok(vec![]))?;
    same("it took its time", start.elapsed().as_millis() >= 20, true)?;
    same("io_submit", aio.submit(&[Iocb::noop(); 2]), Ok(2))?;
    let events = aio.events(3, 4, Some(5_000_000)).map_err(call("io_getevents"))?;
    same("what there is", events.len(), 2)?;
    for bad in wild().into_iter().filter(|&address| address != 0) {
        same("bad timeout", getevents(aio.id, 1, 1, aio.events.addr(0), bad), Err(EFAULT))?;
    }
    Ok(())
}

fn keeps_events() -> Outcome {
    let aio = Aio::new(64)?;
    let batch: Vec<Iocb> = (0..40).map(|i| Iocb::noop().with_data(i)).collect();
    same("io_submit", aio.submit(&batch), Ok(40))?;
    let locked = Memory::new(PAGE).read_only().addr(0);
    // Room for 19 events before what cannot be touched.
    let (room, tail) = (19, Memory::new(PAGE));
    for bad in [&wild()[..], &[locked, tail.end() - 8]].concat() {
        let result = getevents(aio.id, 1, 40, bad, 0);
        same("io_getevents", result, Err(EFAULT)).map_err(|e| format!("{bad:#x}: {e}"))?;
    }
    let n = getevents(aio.id, 1, 40, tail.end() - (room * EVENT) as u64, 0).map_err(call("io_getevents"))?;
    same("not more than fit", n <= room as u64 && n > 0, true)?;
    let mut data: Vec<u64> = (0..n as usize).map(|i| tail.word(PAGE - (room - i) * EVENT)).collect();
    data.extend(aio.reap(40 - n as usize)?.iter().map(|event| event.data));
    data.sort_unstable();
    same("every event once", data, (0..40).collect())?;
    aio.expect_none()
}

/// The signal is blocked when it is sent, and let through by the mask of io_pgetevents: no moment has to be hit.
fn signal() -> Outcome {
    let aio = Aio::new(2)?;
    let number = abi::SIGUSR1 as u64;
    let thread = raw(abi::__NR_gettid, [0; 6]).map_err(call("gettid"))?;
    let process = raw(abi::__NR_getpid, [0; 6]).map_err(call("getpid"))?;
    let send = || raw(abi::__NR_tgkill, [process, thread, number, 0, 0, 0]).map(drop).map_err(call("tgkill"));
    let handled = user::sys::signals_counted();
    user::sys::count_signal(number as i32);
    let memory = Memory::new(PAGE);
    // The pointer to the mask with its size, an empty mask, and one with the signal.
    memory.set_words(0, &[memory.addr(64), 8]);
    memory.set_words(64, &[0, 1 << (number - 1)]);
    let block = |how: u32| raw(abi::__NR_rt_sigprocmask, [how.into(), memory.addr(72), 0, 8, 0, 0]);
    let wait = |min: u64| raw(abi::__NR_io_pgetevents, [aio.id, min, 2, aio.events.addr(0), 0, memory.addr(0)]);
    block(abi::SIG_BLOCK).map_err(call("rt_sigprocmask"))?;
    send()?;
    same("nothing collected", wait(1), Err(EINTR))?;
    same("handled", user::sys::signals_counted(), handled + 1)?;
    send()?;
    same("io_submit", aio.submit(&[Iocb::noop()]), Ok(1))?;
    same("one collected", wait(2), Ok(1))?;
    block(abi::SIG_UNBLOCK).map_err(call("rt_sigprocmask"))?;
    same("handled", user::sys::signals_counted(), handled + 2)?;
    aio.expect_none()
}

fn waiters() -> Outcome {
    let aio = Aio::new(64)?;
    let (waiters, each) = (4usize, 50usize);
    let all_events = (waiters * each) as u64;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..waiters)
            .map(|i| {
                let id = aio.id;
                scope.spawn(move || {
                    let (events, mut seen) = (Memory::new(PAGE), Vec::new());
                    while seen.len() < each {
                        // Each wants another number at a time, and none more than it needs.
                        let left = each - seen.len();
                        let (min, most) = ((i + 1).min(left) as i64, 5.min(left) as i64);
                        let n = getevents(id, min, most, events.addr(0), 0).map_err(call("io_getevents"))?;
                        same("at least the number", n as i64 >= min, true)?;
                        seen.extend((0..n as usize).map(|i| events.word(i * EVENT)));
                    }
                    Ok::<Vec<u64>, String>(seen)
                })
            })
            .collect();
        let mut next = 0;
        while next < all_events {
            match aio.submit(&[Iocb::noop().with_data(next)]) {
                Ok(_) => next += 1,
                Err(EAGAIN) => std::thread::yield_now(),
                Err(errno) => return Err(format!("io_submit: {errno:?}")),
            }
        }
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| "a thread panicked")??);
        }
        all.sort_unstable();
        same("every event once", all, (0..all_events).collect())
    })?;
    aio.expect_none()
}

fn cancels() -> Outcome {
    let (file, aio, memory) = (Scratch::new("cancel", &[])?, Aio::new(2)?, Memory::new(PAGE));
    let result = aio.events.addr(0);
    same("io_submit", aio.submit(&[Iocb::write(&file.file, memory, 100, 0, WT)]), Ok(1))?;
    same("a write", cancel(aio.id, aio.iocbs.addr(0), result), Err(EINVAL))?;
    same("its event", aio.reap(1)?[0].res, 100)?;
    same("finished", cancel(aio.id, aio.iocbs.addr(0), result), Err(EINVAL))?;
    same("unknown", cancel(aio.id, aio.pointers.addr(0), result), Err(EINVAL))?;
    same("no context", cancel(1, aio.iocbs.addr(0), result), Err(EINVAL))?;
    for bad in wild() {
        // Of the last bytes of memory the key would wrap around to address 7.
        same("no key", cancel(aio.id, bad, result), Err(EFAULT)).map_err(|e| format!("{bad:#x}: {e}"))?;
    }
    aio.expect_none()
}

fn poll_of(file: &impl AsRawFd, asked: u32) -> Iocb {
    Iocb { opcode: POLL, fd: file.as_raw_fd() as u32, buffer: asked.into(), ..Iocb::default() }
}

fn polls() -> Outcome {
    let (aio, event) = (Aio::new(4)?, new_eventfd()?);
    let (reader, writer) = pipe()?;
    let in_flight = |iocb| {
        same("io_submit", aio.submit(&[iocb]), Ok(1))?;
        aio.expect_none()
    };
    let reap = |res: u32| same("event", aio.reap(1)?[0].res, i64::from(res));
    in_flight(poll_of(&reader, abi::POLLIN))?;
    (&writer).write_all(b"xx").map_err(crate::kit::text)?;
    reap(abi::POLLIN)?;
    (&writer).write_all(b"x").map_err(crate::kit::text)?;
    aio.expect_none()?;
    // What is there already is told before io_submit returns; a hang-up is told unasked.
    same("io_submit", aio.submit(&[poll_of(&event, abi::POLLIN | abi::POLLOUT)]), Ok(1))?;
    same(
        "at once",
        aio.events(0, 4, Some(0)).map(|events| events.iter().map(|e| e.res).sum::<i64>()),
        Ok(abi::POLLOUT.into()),
    )?;
    (&reader).read_exact(&mut [0; 3]).map_err(crate::kit::text)?;
    in_flight(poll_of(&reader, 0))?;
    drop(writer);
    reap(abi::POLLHUP)?;
    let file = Scratch::new("polled", b"x")?;
    same("a file on a disk", aio.run(poll_of(&file.file, abi::POLLIN))?, abi::POLLIN.into())?;
    same("that never tells", aio.submit(&[poll_of(&file.file, abi::POLLPRI)]), Err(EINVAL))?;
    for bad in [Iocb { buffer: 0x10000, ..poll_of(&event, 0) }, Iocb { pos: 1, ..poll_of(&event, 0) }] {
        same("other fields", aio.submit(&[bad]), Err(EINVAL))?;
    }
    in_flight(poll_of(&event, abi::POLLIN))?;
    let stop = || cancel(aio.id, aio.iocbs.addr(0), aio.events.addr(0));
    same("io_cancel", stop(), Err(EINPROGRESS))?;
    reap(0)?;
    same("once more", stop(), Err(EINVAL))?;
    aio.expect_none()
}

fn polls_end() -> Outcome {
    let (aio, event) = (Aio::new(2)?, new_eventfd()?);
    let both = [poll_of(&event, abi::POLLIN), poll_of(&event, abi::POLLIN)];
    same("io_submit", aio.submit(&both), Ok(2))?;
    same("io_destroy", destroy(aio.id), Ok(0))?;
    // Another goes with the process, which would never end else.
    let left = std::mem::ManuallyDrop::new(Aio::new(1)?);
    same("io_submit", left.submit(&both[..1]), Ok(1))
}

fn new_eventfd() -> Result<File, String> {
    let number = raw(abi::__NR_eventfd2, [0, abi::EFD_NONBLOCK.into(), 0, 0, 0, 0]).map_err(call("eventfd2"))?;
    Ok(own(number as Fd))
}

fn eventfd() -> Outcome {
    let (file, aio, memory) = (Scratch::new("eventfd", &[])?, Aio::new(16)?, Memory::new(PAGE));
    let counter = new_eventfd()?;
    let take = || {
        let mut bytes = [0; 8];
        (&counter).read_exact(&mut bytes).map(|()| u64::from_ne_bytes(bytes)).map_err(|e| e.raw_os_error())
    };
    same("nothing yet", take(), Err(Some(EAGAIN.0)))?;
    let with = |iocb: Iocb| Iocb { flags: RESFD, eventfd: fd(&counter) as u32, ..iocb };
    let write = |i: u64| Iocb::write(&file.file, memory, 100, i * 100, WT);
    let unreadable = Iocb { buffer: memory.end(), ..write(0) };
    let batch = [with(write(0)), write(1), with(write(2)), with(Iocb::noop()), with(unreadable)];
    same("io_submit", aio.submit(&batch), Ok(5))?;
    // The events are looked at when the eventfd says that they are there, without waiting for them.
    let (mut signals, mut events) = (0, 0);
    while signals < 4 {
        match take() {
            Ok(n) => signals += n,
            Err(_) => std::thread::yield_now(),
        }
        events += aio.events(0, 16, Some(0)).map_err(call("io_getevents"))?.len() as u64;
        same("an event for each signal", events >= signals, true)?;
    }
    same("signals", signals, 4)?;
    while events < 5 {
        events += aio.events(1, 16, None).map_err(call("io_getevents"))?.len() as u64;
    }
    same("no more signals", take(), Err(Some(EAGAIN.0)))?;
    same("refused", aio.submit(&[with(Iocb { opcode: 99, ..write(0) })]), Err(EINVAL))?;
    same("no signal for what was refused", take(), Err(Some(EAGAIN.0)))
}

fn bad_eventfd() -> Outcome {
    let (file, aio, memory) = (Scratch::new("no-eventfd", &[])?, Aio::new(1)?, Memory::new(PAGE));
    let write = Iocb { flags: RESFD, ..Iocb::write(&file.file, memory, 100, 0, WT) };
    same("no descriptor", aio.submit(&[Iocb { eventfd: 1000, ..write }]), Err(EBADF))?;
    same("no descriptor", aio.submit(&[Iocb { eventfd: u32::MAX, ..write }]), Err(EBADF))?;
    same("another file", aio.submit(&[Iocb { eventfd: file.fd() as u32, ..write }]), Err(EINVAL))?;
    same("without the flag", aio.run(Iocb { flags: 0, eventfd: 1000, ..write })?, 100)?;
    aio.expect_none()
}

fn twice() -> Outcome {
    let aio = Aio::new(1)?;
    same("first", destroy(aio.id), Ok(0))?;
    same("second", destroy(aio.id), Err(EINVAL))
}

fn destroy_races() -> Outcome {
    for _ in 0..20 {
        let (file, aio, memory) = (Scratch::new("destroy", &[])?, Aio::new(8)?, Memory::new(PAGE));
        let batch: Vec<Iocb> = (0..4).map(|i| Iocb::write(&file.file, memory, PAGE, i * PAGE as u64, WT)).collect();
        same("io_submit", aio.submit(&batch), Ok(4))?;
        std::thread::scope(|scope| {
            let id = aio.id;
            let waiter = scope.spawn(move || getevents(id, 8, 8, Memory::new(PAGE).addr(0), 0));
            let other = scope.spawn(move || destroy(id));
            let mine = destroy(id);
            let other = other.join().map_err(|_| "a thread panicked")?;
            same("one success", [mine, other].iter().filter(|result| **result == Ok(0)).count(), 1)?;
            same("one EINVAL", [mine, other].iter().filter(|result| **result == Err(EINVAL)).count(), 1)?;
            // It sleeps no more: what it collected, or that there is no context.
            match waiter.join().map_err(|_| "a thread panicked")? {
                Ok(1..=4) | Err(EINVAL) => Ok(()),
                result => Err(format!("the waiter: {result:?}")),
            }
        })?;
    }
    crate::kit::quiet()
}

/// The id is the address of the mapped ring: everything that can be stored there is stored.
/// What libaio does where it finds the ring's magic number: it takes the events between head and tail and moves the head.
fn reaps_itself() -> Outcome {
    let (file, aio, memory) = (Scratch::new("reaps", &[])?, Aio::new(4)?, Memory::new(PAGE));
    let ring = user::sys::Memory::of_kernel(aio.id, PAGE);
    let half = |at: usize, upper: bool| (ring.word(at) >> (u32::from(upper) * 32)) as u32;
    same("magic, features, length", (half(16, false), half(16, true), half(24, true)), (0xa10a_10a1, 1, 32))?;
    let slots = half(0, true);
    for round in 0..3 * u64::from(slots) {
        let write = Iocb::write(&file.file, memory, 100, 0, WT).with_data(round);
        same("io_submit", aio.submit(&[write]), Ok(1))?;
        while half(8, false) == half(8, true) {
            std::hint::spin_loop();
        }
        let head = half(8, false);
        let event = 32 + head as usize * EVENT;
        same("event", (ring.word(event), ring.word(event + 16)), (round, 100))?;
        ring.set(8, &((head + 1) % slots).to_ne_bytes());
        aio.expect_none()?;
    }
    Ok(())
}

/// Whatever stands there: the events may be lost to the program, and nothing else is.
fn hostile_ring() -> Outcome {
    let (file, memory) = (Scratch::new("ring", &[])?, Memory::new(PAGE));
    for byte in [0xff, 0x00, 0x7f, 0x01] {
        let aio = Aio::new(4)?;
        let ring = user::sys::Memory::of_kernel(aio.id, PAGE);
        let write = Iocb::write(&file.file, memory, 100, 0, WT);
        for _ in 0..10 {
            ring.set(0, &[byte; PAGE]);
            match aio.submit(&[write; 4]) {
                Ok(1..=4) | Err(EAGAIN) => {}
                other => return Err(format!("io_submit: {other:?}")),
            }
            ring.set(0, &[byte; PAGE]);
            let events = aio.events(0, 4, Some(0)).map_err(call("io_getevents"))?;
            same("whole events", events.iter().all(|event| event.res == 100 && event.obj != 0), true)?;
        }
    }
    let aio = Aio::new(4)?;
    same("io_submit", aio.submit(&[Iocb::noop(); 4]), Ok(4))?;
    same("events", aio.reap(4)?.len(), 4)
}
