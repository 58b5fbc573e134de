//! The kernel's scheduler in the booted kernel: what the host's threads can't show.
use super::{park_until, sleep_until, spawn, yield_now};
use crate::sync::{Arc, WaitQueue};
use crate::time::now_ns;
use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, Ordering};
use hal::ktest;

const MS_NS: u64 = 1_000_000;

/// Three tasks, on the CPU of the caller, sleep until shortly after `start_ns` and note their places; `None` if they began too late.
fn sleep_in_order(start_ns: u64) -> Option<u64> {
    let order = Arc::new(AtomicU64::new(0));
    let tasks = [3, 1, 2].map(|place| {
        let order = order.clone();
        let body = move || {
            sleep_until(start_ns + place);
            let earlier = order.load(Ordering::Relaxed);
            order.store(earlier * 10 + place, Ordering::Relaxed);
        };
        spawn("sleeper", Box::new(body)).expect("memory")
    });
    yield_now();
    let all_slept_in_time = now_ns() < start_ns;
    tasks.iter().for_each(super::Task::join);
    all_slept_in_time.then(|| order.load(Ordering::Relaxed))
}

ktest! {
    fn time_outs_come_in_order_of_their_deadlines() {
        // An emulated machine may stand still for any time: the order counts only if all slept before the first deadline.
        // Time-outs are a CPU's own: those of several have no order.
        super::current().set_allowed_cpus(1);
        yield_now();
        let in_time = (1..10).find_map(|delay| sleep_in_order(now_ns() + (MS_NS << delay)));
        super::current().set_allowed_cpus(u32::MAX);
        assert_eq!(in_time, Some(123));
    }

    fn a_token_ends_the_next_park_and_a_deadline_the_one_after() {
        super::current().unpark();
        let start_ns = now_ns();
        park_until(start_ns + 1_000 * MS_NS);
        assert!(now_ns() < start_ns + 1_000 * MS_NS, "the token was lost");
        let start_ns = now_ns();
        park_until(start_ns + MS_NS);
        assert!(now_ns() >= start_ns + MS_NS, "a park without a token ended early");
    }

    fn wake_ups_and_ends_of_many_tasks() {
        let (queue, count) = (Arc::new(WaitQueue::new()), Arc::new(AtomicU64::new(0)));
        for round in 1..=50 {
            let (q, c) = (queue.clone(), count.clone());
            let body = move || {
                c.fetch_add(1, Ordering::Relaxed);
                q.wake_all();
            };
            let task = spawn("short", Box::new(body)).expect("memory: dead tasks are reaped");
            queue.wait_until(|| count.load(Ordering::Relaxed) == round);
            task.join();
            yield_now();
        }
    }
}
