//! Program files: ELF for x86-64, position independent or not, and their interpreters. Everything in them is checked; what is wrong
//! gives `ENOEXEC`.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use crate::mm::{PAGE, page_ceil, page_floor};
use alloc::vec::Vec;
use base::{Errno, Result};
use core::ops::Range;
use elf::abi::{EM_X86_64, ET_DYN, ET_EXEC, PF_R, PF_W, PF_X, PT_INTERP, PT_LOAD, PT_PHDR};
use elf::endian::LittleEndian;
use elf::file::{Class, FileHeader, parse_ident};
use elf::segment::{ProgramHeader, SegmentTable};
use hal::user::{Prot, USER_END};

/// How much of the file's beginning [`Image::parse`] looks at: the program headers must lie in it.
pub const HEAD_LEN: usize = PAGE as usize;
/// Bytes of the ELF header behind its identification.
const TAIL_LEN: usize = 48;
/// Bytes of a program header.
const PHDR_LEN: u64 = 56;
/// Where a position-independent program is put.
pub const PIE_BASE: u64 = 0x5555_5555_4000;
/// Where its interpreter is put: below the largest stack, above the other mappings.
pub const INTERPRETER_BASE: u64 = 0x7fff_e000_0000;
/// The longest path of an interpreter.
const PATH_MAX: u64 = linux_raw_sys::general::PATH_MAX as u64;

/// A run of memory that a program wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Addresses that get bytes of the file.
    pub file_backed: Range<u64>,
    /// Position of the first byte in the file; congruent to the address modulo the page size.
    pub offset: u64,
    /// End of the segment: from `file_backed.end` on it is zero.
    pub end: u64,
    /// What the program may do there.
    pub prot: Prot,
}

/// A program, as it is to be laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Where it starts.
    pub entry: u64,
    /// In order of address, no page in two of them.
    pub segments: Vec<Segment>,
    /// Address of the program headers, for the C library; 0 if they are not loaded.
    pub phdr: u64,
    /// How many there are.
    pub phnum: u64,
    /// What is added to the addresses in the file; 0 for a program that is not position independent.
    pub bias: u64,
    /// First address after the last segment, page aligned: where the heap begins.
    pub end: u64,
    /// Where in the file the path of its interpreter stands (`PT_INTERP`), with the final NUL.
    pub interpreter: Option<Range<u64>>,
}

impl Image {
    /// Checks the first bytes of a program file, at most [`HEAD_LEN`] of which are given. A position-independent one goes to
    /// `base`. Errors: `ENOEXEC`.
    pub fn parse(head: &[u8], base: u64) -> Result<Image> {
        let header = parse_header(head)?;
        let table_end =
            header.e_phoff.checked_add(u64::from(header.e_phnum).checked_mul(PHDR_LEN).ok_or(Errno::ENOEXEC)?);
        let table = usize::try_from(header.e_phoff)
            .ok()
            .zip(table_end.and_then(|end| usize::try_from(end).ok()))
            .and_then(|(from, to)| head.get(from..to))
            .ok_or(Errno::ENOEXEC)?;
        let bias = if header.e_type == ET_DYN { base } else { 0 };
        let phnum = header.e_phnum.into();
        let mut image = Image { entry: 0, segments: Vec::new(), phdr: 0, phnum, bias, end: 0, interpreter: None };
        let mut phdr = None;
        for program_header in SegmentTable::new(LittleEndian, Class::ELF64, table) {
            match program_header.p_type {
                PT_INTERP => image.interpreter = Some(interpreter(&program_header)?),
                PT_PHDR => phdr = Some(program_header.p_vaddr),
                PT_LOAD if program_header.p_memsz > 0 => image.add(&program_header, bias)?,
                _ => {}
            }
        }
        image.entry = header.e_entry.checked_add(bias).ok_or(Errno::ENOEXEC)?;
        image.phdr = match phdr {
            Some(addr) => addr.checked_add(bias).ok_or(Errno::ENOEXEC)?,
            None => image.address_of(header.e_phoff),
        };
        if image.segments.iter().any(|s| s.prot.exec && s.file_backed.contains(&image.entry)) {
            Ok(image)
        } else {
            Err(Errno::ENOEXEC)
        }
    }

