//! A program file, and the interpreter it names, laid out in empty memory.
//!
//! ```text
//!   #!            the interpreter of the line is the program; the script's path is its argument (at most [`SCRIPTS`] times)
//!   PT_INTERP     both are mapped, and the interpreter (ld.so) runs first; it finds the program by the auxiliary vector
//!   neither       the program runs
//! ```
use super::elf::{HEAD_LEN, INTERPRETER_BASE, Image, PIE_BASE, Segment};
use super::{Credentials, stack};
use crate::files::read_at;
use crate::mm::{AddressSpace, Backing, MapRequest, PAGE, Placement, page_ceil, page_floor};
use alloc::vec::Vec;
use base::sync::Arc;
use base::{Errno, Result};
use fs::vfs::{File, FileType};
use hal::user::{Prot, USER_END, UserContext};
use linux_raw_sys::auxvec as aux;

/// The highest address of a stack.
pub const STACK_TOP: u64 = USER_END - PAGE;
/// The most a stack may grow, whatever its limit says.
const STACK_MAX: u64 = 64 << 20;
/// Never mapped, below the stack: an overflow faults instead of running into a mapping.
const GUARD: u64 = 1 << 20;
/// How many scripts may be each other's interpreters.
const SCRIPTS: usize = 4;
/// The longest first line of a script that is looked at.
const LINE: usize = 256;

/// What to run.
pub struct Program {
    /// The program file, open for reading.
    pub file: Arc<File>,
    /// Its path, for `/proc` and the program itself.
    pub path: Vec<u8>,
    /// The arguments, the program's name first.
    pub argv: Vec<Vec<u8>>,
    /// The environment.
    pub envp: Vec<Vec<u8>>,
}

/// How the loader opens the files that a program file names. Errors: those of open; `EACCES`: the caller may not run it.
pub type Open<'a> = &'a dyn Fn(&[u8]) -> Result<Arc<File>>;

/// For whom a program is loaded.
pub struct Runner {
    /// Who it is.
    pub credentials: Credentials,
    /// It gets no more rights than it has (`PR_SET_NO_NEW_PRIVS`).
    pub limited: bool,
    /// Bytes of stack that it may have.
    pub stack_limit: u64,
}

/// A program that can start.
pub struct Loaded {
    /// Its first registers.
    pub user: UserContext,
    /// Who it acts as. Of a script, its interpreter says so.
    pub credentials: Credentials,
}

/// Lays `program` out in the active address space `mm`, which is empty. A script becomes its interpreter: `program` is what runs
/// afterwards. Task context; sleeps. Errors: `ENOEXEC`, `E2BIG`, `ENOMEM`, `EIO`, `ELOOP` (too many scripts),
/// those of `open`.
pub fn load(mm: &AddressSpace, program: &mut Program, open: Open<'_>, runner: &Runner) -> Result<Loaded> {
    let head = resolve_scripts(program, open)?;
    let image = Image::parse(&head, PIE_BASE)?;
    let interpreter = match &image.interpreter {
        None => None,
        Some(place) => {
            let mut path = alloc::vec![0; (place.end - place.start) as usize];
            let n = read_at(&program.file, place.start, &mut path)?;
            let path = path.get(..n).and_then(|path| path.split(|&b| b == 0).next()).unwrap_or_default();
            let file = open(path)?;
            Some((Image::parse(&read_head(&file)?, INTERPRETER_BASE)?, file))
        }
    };
    map_image(mm, &program.file, &image)?;
    let mut entry = image.entry;
    if let Some((interpreter, file)) = &interpreter {
        map_image(mm, file, interpreter)?;
        entry = interpreter.entry;
    }
    mm.set_brk_start(image.end);
    let base = interpreter.map_or(0, |(interpreter, _)| interpreter.bias);
    let inode = program.file.inode.as_ref().ok_or(Errno::EACCES)?;
    let credentials = runner.credentials.of_program(inode, runner.limited);
    let sp = load_stack(mm, program, (&image, base), &credentials, runner.stack_limit)?;
    let user = UserContext::new(entry, sp).ok_or(Errno::ENOMEM)?;
    Ok(Loaded { user, credentials })
}

/// Replaces a script by the interpreter of its first line, until the program is none. Returns the beginning of the program file.
fn resolve_scripts(program: &mut Program, open: Open<'_>) -> Result<Vec<u8>> {
    for _ in 0..=SCRIPTS {
        let head = read_head(&program.file)?;
        let Some(line) = head.strip_prefix(b"#!") else { return Ok(head) };
        let (path, argument) = parse_script(line)?;
        let script = core::mem::replace(&mut program.path, path.clone());
        program.file = open(&path)?;
        let rest = program.argv.drain(..).skip(1);
        program.argv = [path].into_iter().chain(argument).chain([script]).chain(rest).collect();
    }
    Err(Errno::ELOOP)
}

