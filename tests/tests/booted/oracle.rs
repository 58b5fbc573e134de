//! Random operations against a model: on the host build, and in the booted kernel.
use anyhow::{Result, ensure};
use tests::TestDisk;
use xtask::image::Spec;

/// Operations in the test run, on the host and in the booted kernel.
const OPS: usize = 100_000;

#[test]
fn random_operations_do_what_the_model_says() -> Result<()> {
    let done = tests::oracle::run(1, OPS, &mut |_| ())?;
    assert!(done >= OPS);
    Ok(())
}

#[test]
fn programs_that_have_failed_once_pass() -> Result<()> {
    assert!(tests::oracle::play_kept()? > 0);
    Ok(())
}

#[test]
fn random_operations_in_the_booted_kernel() -> Result<()> {
    for (block_size, cpus, seed, ops) in [(4096, 1, 1, OPS / 2), (1024, 2, 1000, OPS / 4), (2048, 4, 2000, OPS / 4)] {
        let disk = TestDisk::new(&Spec { block_size, ..Spec::default() }, &["soak"])?;
        let outcome = disk.run_ok_on(cpus, &format!("/bin/soak / {seed} {ops}"), 300)?;
        let last = outcome.console.lines.iter().rfind(|line| line.starts_with("soak: "));
        ensure!(last.is_some_and(|line| line.ends_with("operations, 0 failures")), "{last:?}");
    }
    Ok(())
}
