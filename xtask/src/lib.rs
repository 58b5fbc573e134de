//! The host tool behind the Makefile, as a library: the integration tests boot machines with the same code.
//!
//! | module | contents |
//! |---|---|
//! | [`build`], [`progress`] | cargo for the kernel and the ring-3 programs |
//! | [`image`], [`digests`] | disk images by e2fsprogs, and whether the bytes of their files are those the guest saw |
//! | [`packages`], [`cpio`] | images filled from Debian's packages, and its kernel; archives for an initramfs |
//! | [`interrupts`] | whether interrupts left the heap alone |
//! | [`nbd`] | a disk with a fixed latency |
//! | [`qemu`], [`console`], [`terminal`] | a virtual machine, its time limit, what it prints; the user's terminal as its own |
//! | [`symbols`] | names for the addresses of a panic |
//! | [`table`], [`linux`] | tables for people, and what Linux needs for the same |
//! | [`law`] | which crate may depend on which |
//! | [`run`], [`bootimage`], [`shell`], [`apps`], [`mod@test`], [`count`], [`demo`], [`lab`], [`museum`], [`numbers`], [`powercut`], [`fuzz`], [`syscalls`] | the commands |
pub mod apps;
pub mod bootimage;
pub mod build;
pub mod clock;
pub mod console;
pub mod count;
pub mod cpio;
pub mod demo;
pub mod digests;
pub mod fuzz;
pub mod image;
pub mod interrupts;
pub mod lab;
pub mod law;
pub mod linux;
pub mod museum;
pub mod nbd;
pub mod numbers;
pub mod packages;
pub mod powercut;
pub mod progress;
pub mod qemu;
pub mod rules;
pub mod run;
pub mod shell;
pub mod soak;
pub mod symbols;
pub mod syscalls;
pub mod table;
pub mod terminal;
pub mod test;
