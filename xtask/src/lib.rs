//! The host tool behind the Makefile, as a library: the integration tests boot machines with the same code.
//!
//! | module | contents |
//! |---|---|
//! | [`build`] | cargo for the kernel and the ring-3 programs |
//! | [`image`] | disk images by e2fsprogs |
//! | [`qemu`], [`console`] | a virtual machine, its time limit, what it prints |
//! | [`symbols`] | names for the addresses of a panic |
//! | [`law`] | which crate may depend on which |
//! | [`run`], [`test`] | the commands |
pub mod build;
pub mod console;
pub mod image;
pub mod law;
pub mod qemu;
pub mod run;
pub mod symbols;
pub mod test;
