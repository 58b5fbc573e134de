//! Where threads run, and what reaches them there. Holds on a machine with one CPU as well, and shows less.
use crate::kit::{Check, Outcome, call, same, small, text};
use linux_raw_sys::general as abi;
use std::sync::atomic::{AtomicU64, Ordering};
use user::sys::{self, EFAULT, EINVAL, ESRCH, Memory, raw};

pub const CHECKS: &[Check] = &[
    ("threads run where they may", affinity),
    ("sets of CPUs that cannot be", refused),
    ("a signal reaches a thread that makes no call", signal),
    ("stores end where their memory is taken away and given anew", unmapped),
];

fn set(tid: u64, cpus: u64) -> sys::Result<u64> {
    let mask = small();
    mask.set_words(0, &[cpus]);
    raw(abi::__NR_sched_setaffinity, [tid, 8, mask.addr(0), 0, 0, 0])
}

fn get(tid: u64) -> Result<u64, String> {
    let mask = small();
    same("length", raw(abi::__NR_sched_getaffinity, [tid, 8, mask.addr(0), 0, 0, 0]), Ok(8))?;
    Ok(mask.word(0))
}

fn here() -> Result<u64, String> {
    let out = small();
    raw(abi::__NR_getcpu, [out.addr(0), out.addr(8), 0, 0, 0, 0]).map_err(call("getcpu"))?;
    same("node", out.word(8) as u32, 0)?;
    Ok(out.word(0) & 0xffff_ffff)
}

fn affinity() -> Outcome {
    let all = get(0)?;
    let info = std::fs::read_to_string("/proc/cpuinfo").map_err(text)?;
    same("processors", info.lines().filter(|l| l.starts_with("processor")).count(), all.count_ones() as usize)?;
    same("parallelism", std::thread::available_parallelism().map_err(text)?.get(), all.count_ones() as usize)?;
    for cpu in (0..64).filter(|cpu| all & 1 << cpu != 0) {
        same("set", set(0, 1 << cpu), Ok(0))?;
        same("get", get(0)?, 1 << cpu)?;
        same("runs on", here()?, cpu)?;
        let of_child = std::thread::scope(|scope| scope.spawn(|| get(0)).join().map_err(|_| "a panic")?)?;
        same("a thread that it starts", of_child, 1 << cpu)?;
    }
    same("back", set(0, all), Ok(0))
}

fn refused() -> Outcome {
    same("no CPU", set(0, 0), Err(EINVAL))?;
    same("a CPU that is not there", set(0, 1 << 63), Err(EINVAL))?;
    same("no such thread", set(0x3fff_ffff, 1), Err(ESRCH))?;
    let nowhere = small().end();
    same("nowhere", raw(abi::__NR_sched_setaffinity, [0, 8, nowhere, 0, 0, 0]), Err(EFAULT))?;
    same("no room", raw(abi::__NR_sched_getaffinity, [0, 4, small().addr(0), 0, 0, 0]), Err(EINVAL))
}

fn signal() -> Outcome {
    sys::count_signal(abi::SIGUSR1 as i32);
    for _ in 0..20 {
        let (before, tid) = (sys::signals_counted(), AtomicU64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                tid.store(raw(abi::__NR_gettid, [0; 6]).unwrap_or(0), Ordering::Release);
                while sys::signals_counted() == before {
                    std::hint::spin_loop();
                }
            });
            while tid.load(Ordering::Acquire) == 0 {
                std::thread::yield_now();
            }
            let sent = raw(abi::__NR_tkill, [tid.load(Ordering::Acquire), abi::SIGUSR1.into(), 0, 0, 0, 0]);
            same("tkill", sent, Ok(0))
        })?;
    }
    Ok(())
}

/// A thread stores all the time to memory whose pages the other gives back (`MADV_DONTNEED`): zeros come anew, and what the thread
/// stores afterwards is in the new page, not in the one that was given back and may be anybody's.
fn unmapped() -> Outcome {
    let (memory, rounds) = (Memory::new(sys::PAGE), 200);
    let stop = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut value = 0u64;
            while stop.load(Ordering::Relaxed) == 0 {
                value += 1;
                memory.set_words(0, &[value]);
            }
        });
        let give_back = || {
            for _ in 0..rounds {
                let args = [memory.addr(0), sys::PAGE as u64, abi::MADV_DONTNEED.into(), 0, 0, 0];
                raw(abi::__NR_madvise, args).map_err(call("madvise"))?;
                let first = memory.word(0);
                let mut looks = 0;
                while memory.word(0) == first && looks < 100_000_000 {
                    looks += 1;
                }
                if looks == 100_000_000 {
                    return Err(format!("the stores of the other thread do not arrive after {first}"));
                }
            }
            Ok(())
        };
        let outcome = give_back();
        stop.store(1, Ordering::Relaxed);
        outcome
    })
}
