//! The driver against a scripted device.
use super::{Features, VirtioBlk};
use crate::testing::{Bench, Config, Io};
use base::block::{BioOp, BlockDevice, Durability, Room};
use base::errno::Errno;
use base::{PAGE_SIZE, Page};
use std::sync::Arc;
use std::vec::Vec;

pub(super) fn pages<const N: usize>(fill: u8) -> [Page; N] {
    core::array::from_fn(|i| {
        let page = Page::alloc_zeroed().unwrap();
        page.write_from(0, &[fill.wrapping_add(i as u8); PAGE_SIZE]);
        page
    })
}

pub(super) fn first_byte(page: &Page) -> u8 {
    let mut byte = [0];
    page.read_into(0, &mut byte);
    byte[0]
}

mod bring_up {
    use super::*;

    #[test]
    fn limits_come_from_the_configuration() {
        let bench = Bench::new(|c| c.seg_max = 10);
        let limits = bench.disk.limits();
        assert_eq!(limits.capacity_sectors, 2048);
        assert_eq!((limits.max_segments, limits.max_bytes), (10, 10 * PAGE_SIZE as u32));
        assert!(limits.discard && limits.write_zeroes && !limits.read_only);
        assert_eq!(bench.disk.max_bytes_without_data(BioOp::Discard), 1024 * 512);
        assert_eq!(bench.disk.queue_size(), 16);
    }

    #[test]
    fn a_device_without_a_required_feature_is_refused() {
        for missing in [Features::VERSION_1, Features::INDIRECT_DESC] {
            let mut config = Config::default();
            config.features -= missing;
            assert_eq!(Bench::try_new(config).err(), Some(Errno::EOPNOTSUPP));
        }
    }

    #[test]
    fn a_device_that_drops_features_ok_is_refused() {
        let config = Config { refuse_features: true, ..Config::default() };
        assert_eq!(Bench::try_new(config).err(), Some(Errno::EOPNOTSUPP));
    }

    #[test]
    fn absurd_limits_are_refused() {
        for (blk_size, seg_max, queue_max) in [(0, 8, 16), (8192, 8, 16), (520, 8, 16), (512, 0, 16), (512, 8, 0)] {
            let config = Config { blk_size, seg_max, queue_max, ..Config::default() };
            assert!(Bench::try_new(config).is_err());
        }
    }

    #[test]
    fn an_odd_queue_size_is_rounded_down() {
        assert_eq!(Bench::new(|c| c.queue_max = 100).disk.queue_size(), 64);
    }

    /// DUR-3.
    #[test]
    fn durability_is_what_the_device_says() {
        let of = |features: Features, writeback: u8| {
            let bench = Bench::new(|c| {
                c.features = Features::REQUIRED | features;
                c.writeback = writeback;
            });
            bench.disk.durability()
        };
        assert_eq!(of(Features::FLUSH | Features::CONFIG_WCE, 0), Durability::OnCompletion);
        assert_eq!(of(Features::FLUSH | Features::CONFIG_WCE, 1), Durability::OnFlush);
        assert_eq!(of(Features::FLUSH, 0), Durability::OnFlush);
        assert_eq!(of(Features::empty(), 0), Durability::Unknown);
    }

    #[test]
    fn a_switched_write_cache_is_noticed() {
        let bench = Bench::new(|_| {});
        assert_eq!(bench.disk.durability(), Durability::OnFlush);
        bench.device.state().config.writeback = 0;
        bench.device.config_interrupt();
        assert_eq!(bench.disk.durability(), Durability::OnCompletion);
    }
}

