//! Numbers from a seed, as the random operations have them.
pub use user::rng::Rng;
