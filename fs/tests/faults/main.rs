//! Faults while it runs: each request to the disk, each block and each piece of memory fails in turn (ERR-11, DUR-9, SHD-2). After each
//! nothing is in flight (CTX-9), every error was told to somebody, unmount works, and a healthy disk with what is left passes
//! `e2fsck` and holds what was promised. No sleeps.
//!
//! | file | contents |
//! |---|---|
//! | `image` | the images, and the judgement on what is left of one |
//! | `ledger` | what a file may hold after what was promised |
//! | `workload` | the calls |
//! | `requests` | `EIO` for each read, write and flush in turn |
//! | `mount` | a recovery in which each request and each allocation fails |
//! | `device` | disks that stop, reset, shrink, refuse writes |
//! | `space` | a full disk, with each number of blocks left |
//! | `memory` | each allocation fails in turn |
#![cfg(not(any(loom, shuttle)))]
#[path = "../races/calls.rs"]
mod calls;
mod device;
mod image;
mod ledger;
mod memory;
mod mount;
mod requests;
mod space;
#[path = "../races/stage.rs"]
mod stage;
mod workload;