mod io {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let bench = Bench::new(|_| {});
        let io = bench.start(BioOp::Write, 8, &pages::<3>(40));
        bench.device.run();
        assert_eq!(io.result(), Some(Ok(())));
        let back = pages::<3>(0);
        bench.start(BioOp::Read, 8, &back);
        bench.device.run();
        assert_eq!(back.map(|p| first_byte(&p)), [40, 41, 42]);
    }

    #[test]
    fn nothing_reaches_the_device_before_the_kick_and_one_kick_tells_all() {
        let bench = Bench::new(|_| {});
        let ios: Vec<_> = (0..16).map(|i| bench.submit(BioOp::Read, 8 * i, &pages::<1>(0))).collect();
        assert_eq!(bench.device.state().kicks, 0);
        assert_eq!(bench.device.fetch(), 0);
        bench.kick();
        bench.kick();
        assert_eq!(bench.device.state().kicks, 1);
        bench.device.run();
        assert!(ios.iter().all(|io| io.result() == Some(Ok(()))));
        assert_eq!(bench.device.state().interrupts, 1);
        assert_eq!(bench.disk.in_flight(), 0);
    }

    #[test]
    fn completions_come_in_any_order() {
        let bench = Bench::new(|_| {});
        let ios: Vec<_> = (0..8).map(|i| bench.start(BioOp::Read, 8 * i, &pages::<1>(0))).collect();
        bench.device.fetch();
        for n in (0..8).rev() {
            bench.device.finish(n);
            bench.device.interrupt();
            let ended: Vec<bool> = ios.iter().map(|io| io.result().is_some()).collect();
            let expected: Vec<bool> = (0..8).map(|i| i >= n).collect();
            assert_eq!(ended, expected);
        }
    }

    #[test]
    fn flush_discard_and_write_zeroes() {
        let bench = Bench::new(|_| {});
        let flush = bench.start_range(BioOp::Flush, 0, 0);
        let discard = bench.start_range(BioOp::Discard, 100, 1024 * 512);
        let zeroes = bench.start_range(BioOp::WriteZeroes, 8, 4096);
        bench.device.run();
        for io in [flush, discard, zeroes] {
            assert_eq!(io.result(), Some(Ok(())));
        }
        let page = pages::<1>(9);
        bench.start(BioOp::Read, 8, &page);
        bench.device.run();
        assert_eq!(first_byte(&page[0]), 0);
    }

    #[test]
    fn status_bytes_become_errors() {
        let bench = Bench::new(|_| {});
        let end_with = |status: Option<u8>, written: u32| {
            let io = bench.start(BioOp::Read, 0, &pages::<1>(0));
            bench.device.fetch();
            let request = bench.device.remove(0);
            bench.device.finish_with(&request, status, written);
            bench.device.interrupt();
            io.result().expect("returned")
        };
        assert_eq!(end_with(Some(0), 4097), Ok(()));
        assert_eq!(end_with(Some(0), 4096), Ok(()), "some devices do not count the status byte");
        assert_eq!(end_with(Some(0), 4095), Err(Errno::EIO), "a short read");
        assert_eq!(end_with(Some(1), 1), Err(Errno::EIO));
        assert_eq!(end_with(Some(2), 1), Err(Errno::EOPNOTSUPP));
        assert_eq!(end_with(Some(77), 1), Err(Errno::EIO));
        assert_eq!(end_with(None, 4097), Err(Errno::EIO), "the status was never written");
        assert!(!bench.disk.needs_attention());
    }

    #[test]
    fn sectors_past_the_end_are_refused_by_the_device() {
        let bench = Bench::new(|_| {});
        let io = bench.start(BioOp::Read, 2047, &pages::<1>(0));
        bench.device.run();
        assert_eq!(io.result(), Some(Err(Errno::EIO)));
    }

    #[test]
    fn the_identity_is_asked_once() {
        let bench = Bench::new(|_| {});
        let disk = bench.disk.clone();
        let asker = std::thread::spawn(move || (disk.identify(), disk.identify()));
        bench.device.wait_for_kick();
        bench.device.run();
        let (first, second) = asker.join().unwrap();
        assert_eq!(first, Ok(*b"scripted-disk-000001"));
        assert_eq!(second, first);
        assert_eq!(bench.device.state().kicks, 1);
    }
}

mod tables {
    use super::*;

