//! In-kernel tests of the bare backend: what only a real CPU can show.
mod memory;
mod threads;
mod user_mode;