/// The interpreter of a script's first line and the argument behind it, which is all the rest of the line. Errors: `ENOEXEC`.
fn parse_script(line: &[u8]) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
    let end = line.iter().take(LINE).position(|&b| b == b'\n').ok_or(Errno::ENOEXEC)?;
    let line = line.get(..end).unwrap_or_default().trim_ascii();
    let blank = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let (path, rest) = line.split_at(blank);
    if path.is_empty() {
        return Err(Errno::ENOEXEC);
    }
    let rest = rest.trim_ascii();
    Ok((path.to_vec(), (!rest.is_empty()).then(|| rest.to_vec())))
}

fn read_head(file: &Arc<File>) -> Result<Vec<u8>> {
    if file.inode.as_ref().is_none_or(|inode| inode.kind != FileType::Regular) {
        return Err(Errno::EACCES);
    }
    let mut head = alloc::vec![0; HEAD_LEN];
    let n = read_at(file, 0, &mut head)?;
    head.truncate(n);
    Ok(head)
}

fn map_image(mm: &AddressSpace, file: &Arc<File>, image: &Image) -> Result<()> {
    image.segments.iter().try_for_each(|segment| load_segment(mm, file, segment))
}

fn load_segment(mm: &AddressSpace, file: &Arc<File>, segment: &Segment) -> Result<()> {
    let start = page_floor(segment.file_backed.start);
    let file_end = page_ceil(segment.file_backed.end).ok_or(Errno::ENOEXEC)?;
    let end = page_ceil(segment.end).ok_or(Errno::ENOEXEC)?;
    let has_bytes = !segment.file_backed.is_empty();
    let zeros_from = if has_bytes { file_end } else { start };
    if has_bytes {
        let backing = Backing::File { file: file.clone(), offset: page_floor(segment.offset) };
        mm.map(fixed(start, file_end - start, segment.prot, backing))?;
        let tail = file_end.min(segment.end).saturating_sub(segment.file_backed.end);
        if tail > 0 {
            mm.zero_bytes(segment.file_backed.end, (file_end - segment.file_backed.end) as usize)?;
        }
    }
    if end > zeros_from {
        mm.map(fixed(zeros_from, end - zeros_from, segment.prot, Backing::Anonymous))?;
    }
    Ok(())
}

/// Maps stack and guard, and puts the first bytes on it. Returns the stack pointer.
fn load_stack(
    mm: &AddressSpace,
    program: &Program,
    (image, base): (&Image, u64),
    who: &Credentials,
    stack_limit: u64,
) -> Result<u64> {
    const NAMES: (u64, u64) = (aux::AT_EXECFN as u64, aux::AT_RANDOM as u64);
    let len = page_floor(stack_limit.clamp(PAGE * 32, STACK_MAX));
    let bottom = STACK_TOP - len;
    mm.map(fixed(bottom, len, Prot { read: true, write: true, exec: false }, Backing::Anonymous))?;
    mm.map(fixed(bottom - GUARD, GUARD, Prot { read: false, write: false, exec: false }, Backing::Anonymous))?;
    mm.set_mmap_top(bottom - GUARD);
    let mut random = [0; 16];
    crate::entropy::fill(&mut random);
    let auxv = [
        (aux::AT_PHDR.into(), image.phdr),
        (aux::AT_PHENT.into(), 56),
        (aux::AT_PHNUM.into(), image.phnum),
        (aux::AT_PAGESZ.into(), PAGE),
        (aux::AT_BASE.into(), base),
        (aux::AT_FLAGS.into(), 0),
        (aux::AT_ENTRY.into(), image.entry),
        (aux::AT_HWCAP.into(), hal::CpuInfo::hwcap()),
        (aux::AT_MINSIGSTKSZ.into(), super::delivery::min_signal_stack()),
        (aux::AT_CLKTCK.into(), 100),
        (aux::AT_SECURE.into(), u64::from(who.is_raised())),
        (aux::AT_UID.into(), who.uid.into()),
        (aux::AT_EUID.into(), who.euid.into()),
        (aux::AT_GID.into(), who.gid.into()),
        (aux::AT_EGID.into(), who.egid.into()),
    ];
    let built =
        stack::build(STACK_TOP, &program.argv, &program.envp, &auxv, (NAMES.0, &program.path), (NAMES.1, random))?;
    mm.write_bytes(built.sp, &built.bytes)?;
    Ok(built.sp)
}

fn fixed(start: u64, len: u64, prot: Prot, backing: Backing) -> MapRequest {
    MapRequest { placement: Placement::Fixed(start), len, prot, shared: false, backing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_script() {
        let parse = |line: &[u8]| parse_script(line).map(|(path, rest)| (path, rest.unwrap_or_default()));
        assert_eq!(parse(b" /bin/sh\necho"), Ok((b"/bin/sh".to_vec(), Vec::new())));
        assert_eq!(parse(b"/usr/bin/env -S  a b \n"), Ok((b"/usr/bin/env".to_vec(), b"-S  a b".to_vec())));
        assert_eq!(parse(b"\n"), Err(Errno::ENOEXEC));
        assert_eq!(parse(b"/bin/sh"), Err(Errno::ENOEXEC), "no end of line");
        assert_eq!(parse(&[b'x'; 4000]), Err(Errno::ENOEXEC));
    }
}
