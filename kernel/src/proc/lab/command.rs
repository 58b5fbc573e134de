//! The commands, and how they are written.
use base::block::BioOp;
use base::{Errno, Result};

/// A line that was written; the front page says what each does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Command<'a> {
    Hold(BioOp, u64),
    HoldEnd(BioOp, u64),
    Fail(BioOp, u64),
    Pass,
    Release,
    ReleaseRequest(usize),
    ReleaseStop(&'a str),
    WaitHeld(usize),
    WaitEnd(usize),
    Stop(&'a str, Option<u64>),
    WaitStop(&'a str),
    FailMemory(u64),
    #[cfg(feature = "museum")]
    GuardOff(&'a str),
    DropCaches(Option<u64>),
    Reset,
}

impl<'a> Command<'a> {
    /// Errors: `EINVAL`.
    pub(super) fn parse(line: &'a str) -> Result<Command<'a>> {
        let mut words = line.split_ascii_whitespace();
        let name = words.next().ok_or(Errno::EINVAL)?;
        let mut word = || words.next().ok_or(Errno::EINVAL);
        let command = match name {
            "hold" => Command::Hold(op(word()?)?, number(word()?)?),
            "hold-end" => Command::HoldEnd(op(word()?)?, number(word()?)?),
            "fail" => Command::Fail(op(word()?)?, number(word()?)?),
            "pass" => Command::Pass,
            // Anchors have names and requests have numbers.
            "release" => match word() {
                Err(_) => Command::Release,
                Ok(what) => number(what).map_or(Command::ReleaseStop(what), Command::ReleaseRequest),
            },
            "wait-held" => Command::WaitHeld(number(word()?)?),
            "wait-end" => Command::WaitEnd(number(word()?)?),
            "stop" => Command::Stop(word()?, word().ok().map(number).transpose()?),
            "wait-stop" => Command::WaitStop(word()?),
            "fail-memory" => Command::FailMemory(number(word()?)?),
            #[cfg(feature = "museum")]
            "guard-off" => Command::GuardOff(word()?),
            "drop-caches" => Command::DropCaches(word().ok().map(number).transpose()?),
            "reset" => Command::Reset,
            _ => return Err(Errno::EINVAL),
        };
        if words.next().is_some() { Err(Errno::EINVAL) } else { Ok(command) }
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

hal::ktest! {
    fn lab_commands_are_read_or_refused() {
        let parsed = [
            ("hold write 1", Command::Hold(BioOp::Write, 1)),
            (" wait-end 2 ", Command::WaitEnd(2)),
            ("release", Command::Release),
            ("release 7", Command::ReleaseRequest(7)),
            ("release S-9", Command::ReleaseStop("S-9")),
            ("stop F1", Command::Stop("F1", None)),
            ("stop F1 12", Command::Stop("F1", Some(12))),
        ];
        for (line, command) in parsed {
            assert_eq!(Command::parse(line), Ok(command));
        }
        let refused = ["", "hold", "hold write", "hold write x", "hold nothing 1", "pass 1", "wait-held -1", "open", "stop", "stop F1 x", "release 1 2"];
        for line in refused {
            assert_eq!(Command::parse(line), Err(Errno::EINVAL), "{line}");
        }
    }
}
