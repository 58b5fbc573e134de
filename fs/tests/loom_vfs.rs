//! Models of what all open files and all writers of a super block share, on the real types, exhaustive under weak memory (M7, M8).
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p fs --test loom_vfs`
#![cfg(loom)]
mod loom_common;

use base::{Errno, Result};
use fs::vfs::{ErrCursor, ErrSeq, FreezeGuard, FreezeLevel, SuperBlock};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use loom::thread;
use loom_common::NoFs;

const EIO: Result<()> = Err(Errno::EIO);

fn reports(errors: &ErrSeq, cursor: &ErrCursor) -> u32 {
    u32::from(errors.report(cursor) == EIO)
}

/// M7, ERR-6: one error, recorded while two descriptions look: each hears of it, and hears of it once.
#[test]
fn m7_each_description_hears_of_an_error_once() {
    loom::model(|| {
        let errors = Arc::new(ErrSeq::new());
        let (first, second) = (errors.sample(), errors.sample());
        let recorder = {
            let errors = errors.clone();
            thread::spawn(move || errors.record(Errno::EIO))
        };
        let checker = {
            let errors = errors.clone();
            thread::spawn(move || {
                let early = reports(&errors, &first);
                (first, early)
            })
        };
        let mut heard = reports(&errors, &second);
        recorder.join().unwrap();
        let (first, early) = checker.join().unwrap();
        heard += reports(&errors, &second) + reports(&errors, &second);
        assert_eq!(early + reports(&errors, &first) + reports(&errors, &first), 1, "the checker");
        assert_eq!(heard, 1, "the other description");
    });
}

/// M7, R58: the same error happens again. Who was told of the first one before the second was recorded is told of that too, though the
/// two look alike.
#[test]
fn m7_r58_the_same_error_again_is_news() {
    loom::model(|| {
        let errors = Arc::new(ErrSeq::new());
        let cursor = errors.sample();
        errors.record(Errno::EIO);
        let told = Arc::new(AtomicBool::new(false));
        let checker = {
            let (errors, told) = (errors.clone(), told.clone());
            thread::spawn(move || {
                assert_eq!(errors.report(&cursor), EIO, "the first error was recorded before");
                told.store(true, Ordering::Release);
                cursor
            })
        };
        let was_told = told.load(Ordering::Acquire);
        errors.record(Errno::EIO);
        let cursor = checker.join().unwrap();
        let again = reports(&errors, &cursor);
        assert!(again == 1 || !was_told, "the second error is lost");
        assert_eq!(errors.report(&cursor), Ok(()), "an error was told twice");
    });
}

/// M7, R58: a description that is opened meanwhile reports the error, unless somebody was told of it before.
#[test]
fn m7_an_open_beside_a_report() {
    loom::model(|| {
        let errors = Arc::new(ErrSeq::new());
        let cursor = errors.sample();
        errors.record(Errno::EIO);
        let told = Arc::new(AtomicBool::new(false));
        let checker = {
            let (errors, told) = (errors.clone(), told.clone());
            thread::spawn(move || {
                assert_eq!(errors.report(&cursor), EIO);
                told.store(true, Ordering::Release);
            })
        };
        let was_told = told.load(Ordering::Acquire);
        let late = errors.sample();
        checker.join().unwrap();
        let heard = reports(&errors, &late);
        assert!(heard == 0 || !was_told, "old news to a new description");
        assert_eq!(reports(&errors, &late), 0);
    });
}

/// M8, R63, FRZ-1, FRZ-2: a freezer, a writer that comes meanwhile, and a request whose protection is released by another thread than
/// the one that took it. While the super block is frozen nobody is inside; everybody comes to an end.
#[test]
fn m8_r63_nobody_writes_in_a_frozen_super_block() {
    loom::model(|| {
        let sb = SuperBlock::new(1, Box::new(NoFs));
        let inside = Arc::new(AtomicU32::new(1));
        let handed_over = FreezeGuard::enter(&sb, FreezeLevel::Write);
        let worker = {
            let inside = inside.clone();
            thread::spawn(move || {
                inside.fetch_sub(1, Ordering::Relaxed);
                drop(handed_over);
            })
        };
        let writer = {
            let (sb, inside) = (sb.clone(), inside.clone());
            thread::spawn(move || {
                let guard = FreezeGuard::enter(&sb, FreezeLevel::Write);
                inside.fetch_add(1, Ordering::Relaxed);
                inside.fetch_sub(1, Ordering::Relaxed);
                drop(guard);
            })
        };
        sb.freeze().unwrap();
        assert_eq!(inside.load(Ordering::Relaxed), 0, "somebody is inside a frozen super block");
        sb.thaw().unwrap();
        worker.join().unwrap();
        writer.join().unwrap();
        assert_eq!(sb.freeze_holders(), 0);
    });
}