    /// Takes a loadable segment in.
    fn add(&mut self, header: &ProgramHeader, bias: u64) -> Result<()> {
        let start = header.p_vaddr.checked_add(bias).ok_or(Errno::ENOEXEC)?;
        let file_end = start.checked_add(header.p_filesz).ok_or(Errno::ENOEXEC)?;
        let end = start.checked_add(header.p_memsz).filter(|&end| end < USER_END).ok_or(Errno::ENOEXEC)?;
        let prot = Prot {
            read: header.p_flags & (PF_R | PF_W | PF_X) != 0,
            write: header.p_flags & PF_W != 0,
            exec: header.p_flags & PF_X != 0,
        };
        let congruent = header.p_offset & (PAGE - 1) == start & (PAGE - 1);
        let in_order = page_floor(start) >= self.end.max(crate::mm::MMAP_MIN);
        let in_file = header.p_offset.checked_add(header.p_filesz).is_some_and(|end| i64::try_from(end).is_ok());
        if file_end > end || !congruent || !in_order || !in_file || (end > file_end && !prot.write) {
            return Err(Errno::ENOEXEC);
        }
        self.end = page_ceil(end).ok_or(Errno::ENOEXEC)?;
        self.segments.push(Segment { file_backed: start..file_end, offset: header.p_offset, end, prot });
        Ok(())
    }

    /// The address at which byte `offset` of the file is loaded; 0 if it is not.
    fn address_of(&self, offset: u64) -> u64 {
        let hit = self.segments.iter().find_map(|s| {
            let addr = s.file_backed.start.checked_add(offset.checked_sub(s.offset)?)?;
            s.file_backed.contains(&addr).then_some(addr)
        });
        hit.unwrap_or(0)
    }
}

/// Where the path of the interpreter stands. Errors: `ENOEXEC`: it is no path.
fn interpreter(header: &ProgramHeader) -> Result<Range<u64>> {
    let end = header.p_offset.checked_add(header.p_filesz).filter(|&end| i64::try_from(end).is_ok());
    let range = header.p_offset..end.ok_or(Errno::ENOEXEC)?;
    if (2..=PATH_MAX).contains(&header.p_filesz) { Ok(range) } else { Err(Errno::ENOEXEC) }
}

