//! From an open program file to a process that runs.
use super::elf::{HEAD_LEN, Image, Segment};
use super::run::run_thread;
use super::signal::SigSet;
use super::{ExitStatus, Process, ProgramFile, System, Thread, stack};
use crate::mm::{AddressSpace, Backing, MapRequest, PAGE, Placement, page_ceil, page_floor};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use base::sync::Arc;
use base::{Errno, Result, sched};
use fs::vfs::File;
use hal::user::{Prot, USER_END, UserContext};
use linux_raw_sys::{auxvec as aux, general as abi};

/// The highest address of a stack.
pub const STACK_TOP: u64 = USER_END - PAGE;
/// The most a stack may grow, whatever its limit says.
const STACK_MAX: u64 = 64 << 20;
/// Never mapped, below the stack: an overflow faults instead of running into a mapping.
const GUARD: u64 = 1 << 20;

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

/// Makes a process for `program` whose descriptors 0, 1 and 2 are `stdio`, and starts it. A file that is no program ends the
/// process with code 126 and a line on the log. `announce` sees the process before it runs. Errors: `ENOMEM`, those of `announce`.
/// Task context.
pub fn start_program(
    system: &Arc<System>,
    program: Program,
    stdio: &Arc<File>,
    announce: impl FnOnce(&Arc<Process>) -> Result<()>,
) -> Result<Arc<Process>> {
    let process = Process::new(system, 0)?;
    for _ in 0..3 {
        let fd = process.install(stdio.clone(), false)?;
        process.files.set_path(fd, b"/dev/console".to_vec());
    }
    *process.command.lock() = program.argv.clone();
    *process.program.lock() = ProgramFile::new(&program.path, &program.file);
    announce(&process)?;
    let thread = Thread::new(&process, process.pid, SigSet::default());
    process.add_thread(&thread)?;
    let data = thread.clone();
    let name = String::from_utf8_lossy(program.path.rsplit(|&b| b == b'/').next().unwrap_or_default()).into_owned();
    let entry = Box::new(move || {
        // In its own task, because loading writes to the new address space.
        thread.process.mm.activate();
        let user = load(&thread.process.mm, &program).unwrap_or_else(|e| {
            log::error!("cannot run {}: {e}", String::from_utf8_lossy(&program.path));
            thread.process.die(ExitStatus::Code(126));
            UserContext::new(0, 0)
        });
        drop(program);
        run_thread(&thread, user);
    });
    sched::spawn_with(&name, data, entry)?;
    Ok(process)
}

/// Lays the program out in the active address space `mm`, which is empty. Errors: `ENOEXEC`, `E2BIG`, `ENOMEM`, `EIO`.
fn load(mm: &AddressSpace, program: &Program) -> Result<UserContext> {
    let mut head = alloc::vec![0; HEAD_LEN];
    let n = crate::files::read_at(&program.file, 0, &mut head)?;
    let image = Image::parse(head.get(..n).unwrap_or_default())?;
    for segment in &image.segments {
        load_segment(mm, &program.file, segment)?;
    }
    mm.set_brk_start(image.end);
    let sp = load_stack(mm, program, &image)?;
    Ok(UserContext::new(image.entry, sp))
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
fn load_stack(mm: &AddressSpace, program: &Program, image: &Image) -> Result<u64> {
    const NAMES: (u64, u64) = (aux::AT_EXECFN as u64, aux::AT_RANDOM as u64);
    let limit = super::Limits::default().get(abi::RLIMIT_STACK).map_or(STACK_MAX, |limit| limit.soft);
    let len = page_floor(limit.clamp(PAGE * 32, STACK_MAX));
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
        (aux::AT_ENTRY.into(), image.entry),
        (aux::AT_HWCAP.into(), 0),
        (aux::AT_CLKTCK.into(), 100),
        (aux::AT_SECURE.into(), 0),
        (aux::AT_UID.into(), 0),
        (aux::AT_EUID.into(), 0),
        (aux::AT_GID.into(), 0),
        (aux::AT_EGID.into(), 0),
    ];
    let built =
        stack::build(STACK_TOP, &program.argv, &program.envp, &auxv, (NAMES.0, &program.path), (NAMES.1, random))?;
    mm.write_bytes(built.sp, &built.bytes)?;
    Ok(built.sp)
}

fn fixed(start: u64, len: u64, prot: Prot, backing: Backing) -> MapRequest {
    MapRequest { placement: Placement::Fixed(start), len, prot, shared: false, backing }
}