    #[test]
    fn segments_that_touch_become_one_descriptor() {
        let bench = Bench::new(|_| {});
        let one = pages::<1>(0);
        let io = Io::new(&one);
        let mut bio = base::block::Bio::new(BioOp::Read, base::block::Sector(0), io);
        let part = |offset| base::block::Segment { page: one[0].clone(), offset, len: 512 };
        for offset in [0, 1024, 512, 1536, 2048] {
            bio.push(part(offset));
        }
        bio.submit_to(&*bench.disk);
        bench.kick();
        bench.device.fetch();
        let lens: Vec<u32> = bench.device.remove(0).data.iter().map(|d| d.1).collect();
        assert_eq!(lens, [512, 512, 512, 1024]);
        bench.device.state().stuck = true;
        bench.disk.check_timeouts(1);
        bench.disk.check_timeouts(2000);
    }

    #[test]
    fn a_segment_longer_than_the_device_takes_is_cut() {
        let bench = Bench::new(|c| {
            c.features |= Features::SIZE_MAX;
            c.size_max = 1536;
            c.seg_max = 7;
        });
        assert_eq!(bench.disk.limits().max_segments, 2, "three pieces a page, seven in all");
        let two = pages::<2>(5);
        let io = bench.start(BioOp::Write, 0, &two);
        bench.device.fetch();
        let request = bench.device.remove(0);
        assert!(request.data.iter().all(|d| d.1 <= 1536) && request.data.len() <= 7);
        assert_eq!(request.data.iter().map(|d| d.1).sum::<u32>(), 2 * PAGE_SIZE as u32);
        bench.device.finish_with(&request, Some(0), 1);
        bench.device.interrupt();
        assert_eq!(io.result(), Some(Ok(())));
    }
}

mod admission {
    use super::*;

    /// The bio ends with `error`, not inside submit, and the device never sees it.
    fn refused(bench: &Bench, io: &Arc<Io>, error: Errno) {
        assert_eq!(io.result(), None, "never inside submit");
        assert!(bench.disk.needs_attention());
        bench.disk.check_timeouts(0);
        assert_eq!(io.result(), Some(Err(error)));
        assert_eq!(bench.device.state().kicks, 0);
    }

    #[test]
    fn a_malformed_bio_never_reaches_the_device() {
        let bench = Bench::new(|c| {
            c.seg_max = 2;
            c.blk_size = 4096;
        });
        refused(&bench, &bench.start(BioOp::Read, 0, &pages::<3>(0)), Errno::EINVAL);
        refused(&bench, &bench.start(BioOp::Write, 0, &[]), Errno::EINVAL);
        refused(&bench, &bench.start(BioOp::Read, 1, &pages::<1>(0)), Errno::EINVAL);
        refused(&bench, &bench.start_range(BioOp::Discard, 0, 0), Errno::EINVAL);
        refused(&bench, &bench.start_range(BioOp::Discard, 0, 1025 * 512), Errno::EINVAL);
    }

    #[test]
    fn an_operation_that_was_not_negotiated_is_refused() {
        let bench = Bench::new(|c| c.features = Features::REQUIRED | Features::RO);
        refused(&bench, &bench.start_range(BioOp::Flush, 0, 0), Errno::EOPNOTSUPP);
        refused(&bench, &bench.start_range(BioOp::Discard, 0, 512), Errno::EROFS);
        refused(&bench, &bench.start(BioOp::Write, 0, &pages::<1>(0)), Errno::EROFS);
    }
}

mod pressure {
    use super::*;

    #[test]
    fn a_full_ring_kicks_and_puts_the_submitter_to_sleep() {
        let bench = Bench::new(|c| c.queue_max = 4);
        let ios: Vec<_> = (0..4).map(|i| bench.submit(BioOp::Read, 8 * i, &pages::<1>(0))).collect();
        let (disk, fifth) = (bench.disk.clone(), Io::new(&pages::<1>(0)));
        let bio = fifth.bio(BioOp::Read, 32);
        let submitter = std::thread::spawn(move || bio.submit_to(&*disk));
        bench.device.wait_for_kick();
        assert_eq!(bench.device.fetch(), 4, "the sleeper kicked what was in the ring");
        assert!(!submitter.is_finished(), "there is no room until something comes back");
        bench.device.finish(2);
        bench.device.interrupt();
        submitter.join().unwrap();
        assert_eq!(ios[2].result(), Some(Ok(())));
        bench.kick();
        bench.device.run();
        assert_eq!(fifth.result(), Some(Ok(())));
    }