/// The ELF header, of the right machine. Errors: `ENOEXEC`.
fn parse_header(head: &[u8]) -> Result<FileHeader<LittleEndian>> {
    let ident = head.get(..16).ok_or(Errno::ENOEXEC)?;
    let tail = head.get(16..).and_then(|rest| rest.get(..TAIL_LEN)).ok_or(Errno::ENOEXEC)?;
    let ident = parse_ident::<LittleEndian>(ident).map_err(|_| Errno::ENOEXEC)?;
    let header = FileHeader::parse_tail(ident, tail).map_err(|_| Errno::ENOEXEC)?;
    let right = header.class == Class::ELF64
        && header.e_machine == EM_X86_64
        && (header.e_type == ET_EXEC || header.e_type == ET_DYN)
        && u64::from(header.e_phentsize) == PHDR_LEN;
    if right { Ok(header) } else { Err(Errno::ENOEXEC) }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
pub(super) mod tests {
    use super::*;
    use alloc::vec;

    fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
        bytes[at..at + value.len()].copy_from_slice(value);
    }

    /// A program of two segments: code at 0x400000 (the whole first page), data at 0x402100 with 0x1000 bytes of zeros behind.
    pub fn program() -> Vec<u8> {
        let mut file = vec![0; 0x1200];
        put(&mut file, 0, b"\x7fELF\x02\x01\x01");
        put(&mut file, 16, &2u16.to_le_bytes());
        put(&mut file, 18, &62u16.to_le_bytes());
        put(&mut file, 20, &1u32.to_le_bytes());
        put(&mut file, 24, &0x40_0200u64.to_le_bytes());
        put(&mut file, 32, &64u64.to_le_bytes());
        put(&mut file, 52, &64u16.to_le_bytes());
        put(&mut file, 54, &56u16.to_le_bytes());
        put(&mut file, 56, &2u16.to_le_bytes());
        phdr(&mut file, 0, 5, 0, 0x40_0000, 0x1000, 0x1000);
        phdr(&mut file, 1, 6, 0x1100, 0x40_2100, 0x100, 0x1100);
        put(&mut file, 0x1100, b"data");
        file
    }

    fn phdr(file: &mut [u8], i: usize, flags: u32, offset: u64, vaddr: u64, filesz: u64, memsz: u64) {
        let at = 64 + i * 56;
        put(file, at, &1u32.to_le_bytes());
        put(file, at + 4, &flags.to_le_bytes());
        for (k, value) in [offset, vaddr, vaddr, filesz, memsz, 0x1000].into_iter().enumerate() {
            put(file, at + 8 + k * 8, &value.to_le_bytes());
        }
    }

    fn parse(head: &[u8]) -> Result<Image> {
        Image::parse(head, PIE_BASE)
    }

    #[test]
    fn a_static_program_is_laid_out() {
        let image = parse(&program()[..HEAD_LEN]).unwrap();
        assert_eq!((image.entry, image.phdr, image.phnum, image.end), (0x40_0200, 0x40_0040, 2, 0x40_4000));
        assert_eq!(image.segments[1].file_backed, 0x40_2100..0x40_2200);
        assert_eq!((image.segments[1].offset, image.segments[1].end), (0x1100, 0x40_3200));
        assert!(image.segments[0].prot.exec && !image.segments[0].prot.write);
    }

    #[test]
    fn a_position_independent_program_is_moved() {
        let mut file = program();
        put(&mut file, 16, &3u16.to_le_bytes());
        assert_eq!(parse(&file).unwrap().entry, PIE_BASE + 0x40_0200);
    }

    #[test]
    fn an_interpreter_is_found_and_a_bad_one_refused() {
        let mut file = program();
        put(&mut file, 56, &3u16.to_le_bytes());
        phdr(&mut file, 2, 4, 0x800, 0x40_0800, 20, 20);
        put(&mut file, 64 + 2 * 56, &PT_INTERP.to_le_bytes());
        assert_eq!(parse(&file[..HEAD_LEN]).unwrap().interpreter, Some(0x800..0x814));
        for len in [0u64, 1, PATH_MAX + 1, u64::MAX] {
            put(&mut file, 64 + 2 * 56 + 32, &len.to_le_bytes());
            assert_eq!(parse(&file[..HEAD_LEN]), Err(Errno::ENOEXEC), "{len} bytes");
        }
    }

    #[test]
    fn corrupt_programs_are_refused() {
        let at = |offset: usize, value: &[u8]| {
            let mut file = program();
            put(&mut file, offset, value);
            parse(&file[..HEAD_LEN])
        };
        let max = u64::MAX.to_le_bytes();
        assert_eq!(at(0, b"\x7fELG"), Err(Errno::ENOEXEC), "magic");
        assert_eq!(at(4, &[1]), Err(Errno::ENOEXEC), "32 bits");
        assert_eq!(at(18, &3u16.to_le_bytes()), Err(Errno::ENOEXEC), "machine");
        assert_eq!(at(32, &max), Err(Errno::ENOEXEC), "table out of the file");
        assert_eq!(at(56, &u16::MAX.to_le_bytes()), Err(Errno::ENOEXEC), "too many headers");
        assert_eq!(at(24, &0x40_2100u64.to_le_bytes()), Err(Errno::ENOEXEC), "entry in data");
        assert_eq!(at(64 + 32, &max), Err(Errno::ENOEXEC), "file size overflow");
        assert_eq!(at(64 + 16, &max), Err(Errno::ENOEXEC), "address overflow");
        assert_eq!(at(64 + 56 + 40, &max), Err(Errno::ENOEXEC), "size overflow");
        assert_eq!(at(64 + 56 + 8, &0x1101u64.to_le_bytes()), Err(Errno::ENOEXEC), "offset not congruent");
        assert_eq!(at(64 + 56 + 16, &0x40_0100u64.to_le_bytes()), Err(Errno::ENOEXEC), "overlap");
        assert_eq!(at(64 + 56 + 32, &0x2000u64.to_le_bytes()), Err(Errno::ENOEXEC), "more file than memory");
        assert_eq!(at(64 + 56 + 4, &4u32.to_le_bytes()), Err(Errno::ENOEXEC), "zeros in read-only memory");
    }

    #[test]
    fn no_prefix_and_no_flipped_byte_panics() {
        let file = program();
        for len in 0..256 {
            let _ = parse(&file[..len]);
        }
        for at in 0..176 {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut file = program();
                file[at] = value;
                let _ = parse(&file[..HEAD_LEN]);
            }
        }
    }
}
