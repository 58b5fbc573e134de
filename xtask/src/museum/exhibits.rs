//! Which test is there for which guard.

/// A test program.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Binary {
    /// The tests beside the code of a package.
    Unit(&'static str),
    /// A file of a package's folder `tests`.
    Integration(&'static str, &'static str),
    /// The same, a model under loom.
    Model(&'static str, &'static str),
    /// The same, a model under shuttle.
    Schedules(&'static str, &'static str),
}

impl Binary {
    /// The package it belongs to.
    pub fn package(self) -> &'static str {
        match self {
            Binary::Unit(package)
            | Binary::Integration(package, _)
            | Binary::Model(package, _)
            | Binary::Schedules(package, _) => package,
        }
    }
    /// The name of the cargo target.
    pub fn target(self) -> &'static str {
        match self {
            Binary::Unit(package) => package,
            Binary::Integration(_, target) | Binary::Model(_, target) | Binary::Schedules(_, target) => target,
        }
    }
    /// The checker that it is built for.
    pub fn checker(self) -> Option<&'static str> {
        match self {
            Binary::Unit(_) | Binary::Integration(..) => None,
            Binary::Model(..) => Some("loom"),
            Binary::Schedules(..) => Some("shuttle"),
        }
    }
    /// How long one of its tests may take, on a busy machine.
    pub fn limit(self) -> std::time::Duration {
        // A few hundred recoveries, without optimisation, take their time too.
        let long = self.checker().is_some() || self.package() == "tests";
        std::time::Duration::from_secs(if long { 60 } else { 10 })
    }
}

/// A guard with the test that catches its bug.
pub(super) struct Exhibit {
    /// The name in `guard!("NAME", ...)`.
    pub guard: &'static str,
    /// Where the test is.
    pub binary: Binary,
    /// Its path.
    pub test: &'static str,
    /// Whether the hazard is a deadlock: then a test that does not end has caught it.
    pub deadlock: bool,
}

const FS: Binary = Binary::Unit("fs");
const KERNEL: Binary = Binary::Unit("kernel");
const RACES: Binary = Binary::Integration("fs", "races");
const RULES: Binary = Binary::Integration("fs", "rules");
const JOURNAL: Binary = Binary::Integration("fs", "journal");
const CUT: Binary = Binary::Integration("tests", "powercut");
const DRIVERS: Binary = Binary::Unit("drivers");
const IDLE_MODEL: Binary = Binary::Model("base", "loom_idle");
const IOMAP_MODEL: Binary = Binary::Model("fs", "loom_iomap");
const FOLIO_MODEL: Binary = Binary::Model("fs", "loom_folio");
const QUEUE_MODEL: Binary = Binary::Model("fs", "loom_queue");
const VFS_MODEL: Binary = Binary::Model("fs", "loom_vfs");
const AIO_MODEL: Binary = Binary::Model("kernel", "loom_aio");
const IO_SCHEDULES: Binary = Binary::Schedules("fs", "shuttle_io");

const fn exhibit(guard: &'static str, binary: Binary, test: &'static str) -> Exhibit {
    Exhibit { guard, binary, test, deadlock: false }
}

const fn deadlock(guard: &'static str, binary: Binary, test: &'static str) -> Exhibit {
    Exhibit { guard, binary, test, deadlock: true }
}

