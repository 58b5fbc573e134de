//! What a booted kernel does with disks and programs, looked at from outside. One program, so that tests which mostly wait run beside others.
//! Whatever several CPUs could change is looked at with 1, 2 and 4.
//!
//! | file | what is looked at |
//! |---|---|
//! | `programs` | programs, their exit status, command lines |
//! | `rules` | the rules that ring 3 can see |
//! | `mmap` | mappings of files |
//! | `memory` | memory that processes share, and too little of it |
//! | `bad` | programs that do what they must not: the kernel says so and stays up |
//! | `clock` | the clock beside that of the host |
//! | `oracle` | random operations against a model, on the host build too |
//! | `abi` | locks, signals, timers, CPU times |
//! | `watchdog` | what a CPU, a lock or a wake-up that hangs says of itself |
//! | `terminal` | keys that are typed, and what they do to programs |
//! | `lab`, `demo` | races that are played step by step |
//! | `guest`, `recover` | workloads that the kernel plays for the power cut, a disk that stops, disks it recovers |
//! | `blklog` | the record of the block server beside that of QEMU's own |

/// Tests that are run with 1, 2 and 4 CPUs: `name::on_1_cpu` and so on.
macro_rules! on_cpus {
    ($($(#[$meta:meta])* fn $name:ident($cpus:ident: u32) -> Result<()> $body:block)*) => {$(
        $(#[$meta])*
        mod $name {
            use super::*;

            fn check($cpus: u32) -> Result<()> $body

            #[test]
            fn on_1_cpu() -> Result<()> {
                check(1)
            }
            #[test]
            fn on_2_cpus() -> Result<()> {
                check(2)
            }
            #[test]
            fn on_4_cpus() -> Result<()> {
                check(4)
            }
        }
    )*};
}

mod abi;
mod bad;
mod blklog;
mod clock;
mod demo;
mod guest;
mod lab;
mod memory;
mod mmap;
mod oracle;
mod programs;
mod recover;
mod rules;
mod terminal;
mod watchdog;
