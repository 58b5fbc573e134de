//! A device with several queues, and tasks on several CPUs.
use super::tests::{first_byte, pages};
use crate::testing::{Bench, Config, Io, move_to_cpu};
use crate::virtio::blk::Features;
use base::block::{BioOp, BlockDevice, Room};
use base::errno::Errno;
use std::sync::Arc;
use std::vec::Vec;

/// Submits from a CPU without a kick.
fn submit_from(bench: &Bench, cpu: usize, sector: u64) -> Arc<Io> {
    // A thread of the test becomes a task when it first asks which it is, and only tasks have names.
    let _me = base::sched::current();
    move_to_cpu(cpu);
    bench.submit(BioOp::Read, sector, &pages::<1>(0))
}

/// One request from each CPU, kicked there.
fn one_each(bench: &Bench, cpus: usize) -> Vec<Arc<Io>> {
    let one = |cpu: usize| {
        let io = submit_from(bench, cpu, 8 * cpu as u64);
        bench.kick();
        io
    };
    (0..cpus).map(one).collect()
}

fn ended(ios: &[Arc<Io>]) -> Vec<bool> {
    ios.iter().map(|io| io.result().is_some()).collect()
}

mod bring_up {
    use super::*;

    fn used(config: Config) -> usize {
        Bench::try_new(config).expect("there is a queue").disk.queues()
    }

    #[test]
    fn as_many_queues_as_the_device_has_and_the_machine_wants() {
        let config = |queues: u16| Config { num_queues: queues, queues, ..Config::default() };
        assert_eq!([used(config(1)), used(config(3)), used(config(4))], [1, 3, 4]);
        assert_eq!(used(config(64)), 4, "no more than are wanted");
    }

    #[test]
    fn without_the_feature_there_is_one_queue() {
        let features = Config::default().features - Features::MQ;
        assert_eq!(used(Config { features, num_queues: 4, queues: 4, ..Config::default() }), 1);
    }

    #[test]
    fn a_device_that_lies_about_its_queues_is_used_with_those_it_has() {
        let claims = |num_queues: u16, queues: u16| used(Config { num_queues, queues, ..Config::default() });
        assert_eq!(claims(0, 4), 1);
        assert_eq!(claims(4, 2), 2);
        assert_eq!(claims(u16::MAX, 1), 1);
        let none = Config { num_queues: 4, queues: 0, ..Config::default() };
        assert_eq!(Bench::try_new(none).err(), Some(Errno::EIO), "without a first queue there is no disk");
    }

    #[test]
    fn a_device_that_comes_back_with_fewer_queues_is_dead() {
        let bench = Bench::with_queues(3);
        let ios = one_each(&bench, 3);
        bench.device.fetch();
        bench.device.state().config.queues = 2;
        bench.device.need_reset();
        bench.disk.check_timeouts(1);
        assert!(bench.disk.is_dead());
        assert!(ios.iter().all(|io| io.result() == Some(Err(Errno::EIO))));
    }
}

mod io {
    use super::*;

    #[test]
    fn each_cpu_has_its_queue_and_its_completions() {
        let bench = Bench::with_queues(4);
        let ios = one_each(&bench, 4);
        assert_eq!(bench.device.state().kicks, 4);
        assert_eq!(bench.device.fetch(), 4);
        assert_eq!(bench.device.held_queues(), [0, 1, 2, 3]);
        for _ in 0..4 {
            bench.device.finish(0);
        }
        for (done, queue) in [2, 0, 3, 1].into_iter().enumerate() {
            assert_eq!(ios[usize::from(queue)].result(), None, "only the interrupt of its queue ends a request");
            bench.device.interrupt_for(queue);
            assert_eq!(ios[usize::from(queue)].result(), Some(Ok(())));
            assert_eq!(ended(&ios).iter().filter(|ended| **ended).count(), done + 1);
        }
        assert_eq!(bench.disk.in_flight(), 0);
    }

    #[test]
    fn what_one_cpu_writes_another_reads() {
        let bench = Bench::with_queues(2);
        move_to_cpu(1);
        let written = bench.start(BioOp::Write, 8, &pages::<3>(40));
        bench.device.run();
        assert_eq!(written.result(), Some(Ok(())));
        move_to_cpu(0);
        let back = pages::<3>(0);
        bench.start(BioOp::Read, 8, &back);
        bench.device.run();
        assert_eq!(back.map(|page| first_byte(&page)), [40, 41, 42]);
    }