    /// NOW-1: who has a slot set aside submits into a ring that is full for the others, and without a sleep.
    #[test]
    fn a_reserved_slot_is_kept_from_the_others() {
        let bench = Bench::new(|c| c.queue_max = 2);
        let device: Arc<dyn BlockDevice> = bench.disk.clone();
        let room = Room::reserve(&device).expect("the ring is empty");
        let first = bench.submit(BioOp::Write, 0, &pages::<1>(1));
        assert!(Room::reserve(&device).is_none(), "one slot is taken and one set aside");
        let (disk, third) = (bench.disk.clone(), Io::new(&pages::<1>(3)));
        let bio = third.bio(BioOp::Write, 16);
        let submitter = std::thread::spawn(move || bio.submit_to(&*disk));
        bench.device.wait_for_kick();
        let second = Io::new(&pages::<1>(2));
        {
            let _no_sleep = base::sched::NoSleep::begin();
            room.submit(second.bio(BioOp::Write, 8));
            bench.kick();
        }
        assert!(!submitter.is_finished(), "the free slot was set aside");
        bench.device.run();
        submitter.join().unwrap();
        bench.kick();
        bench.device.run();
        assert!([first, second, third].iter().all(|io| io.result() == Some(Ok(()))));
    }

    /// Room that is given back is there for who sleeps for it.
    #[test]
    fn a_slot_given_back_wakes_the_sleeper() {
        let bench = Bench::new(|c| c.queue_max = 1);
        let device: Arc<dyn BlockDevice> = bench.disk.clone();
        let room = Room::reserve(&device).expect("the ring is empty");
        let (disk, io) = (bench.disk.clone(), Io::new(&pages::<1>(0)));
        let bio = io.bio(BioOp::Read, 0);
        let submitter = std::thread::spawn(move || bio.submit_to(&*disk));
        while bench.disk.room.waiters() == 0 {
            std::thread::yield_now();
        }
        drop(room);
        submitter.join().unwrap();
        bench.kick();
        bench.device.run();
        assert_eq!(io.result(), Some(Ok(())));
        assert!(Room::reserve(&device).is_some());
    }

    /// A bio with a slot that finds the device broken ends as those that the device had, and never waits for the reset.
    #[test]
    fn a_reserved_bio_ends_when_the_device_is_broken() {
        let bench = Bench::new(|_| {});
        let device: Arc<dyn BlockDevice> = bench.disk.clone();
        let (room, other) = (Room::reserve(&device).expect("room"), Room::reserve(&device).expect("room"));
        bench.device.need_reset();
        assert!(Room::reserve(&device).is_none(), "no room on a broken device");
        let io = Io::new(&pages::<1>(0));
        room.submit(io.bio(BioOp::Read, 0));
        assert_eq!(io.result(), None, "never inside submit");
        bench.disk.check_timeouts(1);
        assert_eq!(io.result(), Some(Err(Errno::EIO)));
        let works = Io::new(&pages::<1>(0));
        other.submit(works.bio(BioOp::Read, 0));
        bench.kick();
        bench.device.run();
        assert_eq!(works.result(), Some(Ok(())), "room outlives a reset");
    }

    /// Batches of 63 through the wrap of the 16-bit indices: the step from 65490 to 17 is where a comparison that is not
    /// wrap-safe loses its kick.
    fn soak(features: Features) {
        let bench = Bench::new(|c| {
            c.features = features;
            c.queue_max = 64;
        });
        let page = pages::<1>(0);
        for batch in 0..1100u64 {
            let ios: Vec<_> = (0..63).map(|i| bench.submit(BioOp::Read, (batch + i) % 2000, &page)).collect();
            bench.kick();
            bench.device.run();
            assert!(ios.iter().all(|io| io.result() == Some(Ok(()))), "batch {batch}");
        }
        assert_eq!(bench.disk.in_flight(), 0);
    }

