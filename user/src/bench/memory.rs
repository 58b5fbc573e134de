//! Rows of memory: page faults and mappings.
//!
//! The pages are of 4 KiB on every kernel: Linux is told not to take 2 MiB at one fault, which it may do where a mapping has room for it.
use crate::meter::{Meter, failed};
use crate::rows::{Row, RunResult, row, with_file};
use crate::setup::FILE_PAGES;
use linux_raw_sys::general as abi;
use user::sys::{self, EINVAL, FileMap, MapKind, Memory, PAGE, raw};

/// Pages of the anonymous mapping whose pages are touched.
const ANON_PAGES: u64 = 4096;
/// Pages of the mapping that comes and goes.
const BRIEF_PAGES: usize = 16;

/// Faults and mappings.
pub fn rows() -> Vec<Row> {
    vec![
        row("fault_anon", 8_000, "first store to a page of an anonymous mapping", |_, m| touch_anonymous(m)),
        row("fault_file", 16_000, "first load from a page of a mapping of a cached file, in order", |p, m| {
            with_file(p, 0, |fd| {
                let kind = MapKind { write: false, shared: false };
                let map = FileMap::new(fd, FILE_PAGES as usize * PAGE, kind).map_err(failed)?;
                // What the bytes are depends on the rows before; a page that cannot be had ends the program by SIGBUS.
                m.each(FILE_PAGES, |i| {
                    std::hint::black_box(map.get(i as usize * PAGE));
                    Ok(())
                })
            })
        }),
        row("mmap_munmap", 10_000, "map 64 KiB of memory and unmap it, untouched", |_, m| {
            m.each(u64::MAX, |_| unmap(anonymous(BRIEF_PAGES)?))
        }),
        row("mmap_touch_munmap", 2_000, "the same, with a store to each of its 16 pages", |_, m| {
            m.each(u64::MAX, |_| {
                let memory = anonymous(BRIEF_PAGES)?;
                (0..BRIEF_PAGES).for_each(|page| memory.set(page * PAGE, &[1]));
                unmap(memory)
            })
        }),
    ]
}

fn touch_anonymous(m: &mut Meter) -> RunResult {
    let memory = anonymous(ANON_PAGES as usize).map_err(failed)?;
    let (at, len) = (memory.addr(0), memory.len() as u64);
    // A kernel without such pages need not know the advice.
    let _ = raw(abi::__NR_madvise, [at, len, abi::MADV_NOHUGEPAGE.into(), 0, 0, 0]);
    m.each(ANON_PAGES, |i| {
        memory.set(i as usize * PAGE, &[1]);
        Ok(())
    })?;
    let fresh = memory.get(PAGE - 1, 1) == [0] && memory.get(0, 1) == [1];
    unmap(memory).and(if fresh { Ok(()) } else { Err(EINVAL) }).map_err(failed)
}

/// Memory of the program's own.
fn anonymous(pages: usize) -> sys::Result<Memory> {
    let (rw, flags) = (abi::PROT_READ | abi::PROT_WRITE, abi::MAP_PRIVATE | abi::MAP_ANONYMOUS);
    let at = raw(abi::__NR_mmap, [0, (pages * PAGE) as u64, rw.into(), flags.into(), u64::MAX, 0])?;
    Ok(Memory::of_kernel(at, pages * PAGE))
}

/// Gives it back; nothing refers to it.
fn unmap(memory: Memory) -> sys::Result<()> {
    raw(abi::__NR_munmap, [memory.addr(0), memory.len() as u64, 0, 0, 0, 0]).map(drop)
}
