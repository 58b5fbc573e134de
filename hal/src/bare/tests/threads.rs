//! Context switches, interrupts, the timer, randomness.
use crate::bare::{irq, random, thread, time};
use crate::ktest;
use crate::thread::Kthread;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

ktest! {
    fn threads_switch_there_and_back() {
        let trips = Arc::new(AtomicU32::new(0));
        let (seen, home) = (trips.clone(), thread::current());
        let entry = Box::new(move || {
            assert!(irq::enabled(), "a thread starts with interrupts on");
            loop {
                seen.fetch_add(1, Ordering::Relaxed);
                irq::with_disabled(|| thread::switch_to(home.clone()));
            }
        });
        let other = Kthread::new(entry, Arc::new(7u32)).expect("memory");
        for trip in 1..=100 {
            irq::with_disabled(|| thread::switch_to(other.clone()));
            assert_eq!(trips.load(Ordering::Relaxed), trip);
        }
        assert_eq!(other.data().downcast_ref::<u32>(), Some(&7));
        assert_eq!((other.data_as::<u32>(), other.data_as::<u64>()), (Some(&7), None));
        assert_eq!(Arc::strong_count(&other), 1, "a thread that doesn't run is counted by nobody else");
    }

    fn locks_nest_their_masking() {
        assert!(irq::enabled());
        let (outer, inner) = (crate::sync::IrqLock::new(1), crate::sync::IrqLock::new(2));
        let first = outer.lock();
        let second = inner.lock();
        assert!(!irq::enabled() && inner.try_lock().is_none());
        drop(second);
        assert!(!irq::enabled(), "the outer lock still masks");
        drop(first);
        assert!(irq::enabled());
    }

    fn clock_goes_forward_and_the_date_is_sane() {
        let first = time::now_ns();
        let second = time::now_ns();
        assert!(second >= first);
        const YEAR_NS: u64 = 365 * 24 * 3600 * 1_000_000_000;
        assert!(time::wall_clock_ns() / YEAR_NS >= 54, "after 2024");
    }

    fn timer_ends_a_halt() {
        let start = time::now_ns();
        let deadline = start + 2_000_000;
        irq::with_disabled(|| {
            // The scheduler's own deadlines may end the halt too, or replace ours: so it is set again each time.
            while time::now_ns() < deadline {
                time::set_deadline(deadline);
                irq::wait_for_interrupt();
            }
        });
        let late = time::now_ns() - deadline;
        assert!(late < 1_000_000_000, "{late} ns late");
    }

    fn registered_handlers_run_in_interrupt_context() {
        let calls = Arc::new(AtomicU64::new(0));
        let seen = calls.clone();
        let vector = irq::register(Box::new(move || {
            assert!(irq::in_interrupt() && !irq::enabled());
            seen.fetch_add(1, Ordering::Relaxed);
        }))
        .expect("a free vector");
        assert!(!irq::in_interrupt());
        crate::bare::apic::send_to_self(vector);
        let deadline = time::now_ns() + 1_000_000_000;
        while calls.load(Ordering::Relaxed) == 0 && time::now_ns() < deadline {
            core::hint::spin_loop();
        }
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        assert!(!irq::in_interrupt());
    }

    fn random_bytes_differ() {
        let (mut first, mut second) = ([0u8; 32], [0u8; 32]);
        random::fill(&mut first);
        random::fill(&mut second);
        assert_ne!(first, second);
        assert_ne!(first, [0; 32]);
    }
}
