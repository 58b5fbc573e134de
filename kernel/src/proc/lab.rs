//! `/proc/sluice/lab`: a program holds and releases requests of the root disk (HK-2).
//!
//! The root disk stands behind a [`Gate`]. A program writes commands, a line each; a write returns when its last line was obeyed.
//!
//! | command | what it does |
//! |---|---|
//! | `hold OP N` | the next `N` requests of a kind (`read`, `write`, `flush`) are held before the disk |
//! | `hold-end OP N` | the disk does the next `N`, and their completions are held |
//! | `pass` | what is held before the disk goes to the disk, and is held again behind it |
//! | `release` | what is held goes on; rules that were not used up are taken back |
//! | `wait-held N` | sleeps until `N` requests are held, on either side of the disk |
//! | `wait-end N` | sleeps until the completions of `N` requests are held |
//!
//! Read, it shows one line for each request that is held: `held NUMBER OP SECTOR BYTES before|behind`.
//!
//! Errors: `EINVAL` for anything else, `ETIMEDOUT` for a wait that lasts too long. One program at a time experiments: two that
//! release at once would meet requests that the other has released already.
use alloc::boxed::Box;
use alloc::string::String;
use base::block::{BioOp, BlockDevice, Filter, Gate};
use base::sync::Arc;
use base::{Errno, Result, time};
use core::fmt::Write;
use fs::procfs::ProcFs;
use hal::sync::SpinLock;

/// No wait lasts longer, so that a wrong experiment ends.
const LIMIT_NS: u64 = 30_000_000_000;

/// The gate in front of the root disk, from its mount on.
static GATE: SpinLock<Option<Arc<Gate>>> = SpinLock::new(None);

/// Puts the gate in front of the root disk. Once, before the mount.
pub fn gated(disk: Arc<dyn BlockDevice>) -> Arc<dyn BlockDevice> {
    let gate = Gate::new(disk);
    *GATE.lock() = Some(gate.clone());
    gate
}

/// Adds the file. Errors: `ENODEV` without a gate.
pub(super) fn register(proc: &ProcFs) -> Result<()> {
    let gate = GATE.lock().clone().ok_or(Errno::ENODEV)?;
    let shown = gate.clone();
    proc.writable_file(
        "sluice/lab",
        Box::new(move |text| show(&shown, text)),
        Box::new(move |bytes| {
            let text = core::str::from_utf8(bytes).map_err(|_| Errno::EINVAL)?;
            text.lines().try_for_each(|line| Command::parse(line)?.obey(&gate))
        }),
    )
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Command {
    Hold(BioOp, u64),
    HoldEnd(BioOp, u64),
    Pass,
    Release,
    WaitHeld(usize),
    WaitEnd(usize),
}

impl Command {
    fn parse(line: &str) -> Result<Command> {
        let mut words = line.split_ascii_whitespace();
        let mut word = || words.next().ok_or(Errno::EINVAL);
        let command = match word()? {
            "hold" => Command::Hold(op(word()?)?, number(word()?)?),
            "hold-end" => Command::HoldEnd(op(word()?)?, number(word()?)?),
            "pass" => Command::Pass,
            "release" => Command::Release,
            "wait-held" => Command::WaitHeld(number(word()?)?),
            "wait-end" => Command::WaitEnd(number(word()?)?),
            _ => return Err(Errno::EINVAL),
        };
        if words.next().is_some() { Err(Errno::EINVAL) } else { Ok(command) }
    }

    /// Task context; the waits sleep.
    fn obey(self, gate: &Gate) -> Result<()> {
        let deadline_ns = time::now_ns().saturating_add(LIMIT_NS);
        let came = match self {
            Command::Hold(op, n) => {
                gate.hold(Filter::any().op(op).times(n));
                true
            }
            Command::HoldEnd(op, n) => {
                gate.hold_completions(Filter::any().op(op).times(n));
                true
            }
            Command::Pass => {
                gate.pass();
                true
            }
            Command::Release => {
                gate.open();
                true
            }
            Command::WaitHeld(n) => gate.wait_held_until(n, deadline_ns),
            Command::WaitEnd(n) => gate.wait_done(n, deadline_ns),
        };
        if came { Ok(()) } else { Err(Errno::ETIMEDOUT) }
    }
}

fn op(word: &str) -> Result<BioOp> {
    match word {
        "read" => Ok(BioOp::Read),
        "write" => Ok(BioOp::Write),
        "flush" => Ok(BioOp::Flush),
        _ => Err(Errno::EINVAL),
    }
}

fn number<T: core::str::FromStr>(word: &str) -> Result<T> {
    word.parse().map_err(|_| Errno::EINVAL)
}

fn show(gate: &Gate, text: &mut String) {
    let behind = gate.held_completions();
    for request in gate.held() {
        let side = if behind.contains(&request.number) { "behind" } else { "before" };
        let name = match request.op {
            BioOp::Read => "read",
            BioOp::Write => "write",
            BioOp::Flush => "flush",
            BioOp::Discard => "discard",
            BioOp::WriteZeroes => "write-zeroes",
        };
        let _ = writeln!(text, "held {} {name} {} {} {side}", request.number, request.sector.0, request.len_bytes);
    }
}

hal::ktest! {
    fn lab_commands_are_read_or_refused() {
        assert_eq!(Command::parse("hold write 1"), Ok(Command::Hold(BioOp::Write, 1)));
        assert_eq!(Command::parse(" wait-end 2 "), Ok(Command::WaitEnd(2)));
        for line in ["", "hold", "hold write", "hold write x", "hold nothing 1", "pass 1", "wait-held -1", "open"] {
            assert_eq!(Command::parse(line), Err(Errno::EINVAL), "{line}");
        }
    }
}
