//! Random operations against a model, on the host build.
use anyhow::Result;

/// Operations in the test run.
const OPS: usize = 20_000;

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
