//! What the ring-3 programs share: raw system calls, the commands of the lab, a digest that the host compares, the modes of fallocate, and
//! the steps that the host has them play.
//!
//! Everything here speaks the Linux x86-64 ABI, so the same static binary runs on Linux and on Sluice.
pub mod digest;
pub mod lab;
pub mod oracle;
pub mod range;
pub mod rng;
pub mod step;
pub mod sys;