/// The museum.
pub(super) const EXHIBITS: &[Exhibit] = &[
    exhibit("R01", RACES, "truncate::r01_trunc0_resurrect"),
    deadlock("R08", IOMAP_MODEL, "r08_drain_lost_wake"),
    exhibit("R03", RACES, "truncate::r03_write_after_free_block"),
    exhibit("R05", RACES, "ranges::r05_punch_resurrect"),
    exhibit("R06", RACES, "ranges::r06_zerorange_resurrect"),
    exhibit("R07", RACES, "ranges::r07_collapse_shift"),
    exhibit("R07", RACES, "ranges::r07_insert_shift"),
    exhibit("TRC-8", RACES, "ranges::r07_no_stale_folio"),
    exhibit("split", RACES, "ranges::r07_insert_beside_a_conversion"),
    exhibit("edge", RULES, "ranges::trc6_an_edge_under_writeback"),
    exhibit("R10", RACES, "truncate::r10_trunc_vs_sync_wt"),
    exhibit("R12", RACES, "readers::r12_reclaim_before_convert"),
    exhibit("R16", FS, "iomap::buffered_tests::r16_stale_mapping_does_not_zero_converted_data"),
    exhibit("R17", FS, "iomap::buffered_tests::r17_readahead_over_a_later_write"),
    exhibit("R19", FS, "iomap::buffered_tests::buf5_background_skips_and_integrity_waits"),
    exhibit("R13", RACES, "readers::r13_dread_zeroes"),
    exhibit("R29", RACES, "overlap::r29_overlap_two_aio"),
    exhibit("R37", RACES, "overlap::r37_shared_writers_torn"),
    exhibit("R32", RACES, "overlap::r32_append_pipeline"),
    exhibit("R38", IOMAP_MODEL, "r38_last_drop_exactly_once"),
    exhibit("R39", RACES, "completion::r39_waiter_uaf"),
    exhibit("R39", RACES, "completion::r39_queue_ends_in_interrupt"),
    deadlock("R40", IOMAP_MODEL, "r40_waiter_lost_wake"),
    exhibit("R43", RACES, "completion::r43_queue_create_fail"),
    exhibit("R44", RACES, "completion::r44_inline_vs_queued"),
    deadlock("R45", RACES, "completion::r45_worker_wants_inode_lock"),
    exhibit("R72", RACES, "overlap::r72_depth_collapse"),
    exhibit("R41", IOMAP_MODEL, "r41_first_error_wins"),
    exhibit("STB-2", FS, "page_cache::tests::fs4_write_through_leaves_other_blocks_dirty"),
    exhibit("STB-2", RACES, "readers::r20_stable_first_finisher"),
    exhibit("STB-4", KERNEL, "mm::store_tests::mm_1_stb_4_a_store_waits_for_the_write_through"),
    exhibit("MM-2", KERNEL, "mm::store_tests::r22_mkclean_window"),
    exhibit("MM-2", RULES, "stable::r23_pte_dirty_other_block"),
    exhibit("BUF-7", FS, "page_cache::tests::buf7_dirty_writeback_and_locked_folios_are_never_evicted"),
    exhibit("CRA-1", CUT, "cra1_a_commit_vouches_only_for_what_is_durable"),
    exhibit("CRA-3", CUT, "cra3_freed_blocks_wait_for_the_commit_that_frees_them"),
    exhibit("CRA-3", CUT, "cra3_punched_blocks_wait_for_the_commit_that_punches_them"),
    exhibit("CRA-3", CUT, "cra3_programs_of_the_oracle_survive_every_cut"),
    exhibit("fdatasync", JOURNAL, "fdatasync_of_a_directory_makes_its_names_durable"),
    exhibit("collapse", CUT, "trc8_a_collapse_is_all_or_nothing"),
    exhibit("CRA-4", CUT, "cra4_the_log_is_emptied_when_all_is_at_its_place"),
    exhibit("revoke", CUT, "revoked_blocks_are_not_written_over_by_recovery"),
    exhibit("EXT-1", CUT, "r56_no_stale_block_shows"),
    exhibit("EXT-2", RACES, "log::ext2_finishes_never_outgrow_the_log"),
    exhibit("EXT-2", RACES, "log::ext2_finishes_side_by_side_never_outgrow_the_log"),
    deadlock("R75", RULES, "cache::r75_fsync_between_the_halves_of_a_folio"),
    exhibit("TRC-3", RULES, "truncate::trc3_a_tail_that_cannot_be_written_is_an_error"),
    exhibit("R51", RACES, "completion::r51_fdatasync_between_writeback_and_outcome"),
    exhibit("R53", RACES, "log::r53_size_pending_of_the_write_that_was_waited_for"),
    exhibit("SIZE-1", RACES, "truncate::size1_a_finish_raises_no_size_behind_a_truncate"),
    exhibit("SIZE-2", RULES, "sizes::size2_d_size_is_at_most_i_size"),
    exhibit("R40-kick", DRIVERS, "virtio::blk::queue_tests::kicks::a_kick_follows_the_task_to_another_cpu"),
    exhibit("R40-wrap", DRIVERS, "virtio::queue::index::tests::a_batch_across_the_wrap_is_not_lost"),
    exhibit("R18", RACES, "readers::r18_dirty_neighbour_lost"),
    exhibit("R24", RULES, "submission::r24_eof_pollution"),
    exhibit("R26", RULES, "submission::r26_unsubmitted_wb_deadlock"),
    exhibit("R42", RULES, "completion::r42_queue_create_race"),
    deadlock("R46", RULES, "completion::r46_worker_self_deadlock"),
    exhibit("R49", RULES, "completion::r49_unlinked_last_ref"),
    exhibit("R52", RULES, "durability::r52_flush_before_completion"),
    exhibit("R58", FS, "vfs::errseq::tests::the_same_error_again_is_news"),
    exhibit("R64", RULES, "completion::r64_unmount_right_after_the_event"),
    deadlock("R73", RACES, "readers::r73_lock_across_device"),
    deadlock("R75-own", RULES, "cache::r75_split_extent_folio"),
    exhibit("EOF-3", RULES, "submission::eof3_the_gap_is_zeros_and_holes"),
    exhibit("ERR-3", RACES, "completion::r59_partial_bio_fail"),
    exhibit("ERR-6", RULES, "errors::r58_errseq_two_fds"),
    exhibit("FOL-2", FS, "page_cache::tests::r75_writeback_of_two_bios_ends_once_with_the_last"),
    exhibit("FOL-5", RULES, "cache::fol5_a_short_copy_marks_nothing_that_is_not_valid"),
    exhibit("SUB-5", RULES, "errors::err5_sub5_nothing_is_sent_after_an_error"),
    exhibit("FOL-2", FOLIO_MODEL, "m5_r75_a_store_waits_for_both_halves"),
    exhibit("STB-2", FOLIO_MODEL, "m5_r22_a_store_is_written_or_dirty"),
    exhibit("R42", QUEUE_MODEL, "m3_r42_two_first_users_share_one_queue"),
    exhibit("R58", VFS_MODEL, "m7_r58_the_same_error_again_is_news"),
    exhibit("R63", VFS_MODEL, "m8_r63_nobody_writes_in_a_frozen_super_block"),
    deadlock("R69", AIO_MODEL, "m6_r69_nobody_sleeps_beside_the_events_it_needs"),
    exhibit("AIO-12", AIO_MODEL, "m6_r66_destroy_waits_for_the_last_request"),
    exhibit("SIZE-1", IO_SCHEDULES, "m9_r01_a_write_beside_a_truncate"),
    exhibit("SIZE-2", IO_SCHEDULES, "m9_r04_a_finish_beside_an_extending_truncate"),
    exhibit("R66", KERNEL, "aio::ring::tests::r66_only_the_first_destroyer_succeeds"),
    exhibit("R68", KERNEL, "aio::ring::tests::r68_slots_come_back_when_events_are_reaped"),
    exhibit("AIO-15", KERNEL, "aio::mapped::tests::aio_15_a_wild_head_takes_no_more_than_there_is"),
    exhibit("AIO-7", KERNEL, "aio::tests::aio_7_events_of_a_failed_copy_stay_in_the_ring"),
    exhibit("NOW-1", RULES, "now::now1_freeze_inode_lock_range_lock_and_extent_lock"),
    exhibit("NOW-2", RULES, "now::now2_a_synchronous_call"),
    exhibit("R71-fork", KERNEL, "mm::fork_tests::r71_a_frame_that_a_device_stores_to_stays_the_parents"),
    exhibit("last-look", IDLE_MODEL, "a_cpu_about_to_halt_sees_the_task_or_is_called"),
    exhibit("R54", CUT, "r54_dsync_is_told_after_the_commit"),
];