    #[test]
    fn cpus_share_where_there_are_fewer_queues() {
        let bench = Bench::with_queues(3);
        let ios = one_each(&bench, 8);
        assert_eq!(bench.device.fetch(), 8);
        assert_eq!(bench.device.held_queues(), [0, 0, 0, 1, 1, 1, 2, 2]);
        (0..8).for_each(|_| bench.device.finish(0));
        bench.device.interrupt();
        assert!(ios.iter().all(|io| io.result() == Some(Ok(()))));
    }

    /// An interrupt of a queue that there is not: a handler that is wrongly bound, or a device out of its mind.
    #[test]
    fn an_interrupt_of_no_queue_is_none() {
        let bench = Bench::with_queues(2);
        bench.disk.interrupt(2);
        bench.disk.interrupt(u16::MAX);
        assert!(!bench.disk.needs_attention());
    }
}

mod kicks {
    use super::*;

    /// The task that kicks is on a third CPU by then, and the device sleeps at two queues.
    #[test]
    fn a_kick_follows_the_task_to_another_cpu() {
        let bench = Bench::with_queues(4);
        let ios = [submit_from(&bench, 1, 0), submit_from(&bench, 3, 8)];
        move_to_cpu(2);
        bench.kick();
        assert_eq!(bench.device.state().kicks, 2);
        bench.device.run();
        assert!(ios.iter().all(|io| io.result() == Some(Ok(()))));
        bench.kick();
        assert_eq!(bench.device.state().kicks, 2, "there is nothing left to tell of");
    }

    /// A batch of another CPU stays a batch.
    #[test]
    fn a_kick_leaves_the_batches_of_others_alone() {
        let bench = Arc::new(Bench::with_queues(2));
        let mine = submit_from(&bench, 0, 0);
        let other = bench.clone();
        std::thread::spawn(move || one_each(&other, 2)).join().unwrap();
        // The other task has kicked for both of its queues, and so for what was in the first before.
        assert_eq!(bench.device.fetch(), 3);
        let batch = submit_from(&bench, 0, 16);
        let other = bench.clone();
        let theirs = std::thread::spawn(move || {
            let io = submit_from(&other, 1, 24);
            other.kick();
            io
        });
        let theirs = theirs.join().unwrap();
        assert_eq!(bench.device.fetch(), 4, "the first queue was not kicked for");
        bench.kick();
        bench.device.run();
        assert_eq!(bench.disk.in_flight(), 0);
        assert!([mine, batch, theirs].iter().all(|io| io.result() == Some(Ok(()))));
    }

    /// Two tasks in one queue, and the first moves away: its kick is given by the one that came after it.
    #[test]
    fn the_last_submitter_kicks_for_all() {
        let bench = Arc::new(Bench::with_queues(2));
        let first = submit_from(&bench, 1, 0);
        let other = bench.clone();
        let second = std::thread::spawn(move || {
            let io = submit_from(&other, 1, 8);
            move_to_cpu(0);
            other.kick();
            io
        });
        let second = second.join().unwrap();
        move_to_cpu(0);
        bench.kick();
        bench.device.run();
        assert_eq!([first.result(), second.result()], [Some(Ok(())); 2]);
        assert_eq!(bench.device.state().kicks, 1);
    }

    /// Submitters that move with each request, a device that reorders, and interrupts, all at once: nothing stays behind.
    #[test]
    fn submitters_that_move_race_with_completions() {
        const EACH: u64 = 300;
        let bench = Arc::new(Bench::new(|c| {
            (c.queue_max, c.queues, c.num_queues) = (8, 3, 3);
        }));
        let submitter = |task: u64| {
            let bench = bench.clone();
            std::thread::spawn(move || {
                let (page, _me) = (pages::<1>(0), base::sched::current());
                let request = |i: u64| {
                    move_to_cpu((task + i) as usize);
                    let io = bench.submit(BioOp::Read, task * 600 + i, &page);
                    // Every other one is kicked from where the next one goes.
                    move_to_cpu((task + i + i % 2) as usize);
                    if !i.is_multiple_of(3) || i + 1 == EACH {
                        bench.kick();
                    }
                    io
                };
                (0..EACH).map(request).collect::<Vec<_>>()
            })
        };
        let submitters: Vec<_> = (0..3).map(submitter).collect();
        bench.device.finish_as_they_come((3 * EACH) as usize);
        for submitter in submitters {
            assert!(submitter.join().unwrap().iter().all(|io| io.result() == Some(Ok(()))));
        }
        assert_eq!(bench.disk.in_flight(), 0);
    }
}

