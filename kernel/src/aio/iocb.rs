//! The ABI's iocb and its validation.
use base::{Errno, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `struct iocb`
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Iocb {
    pub data: u64,
    pub key: u32,
    pub rw_flags: u32,
    pub opcode: u16,
    pub priority: i16,
    pub fd: u32,
    pub buf: u64,
    pub nbytes: u64,
    pub offset: i64,
    pub reserved2: u64,
    pub flags: u32,
    pub eventfd: u32,
}

/// Byte offset of `key`, which the kernel stores to at submission.
pub const KEY_OFFSET: u64 = 8;
/// The eventfd is to be signalled.
const FLAG_RESFD: u32 = 1;
/// `priority` is valid.
const FLAG_IOPRIO: u32 = 2;

/// The opcode of a request that does nothing.
const NOOP: u16 = 6;

/// What an iocb asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Opcode {
    Read { vectored: bool },
    Write { vectored: bool },
    Sync { data_only: bool },
    Poll { asked: u16 },
    Noop,
}

impl Iocb {
    /// Checks the fields that every iocb has (AIO-3): the first of all checks. Errors: `EINVAL`.
    pub fn check_fields(&self) -> Result<()> {
        let known = self.flags & !(FLAG_RESFD | FLAG_IOPRIO) == 0;
        if self.reserved2 == 0 && known && i64::try_from(self.nbytes).is_ok() { Ok(()) } else { Err(Errno::EINVAL) }
    }
    /// What it asks for, and the fields that belong to that (AIO-3, AIO-14, SYN-7): the last check before the flags of the
    /// request. Errors: `EINVAL`.
    pub fn opcode(&self) -> Result<Opcode> {
        if self.offset < 0 && self.moves_data() {
            return Err(Errno::EINVAL);
        }
        if self.flags & FLAG_IOPRIO != 0 && !valid_priority(self.priority as u16) {
            return Err(Errno::EINVAL);
        }
        match self.opcode {
            0 => Ok(Opcode::Read { vectored: false }),
            1 => Ok(Opcode::Write { vectored: false }),
            7 => Ok(Opcode::Read { vectored: true }),
            8 => Ok(Opcode::Write { vectored: true }),
            2 | 3 if self.buf != 0 || self.offset != 0 || self.nbytes != 0 || self.rw_flags != 0 => Err(Errno::EINVAL),
            2 => Ok(Opcode::Sync { data_only: false }),
            3 => Ok(Opcode::Sync { data_only: true }),
            5 if self.offset != 0 || self.nbytes != 0 || self.rw_flags != 0 => Err(Errno::EINVAL),
            5 => u16::try_from(self.buf).map(|asked| Opcode::Poll { asked }).map_err(|_| Errno::EINVAL),
            NOOP => Ok(Opcode::Noop),
            _ => Err(Errno::EINVAL),
        }
    }
    /// Whether it works on a file: the descriptor is looked at before the opcode is.
    pub fn needs_file(&self) -> bool {
        self.opcode != NOOP
    }
    /// The descriptor of the eventfd to signal.
    pub fn eventfd(&self) -> Option<u32> {
        (self.flags & FLAG_RESFD != 0).then_some(self.eventfd)
    }
    fn moves_data(&self) -> bool {
        matches!(self.opcode, 0 | 1 | 7 | 8)
    }
}

/// Class none with level 0, best effort or real time with levels 0 to 7, or idle.
fn valid_priority(priority: u16) -> bool {
    let (class, level) = (priority >> 13, priority & 0x1fff);
    match class {
        0 => level == 0,
        1 | 2 => level < 8,
        3 => true,
        _ => false,
    }
}

const _: () = assert!(size_of::<Iocb>() == 64, "the size in the ABI");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_iocbs_are_refused() {
        let good = Iocb { opcode: 1, nbytes: 512, ..Iocb::default() };
        assert_eq!(good.opcode(), Ok(Opcode::Write { vectored: false }));
        assert_eq!(good.check_fields(), Ok(()));
        for iocb in [Iocb { reserved2: 1, ..good }, Iocb { flags: 4, ..good }, Iocb { nbytes: u64::MAX, ..good }] {
            assert_eq!(iocb.check_fields(), Err(Errno::EINVAL), "{iocb:?}");
        }
        let bad = [
            Iocb { offset: -1, ..good },
            Iocb { opcode: 4, ..good },
            Iocb { opcode: 5, ..good },
            Iocb { opcode: 9, ..good },
            Iocb { opcode: 2, ..good },
            Iocb { flags: 2, priority: (4u16 << 13) as i16, ..good },
            Iocb { flags: 2, priority: 1, ..good },
        ];
        for iocb in bad {
            assert_eq!(iocb.opcode(), Err(Errno::EINVAL), "{iocb:?}");
        }
        let poll = Iocb { opcode: 5, buf: 0xffff, ..Iocb::default() };
        assert_eq!(poll.opcode(), Ok(Opcode::Poll { asked: 0xffff }));
        assert_eq!(Iocb { buf: 0x10000, ..poll }.opcode(), Err(Errno::EINVAL));
        assert_eq!(Iocb { flags: 2, priority: 2 << 13 | 7, ..good }.opcode(), good.opcode());
        assert_eq!(Iocb { flags: 1, eventfd: 9, ..good }.eventfd(), Some(9));
    }
}
