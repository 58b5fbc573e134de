//! The sleeping locks, all orders under the weak memory of C11: one writer at a time, nobody sleeps for ever. The checker
//! also watches each access to the data.
//!
//! `RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test --release -p base --test loom_locks`
#![cfg(loom)]
use base::sync::{Arc, Mutex, Rank, RwLock};

fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}

#[test]
fn a_mutex_loses_no_update_and_no_waiter() {
    explore(|| {
        let lock = Arc::new(Mutex::new(Rank::Leaf, 0));
        let other = lock.clone();
        let thread = loom::thread::spawn(move || *other.lock() += 1);
        *lock.lock() += 1;
        thread.join().unwrap();
        assert_eq!(*lock.lock(), 2);
    });
}

#[test]
fn two_readers_and_a_writer_all_get_their_turn() {
    explore(|| {
        let lock = Arc::new(RwLock::new(Rank::Inode, 0));
        let (a, b) = (lock.clone(), lock.clone());
        let writer = loom::thread::spawn(move || *a.write() = 1);
        let reader = loom::thread::spawn(move || assert!(*b.read() <= 1));
        assert!(*lock.read() <= 1);
        writer.join().unwrap();
        reader.join().unwrap();
        assert_eq!(*lock.read(), 1);
    });
}

#[test]
fn two_writers_and_a_reader_all_get_their_turn() {
    explore(|| {
        let lock = Arc::new(RwLock::new(Rank::Inode, 0));
        let (a, b) = (lock.clone(), lock.clone());
        let writer = loom::thread::spawn(move || *a.write() += 1);
        let reader = loom::thread::spawn(move || drop(b.read()));
        *lock.write() += 1;
        writer.join().unwrap();
        reader.join().unwrap();
        assert_eq!(*lock.read(), 2);
    });
}
