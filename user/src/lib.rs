//! What the ring-3 programs share: raw system calls, and a digest that the host compares.
//!
//! Everything here speaks the Linux x86-64 ABI, so the same static binary runs on Linux and on Sluice.
pub mod digest;
pub mod oracle;
pub mod rng;
pub mod sys;