    #[test]
    fn many_requests_through_the_index_wrap() {
        soak(Config::default().features);
    }

    #[test]
    fn many_requests_through_the_index_wrap_without_event_index() {
        soak(Config::default().features - Features::EVENT_IDX);
    }

    /// Submitters, a device that reorders and the interrupt all at once.
    #[test]
    fn submitters_race_with_completions() {
        let bench = Arc::new(Bench::new(|c| c.queue_max = 8));
        let submitters: Vec<_> = (0..3u64)
            .map(|task| {
                let bench = bench.clone();
                std::thread::spawn(move || {
                    let page = pages::<1>(0);
                    let ios: Vec<_> = (0..400).map(|i| bench.start(BioOp::Read, task * 600 + i, &page)).collect();
                    ios
                })
            })
            .collect();
        bench.device.finish_as_they_come(1200);
        for submitter in submitters {
            assert!(submitter.join().unwrap().iter().all(|io| io.result() == Some(Ok(()))));
        }
    }
}

mod trouble {
    use super::*;

    /// The device broke the protocol: nothing ends until it was reset, and then everything with `EIO`.
    fn resets_and_recovers(bench: &Bench, ios: &[Arc<Io>]) {
        assert!(ios.iter().all(|io| io.result().is_none()), "the device may still write");
        let resets = bench.device.state().resets;
        bench.disk.check_timeouts(1);
        assert_eq!(bench.device.state().resets, resets + 2, "once to be quiet, once to begin again");
        assert!(ios.iter().all(|io| io.result() == Some(Err(Errno::EIO))));
        assert_eq!(bench.disk.in_flight(), 0);
        works(bench);
    }

    fn works(bench: &Bench) {
        let io = bench.start(BioOp::Read, 8, &pages::<1>(0));
        bench.device.run();
        assert_eq!(io.result(), Some(Ok(())));
    }

    fn three_in_flight(bench: &Bench) -> Vec<Arc<Io>> {
        let ios = (0..3).map(|i| bench.start(BioOp::Read, 8 * i, &pages::<1>(0))).collect();
        assert_eq!(bench.device.fetch(), 3);
        ios
    }

    fn breaks(lie: impl FnOnce(&Bench)) {
        let bench = Bench::new(|_| {});
        works(&bench);
        let ios = three_in_flight(&bench);
        lie(&bench);
        bench.device.interrupt();
        assert!(bench.disk.needs_attention());
        resets_and_recovers(&bench, &ios);
    }

    #[test]
    fn an_id_past_the_ring() {
        breaks(|b| b.device.lie(|rings| rings.push_used(16, 1)));
        breaks(|b| b.device.lie(|rings| rings.push_used(u32::MAX, 1)));
        breaks(|b| b.device.lie(|rings| rings.push_used(0x1_0000, 1)));
    }

    #[test]
    fn an_id_that_is_not_with_the_device() {
        breaks(|b| b.device.lie(|rings| rings.push_used(15, 1)));
    }

    #[test]
    fn an_id_returned_twice() {
        let bench = Bench::new(|_| {});
        let ios = three_in_flight(&bench);
        let request = bench.device.remove(0);
        bench.device.finish_with(&request, Some(0), 4097);
        bench.device.finish_with(&request, Some(0), 4097);
        bench.device.interrupt();
        assert_eq!(ios[0].result(), Some(Ok(())), "the first return was right");
        resets_and_recovers(&bench, &ios[1..]);
    }

    #[test]
    fn a_length_past_the_buffers() {
        breaks(|b| {
            let request = b.device.remove(0);
            b.device.finish_with(&request, Some(0), 4098);
        });
    }

    #[test]
    fn an_index_past_the_ring() {
        breaks(|b| b.device.lie(|rings| rings.jump_used(4)));
        breaks(|b| b.device.lie(|rings| rings.jump_used(u16::MAX)));
    }

    #[test]
    fn a_device_that_needs_reset() {
        let bench = Bench::new(|_| {});
        let ios = three_in_flight(&bench);
        bench.device.need_reset();
        assert!(bench.disk.needs_attention());
        resets_and_recovers(&bench, &ios);
    }

