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
}

impl Binary {
    /// The package it belongs to.
    pub fn package(self) -> &'static str {
        match self {
            Binary::Unit(package) | Binary::Integration(package, _) | Binary::Model(package, _) => package,
        }
    }
    /// The name of the cargo target.
    pub fn target(self) -> &'static str {
        match self {
            Binary::Unit(package) => package,
            Binary::Integration(_, target) | Binary::Model(_, target) => target,
        }
    }
    /// Whether it is built for loom.
    pub fn is_model(self) -> bool {
        matches!(self, Binary::Model(..))
    }
    /// How long one of its tests may take, on a busy machine.
    pub fn limit(self) -> std::time::Duration {
        // A few hundred recoveries, without optimisation, take their time too.
        let long = self.is_model() || self.package() == "tests";
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
const CUT: Binary = Binary::Integration("tests", "powercut");
const IOMAP_MODEL: Binary = Binary::Model("fs", "loom_iomap");

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
    exhibit("CRA-4", CUT, "cra4_the_log_is_emptied_when_all_is_at_its_place"),
    exhibit("revoke", CUT, "revoked_blocks_are_not_written_over_by_recovery"),
    exhibit("EXT-1", CUT, "r56_no_stale_block_shows"),
    exhibit("EXT-2", RACES, "log::ext2_finishes_never_outgrow_the_log"),
    deadlock("R75", RULES, "cache::r75_fsync_between_the_halves_of_a_folio"),
    exhibit("TRC-3", RULES, "truncate::trc3_a_tail_that_cannot_be_written_is_an_error"),
    exhibit("R51", RACES, "completion::r51_fdatasync_between_writeback_and_outcome"),
    exhibit("R53", RACES, "log::r53_size_pending_of_the_write_that_was_waited_for"),
    exhibit("R54", CUT, "r54_dsync_is_told_after_the_commit"),
];