mod room {
    use super::*;

    fn narrow() -> Bench {
        Bench::new(|c| (c.queue_max, c.queues, c.num_queues) = (1, 2, 2))
    }

    /// NOW-1: a promise holds on whatever CPU, for the queue that gave it.
    #[test]
    fn a_promise_is_kept_on_another_cpu() {
        let bench = narrow();
        let device: Arc<dyn BlockDevice> = bench.disk.clone();
        move_to_cpu(1);
        let room = Room::reserve(&device).expect("the queue is empty");
        assert!(Room::reserve(&device).is_none());
        move_to_cpu(0);
        let other = submit_from(&bench, 0, 0);
        let io = Io::new(&pages::<1>(0));
        {
            let _no_sleep = base::sched::NoSleep::begin();
            room.submit(io.bio(BioOp::Read, 8));
            bench.kick();
        }
        assert_eq!(bench.device.fetch(), 2);
        assert_eq!(bench.device.held_queues(), [0, 1]);
        bench.device.finish(0);
        bench.device.finish(0);
        bench.device.interrupt();
        assert_eq!([io.result(), other.result()], [Some(Ok(())); 2]);
    }

    #[test]
    fn a_promise_that_is_given_back_elsewhere_is_given_back() {
        let bench = narrow();
        let device: Arc<dyn BlockDevice> = bench.disk.clone();
        move_to_cpu(1);
        let room = Room::reserve(&device).expect("the queue is empty");
        let (disk, io) = (bench.disk.clone(), Io::new(&pages::<1>(0)));
        let bio = io.bio(BioOp::Read, 0);
        let submitter = std::thread::spawn(move || {
            move_to_cpu(1);
            bio.submit_to(&*disk);
        });
        while bench.disk.room.waiters() == 0 {
            std::thread::yield_now();
        }
        move_to_cpu(0);
        drop(room);
        submitter.join().unwrap();
        move_to_cpu(1);
        bench.kick();
        bench.device.run();
        assert_eq!(io.result(), Some(Ok(())));
    }

    /// Room in another queue is none; a sleeper that wakes up there takes it.
    #[test]
    fn a_full_queue_does_not_fill_the_others() {
        let bench = Arc::new(narrow());
        let first = submit_from(&bench, 1, 0);
        let second = submit_from(&bench, 0, 8);
        let other = bench.clone();
        let third = std::thread::spawn(move || submit_from(&other, 1, 16));
        bench.device.wait_for_kick();
        while bench.disk.room.waiters() == 0 {
            std::thread::yield_now();
        }
        assert_eq!(bench.device.fetch(), 1, "who sleeps has kicked for the queue that is full");
        bench.device.finish(0);
        bench.device.interrupt();
        let third = third.join().unwrap();
        assert_eq!((first.result(), second.result()), (Some(Ok(())), None));
        move_to_cpu(1);
        bench.kick();
        move_to_cpu(0);
        bench.kick();
        bench.device.run();
        assert!([second, third].iter().all(|io| io.result() == Some(Ok(()))));
    }
}

mod trouble {
    use super::*;

    fn works(bench: &Bench) {
        let ios = one_each(bench, bench.disk.queues());
        bench.device.run();
        assert!(ios.iter().all(|io| io.result() == Some(Ok(()))));
    }

    /// A device that has one request of each queue breaks the protocol in one of them: all end with `EIO`, after the reset and not before.
    #[test]
    fn a_reset_is_of_all_queues() {
        let bench = Bench::with_queues(4);
        let ios = one_each(&bench, 4);
        assert_eq!(bench.device.fetch(), 4);
        bench.device.lie_in(2, |rings| rings.push_used(u32::MAX, 1));
        bench.device.interrupt();
        assert!(bench.disk.needs_attention());
        assert_eq!(ended(&ios), [false; 4], "the device may still write");
        // The others go on until the device's task comes.
        bench.device.finish(1);
        bench.device.interrupt_for(1);
        assert_eq!(ended(&ios), [false, true, false, false]);
        let resets = bench.device.state().resets;
        bench.disk.check_timeouts(1);
        assert_eq!(bench.device.state().resets, resets + 2, "once to be quiet, once to begin again");
        assert_eq!(ios[1].result(), Some(Ok(())));
        assert!([0, 2, 3].iter().all(|&n| ios[n].result() == Some(Err(Errno::EIO))));
        assert_eq!(bench.disk.in_flight(), 0);
        works(&bench);
    }