    #[test]
    fn a_silent_device_is_reset_after_the_timeout_and_not_before() {
        let bench = Bench::new(|_| {});
        let ios = three_in_flight(&bench);
        bench.disk.check_timeouts(5000);
        bench.disk.check_timeouts(5999);
        assert!(ios.iter().all(|io| io.result().is_none()));
        bench.disk.check_timeouts(6000);
        assert!(ios.iter().all(|io| io.result() == Some(Err(Errno::EIO))));
        works(&bench);
    }

    #[test]
    fn a_lost_interrupt_is_no_timeout() {
        let bench = Bench::new(|_| {});
        let ios = three_in_flight(&bench);
        bench.disk.check_timeouts(1);
        for _ in 0..3 {
            bench.device.finish(0);
        }
        let resets = bench.device.state().resets;
        bench.disk.check_timeouts(2000);
        assert!(ios.iter().all(|io| io.result() == Some(Ok(()))));
        assert_eq!(bench.device.state().resets, resets);
    }

    #[test]
    fn a_forgotten_kick_is_made_up() {
        let bench = Bench::new(|_| {});
        let io = bench.submit(BioOp::Read, 0, &pages::<1>(0));
        bench.disk.check_timeouts(1);
        bench.device.run();
        assert_eq!(io.result(), Some(Ok(())));
    }

    #[test]
    fn a_device_that_does_not_come_out_of_reset_keeps_its_pages() {
        let bench = Bench::new(|_| {});
        let page = pages::<1>(0);
        let io = bench.start(BioOp::Read, 0, &page);
        bench.device.fetch();
        let request = bench.device.remove(0);
        bench.device.state().stuck = true;
        bench.disk.check_timeouts(1);
        bench.disk.check_timeouts(1001);
        assert!(bench.disk.is_dead());
        assert_eq!(io.result(), None, "the device may still write to the page");
        hal::host::dma::write(request.data[0].0, b"late").expect("the page is still the device's");
        assert!(page[0].ref_count() > 1);

        // The disk is dead, not the machine: later bios end, though never inside submit.
        let later = bench.start(BioOp::Read, 0, &pages::<1>(0));
        assert_eq!(later.result(), None);
        bench.disk.check_timeouts(1002);
        assert_eq!(later.result(), Some(Err(Errno::EIO)));
        assert_eq!(bench.disk.identify(), Err(Errno::EIO));
    }

    #[test]
    fn a_device_that_comes_back_different_is_dead_and_its_bios_end() {
        let bench = Bench::new(|_| {});
        let ios = three_in_flight(&bench);
        bench.device.state().config.sectors = 1024;
        bench.device.need_reset();
        bench.disk.check_timeouts(1);
        assert!(bench.disk.is_dead());
        assert!(ios.iter().all(|io| io.result() == Some(Err(Errno::EIO))));
    }

    /// A submitter that sleeps at the full ring of a device that dies must not sleep for ever.
    #[test]
    fn death_wakes_sleeping_submitters() {
        let bench = Bench::new(|c| c.queue_max = 2);
        let _ios: Vec<_> = (0..2).map(|i| bench.submit(BioOp::Read, 8 * i, &pages::<1>(0))).collect();
        let (disk, third) = (bench.disk.clone(), Io::new(&pages::<1>(0)));
        let bio = third.bio(BioOp::Read, 16);
        let submitter = std::thread::spawn(move || bio.submit_to(&*disk));
        bench.device.wait_for_kick();
        bench.device.state().stuck = true;
        bench.disk.check_timeouts(1);
        bench.disk.check_timeouts(2000);
        submitter.join().unwrap();
        bench.disk.check_timeouts(2001);
        assert_eq!(third.result(), Some(Err(Errno::EIO)));
    }

    #[test]
    fn the_driver_is_shared_between_tasks_and_interrupts() {
        fn shared<T: Send + Sync>(_: &Arc<T>) {}
        let bench = Bench::new(|_| {});
        shared(&bench.disk);
        let _: &VirtioBlk<_> = &bench.disk;
    }
}
