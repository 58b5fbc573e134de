//! Many random schedules of a model under shuttle (SEMANTICS A29), each from a seed of its own.
//!
//! | variable | meaning | otherwise |
//! |---|---|---|
//! | `MODEL_SCHEDULES` | how many schedules | 2,000 |
//! | `MODEL_SEED` | the seed of the first; each next one has the next number | 1 |
//!
//! Of two seeds one chooses each step at random, the other gives the tasks random priorities and changes these at three random steps:
//! that finds what needs few switches, but the right ones. A schedule that fails prints the command that plays it again.
use alloc::string::String;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Explores `model`; `package` and `target` are those of cargo, for the command. Use [`crate::explore!`].
pub fn schedules(package: &str, target: &str, model: impl Fn() + Send + Sync + Clone + 'static) {
    let first = number("MODEL_SEED", 1);
    for seed in first..first + number("MODEL_SCHEDULES", 2000) {
        let play = AssertUnwindSafe(|| play(seed, model.clone()));
        if let Err(panic) = catch_unwind(play) {
            let test = std::thread::current().name().map_or_else(String::new, String::from);
            std::eprintln!(
                "seed {seed} fails; again: MODEL_SEED={seed} MODEL_SCHEDULES=1 RUSTFLAGS='--cfg shuttle' cargo test --release \
                 --target-dir target/shuttle --package {package} --features base/testing --test {target} -- --exact {test}"
            );
            resume_unwind(panic);
        }
    }
}

fn play(seed: u64, model: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    // A model may be a whole file system.
    config.stack_size = 1 << 19;
    // The seed says it all, and is shorter.
    config.failure_persistence = shuttle::FailurePersistence::None;
    if seed.is_multiple_of(2) {
        Runner::new(RandomScheduler::new_from_seed(seed, 1), config).run(model);
    } else {
        // The first of the two runs counts the steps among which the second one chooses.
        Runner::new(PctScheduler::new_from_seed(seed, 3, 2), config).run(model);
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Explores a model under many schedules: [`schedules`].
#[macro_export]
macro_rules! explore {
    ($model:expr) => {
        $crate::explore::schedules(env!("CARGO_PKG_NAME"), env!("CARGO_CRATE_NAME"), $model)
    };
}