    #[test]
    fn a_request_that_is_late_in_any_queue_resets_the_device() {
        let bench = Bench::with_queues(3);
        move_to_cpu(2);
        let late = bench.start(BioOp::Read, 0, &pages::<1>(0));
        bench.device.fetch();
        bench.disk.check_timeouts(1);
        move_to_cpu(1);
        let fresh = bench.start(BioOp::Read, 8, &pages::<1>(0));
        bench.disk.check_timeouts(900);
        assert_eq!([late.result(), fresh.result()], [None, None]);
        bench.disk.check_timeouts(1001);
        assert_eq!([late.result(), fresh.result()], [Some(Err(Errno::EIO)); 2]);
        works(&bench);
    }

    #[test]
    fn a_lost_interrupt_of_any_queue_is_no_timeout() {
        let bench = Bench::with_queues(3);
        let ios = one_each(&bench, 3);
        bench.device.fetch();
        bench.disk.check_timeouts(1);
        (0..3).for_each(|_| bench.device.finish(0));
        let resets = bench.device.state().resets;
        bench.disk.check_timeouts(2000);
        assert!(ios.iter().all(|io| io.result() == Some(Ok(()))));
        assert_eq!(bench.device.state().resets, resets);
    }

    #[test]
    fn a_device_that_needs_reset_takes_nothing_in_any_queue() {
        let bench = Bench::with_queues(2);
        let device: Arc<dyn BlockDevice> = bench.disk.clone();
        move_to_cpu(1);
        let room = Room::reserve(&device).expect("room");
        bench.device.need_reset();
        assert!(Room::reserve(&device).is_none());
        let io = Io::new(&pages::<1>(0));
        move_to_cpu(0);
        room.submit(io.bio(BioOp::Read, 0));
        assert_eq!(io.result(), None, "never inside submit");
        bench.disk.check_timeouts(1);
        assert_eq!(io.result(), Some(Err(Errno::EIO)));
        works(&bench);
    }

    #[test]
    fn a_forgotten_kick_is_made_up_in_every_queue() {
        let bench = Bench::with_queues(3);
        let ios: Vec<_> = (0..3).map(|cpu| submit_from(&bench, cpu, 0)).collect();
        bench.disk.check_timeouts(1);
        bench.device.run();
        assert!(ios.iter().all(|io| io.result() == Some(Ok(()))));
    }

    #[test]
    fn a_device_that_does_not_come_out_of_reset_keeps_the_pages_of_all_queues() {
        let bench = Bench::with_queues(2);
        let ios = one_each(&bench, 2);
        bench.device.fetch();
        bench.device.state().stuck = true;
        bench.disk.check_timeouts(1);
        bench.disk.check_timeouts(1001);
        assert!(bench.disk.is_dead());
        assert_eq!(ended(&ios), [false, false]);
        for cpu in 0..2 {
            let later = submit_from(&bench, cpu, 0);
            assert_eq!(later.result(), None);
            bench.disk.check_timeouts(1002);
            assert_eq!(later.result(), Some(Err(Errno::EIO)));
        }
    }

    /// Sleepers at each full queue of a device that dies must not sleep for ever.
    #[test]
    fn death_wakes_the_sleepers_of_all_queues() {
        let bench = Arc::new(Bench::new(|c| (c.queue_max, c.queues, c.num_queues) = (1, 2, 2)));
        let _ios = one_each(&bench, 2);
        let sleeper = |cpu: usize| {
            let bench = bench.clone();
            std::thread::spawn(move || submit_from(&bench, cpu, 16))
        };
        let sleepers = [0, 1].map(sleeper);
        while bench.disk.room.waiters() < 2 {
            std::thread::yield_now();
        }
        bench.device.state().stuck = true;
        bench.disk.check_timeouts(1);
        bench.disk.check_timeouts(2000);
        let ios = sleepers.map(|sleeper| sleeper.join().unwrap());
        bench.disk.check_timeouts(2001);
        assert!(ios.iter().all(|io| io.result() == Some(Err(Errno::EIO))));
    }
}
