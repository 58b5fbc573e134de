//! PVH direct boot: from 32-bit protected mode to `kernel_main`, with the loader's tables turned into a `BootInfo`.
//!
//! The loader enters with paging off and `ebx` pointing at a `hvm_start_info` (Xen, `arch-x86/hvm/start_info.h`). The
//! stub maps the first 4 GiB three times, with 2 MiB pages: at 0 for its own next instruction, at the physical map's
//! address, and the first GiB at the kernel's link address. The kernel replaces these tables soon.
#![allow(unsafe_code, reason = "the entry from the loader: raw memory and assembly")]
use crate::memory_map;
use bootloader_api::BootInfo;
use bootloader_api::info::{MemoryRegion, MemoryRegionKind, MemoryRegions};
use core::mem::MaybeUninit;
use core::ops::Range;

const PHYSMAP: u64 = 0xffff_8000_0000_0000;
const KERNEL_OFFSET: u64 = 0xffff_ffff_8000_0000;
/// What the stub maps.
const MAPPED: u64 = 4 << 30;
const START_INFO_MAGIC: u32 = 0x336e_c578;
const E820_RAM: u32 = 1;
const MAX_REGIONS: usize = 64;
/// Real-mode leftovers and the loader's own tables live there; a start-up page of another CPU will.
const LOW_MEMORY: Range<u64> = 0..0x10_0000;

core::arch::global_asm!(include_str!("pvh.s"), main = sym pvh_main, options(att_syntax));

#[repr(C)]
#[derive(Clone, Copy)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    module_count: u32,
    modules: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_len: u32,
    reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Module {
    start: u64,
    len: u64,
    command_line: u64,
    reserved: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct MapEntry {
    start: u64,
    len: u64,
    kind: u32,
    reserved: u32,
}

/// First Rust code after the stub: on the boot stack, interrupts off, `start_info` physical.
extern "C" fn pvh_main(start_info: u64) -> ! {
    let info: StartInfo =
        read_phys(start_info).filter(|i: &StartInfo| i.magic == START_INFO_MAGIC).unwrap_or_else(|| halt());
    if let Some(line) = command_line(info.command_line) {
        kernel::cmdline::set(line);
    }
    let ramdisk: Option<Module> = if info.module_count > 0 { read_phys(info.modules) } else { None };
    let ramdisk = ramdisk.filter(|module| module.start.checked_add(module.len).is_some_and(|end| end <= MAPPED));
    let regions = memory_regions(&info, ramdisk);

    // SAFETY: this runs once, and nothing else names the static.
    let boot_info = unsafe {
        static mut BOOT_INFO: MaybeUninit<BootInfo> = MaybeUninit::uninit();
        let slot = &raw mut BOOT_INFO;
        (*slot).write(BootInfo::new(regions))
    };
    boot_info.physical_memory_offset = Some(PHYSMAP).into();
    boot_info.rsdp_addr = Some(info.rsdp).filter(|&at| at != 0).into();
    // An address in the map of memory, as other loaders give it.
    boot_info.ramdisk_addr = ramdisk.map(|module| PHYSMAP + module.start).into();
    boot_info.ramdisk_len = ramdisk.map_or(0, |module| module.len);
    boot_info.kernel_image_offset = image().start + KERNEL_OFFSET;
    kernel::kernel_main(boot_info)
}

/// The physical range of the loaded kernel.
fn image() -> Range<u64> {
    unsafe extern "C" {
        static __kernel_start: u8;
        static __kernel_end: u8;
    }
    (&raw const __kernel_start) as u64 - KERNEL_OFFSET..(&raw const __kernel_end) as u64 - KERNEL_OFFSET
}

/// The loader's memory map, with what is in use cut out of the usable memory.
fn memory_regions(info: &StartInfo, ramdisk: Option<Module>) -> MemoryRegions {
    let ramdisk = ramdisk.map_or(0..0, |m| m.start & !0xfff..m.start.saturating_add(m.len).next_multiple_of(0x1000));
    let mut taken = [LOW_MEMORY, image(), ramdisk];
    taken.sort_by_key(|range| range.start);

    // SAFETY: this runs once, and nothing else names the static; an array of `MemoryRegion` has no uninitialised state.
    let regions = unsafe {
        static mut REGIONS: [MemoryRegion; MAX_REGIONS] = [MemoryRegion::empty(); MAX_REGIONS];
        core::slice::from_raw_parts_mut((&raw mut REGIONS).cast::<MemoryRegion>(), MAX_REGIONS)
    };
    let mut len = 0;
    let mut push = |range: Range<u64>, kind| {
        if let Some(slot) = regions.get_mut(len) {
            *slot = MemoryRegion { start: range.start, end: range.end, kind };
            len += 1;
        }
    };
    for range in &taken {
        if !range.is_empty() {
            push(range.clone(), MemoryRegionKind::Bootloader);
        }
    }
    for index in 0..u64::from(info.memory_map_len) {
        let entry: Option<MapEntry> = read_phys(info.memory_map + index * size_of::<MapEntry>() as u64);
        let Some(entry) = entry else { break };
        let range = entry.start..entry.start.saturating_add(entry.len);
        if entry.kind == E820_RAM {
            memory_map::subtract(range, &taken, |part| push(part, MemoryRegionKind::Usable));
        } else {
            push(range, MemoryRegionKind::UnknownBios(entry.kind));
        }
    }
    let (filled, _) = regions.split_at_mut(len);
    filled.into()
}

/// Copies the command line out of the loader's memory, which is not ours to keep.
fn command_line(phys: u64) -> Option<&'static [u8]> {
    const MAX: usize = 2048;
    static mut LINE: [u8; MAX] = [0; MAX];
    if phys == 0 {
        return None;
    }
    // SAFETY: this runs once, and nothing else names the static.
    let line = unsafe { core::slice::from_raw_parts_mut((&raw mut LINE).cast::<u8>(), MAX) };
    let mut len = 0;
    for (index, slot) in line.iter_mut().enumerate() {
        *slot = read_phys(phys + index as u64).filter(|&byte| byte != 0)?;
        len = index + 1;
        if read_phys(phys + len as u64).is_none_or(|next: u8| next == 0) {
            break;
        }
    }
    Some(&line[..len])
}

/// Reads a plain value that the loader left at `phys`; `None` past what the stub maps.
fn read_phys<T: Copy>(phys: u64) -> Option<T> {
    let end = phys.checked_add(size_of::<T>() as u64)?;
    if end > MAPPED {
        return None;
    }
    // SAFETY: the stub mapped the first 4 GiB at `PHYSMAP`; `T` is one of the plain integer structs above, for which
    // any bytes are valid.
    Some(unsafe { core::ptr::read_unaligned((PHYSMAP + phys) as *const T) })
}

/// Not entered by a PVH loader: there is nobody to tell.
fn halt() -> ! {
    loop {
        core::hint::spin_loop();
    }
}
