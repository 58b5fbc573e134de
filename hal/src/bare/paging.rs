//! The kernel half of the address space.
//!
//! ```text
//! 0xffff_8000_0000_0000  all RAM, writable and never executable; the kernel's text and constants read-only here too
//! 0xffff_a000_0000_0000  the heap's window, grows
//! 0xffff_b000_0000_0000  kernel stacks, each above an unmapped guard
//! 0xffff_c000_0000_0000  device memory, uncached
//! 0xffff_ffff_8020_0000  the kernel's image: text (RX), constants (R), data (RW)
//! ```
//!
//! No page is writable and executable, counting aliases: what the image maps read-only or executable is read-only in the
//! physical map (in-kernel test `write_xor_execute`). The first-level entries of every window are made once, before the
//! first user address space, which copies them: so all address spaces see all later changes.
use super::sync::IrqLock;
use super::tables::{self, Entry};
use super::{frames, image};
use crate::PAGE_SIZE;
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use x86_64::VirtAddr;
use x86_64::instructions::tlb;
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::paging::{PageTableFlags as Flags, PhysFrame};

/// Where all RAM is mapped.
pub const PHYSMAP_BASE: u64 = 0xffff_8000_0000_0000;
/// The heap's window.
pub(super) const HEAP_WINDOW: Range<u64> = 0xffff_a000_0000_0000..0xffff_a080_0000_0000;
/// The window of kernel stacks.
pub(super) const STACK_WINDOW: Range<u64> = 0xffff_b000_0000_0000..0xffff_b080_0000_0000;
/// The window of device memory.
const MMIO_WINDOW: Range<u64> = 0xffff_c000_0000_0000..0xffff_c080_0000_0000;

const PAGE: u64 = PAGE_SIZE as u64;
const LARGE_PAGE: u64 = 2 << 20;
const READ_ONLY: Flags = Flags::PRESENT.union(Flags::GLOBAL).union(Flags::NO_EXECUTE);
const READ_WRITE: Flags = READ_ONLY.union(Flags::WRITABLE);
const EXECUTE: Flags = Flags::PRESENT.union(Flags::GLOBAL);
const DEVICE: Flags = READ_WRITE.union(Flags::NO_CACHE).union(Flags::WRITE_THROUGH);

/// The root table of the kernel; 0 before [`init`].
static ROOT: AtomicU64 = AtomicU64::new(0);
/// Guards all changes of the kernel half, and the next free address for device memory.
static NEXT_MMIO: IrqLock<u64> = IrqLock::new(MMIO_WINDOW.start);

/// Where the byte of RAM at `phys` is mapped.
#[inline(always)]
pub fn phys_to_virt(phys: u64) -> *mut u8 {
    (PHYSMAP_BASE + phys) as *mut u8
}

/// The physical address behind a mapped kernel address, or `None` where nothing is mapped.
pub fn virt_to_phys(virt: *const u8) -> Option<u64> {
    let root = ROOT.load(Ordering::Relaxed);
    if root == 0 || (virt as u64) < PHYSMAP_BASE {
        return None;
    }
    translate(root, virt as u64)
}

/// The root table of the kernel.
pub(super) fn kernel_root() -> u64 {
    ROOT.load(Ordering::Relaxed)
}

fn translate(root: u64, virt: u64) -> Option<u64> {
    // SAFETY: tables of the kernel half are never freed.
    let (entry, level) = unsafe { tables::find(root, virt, 1) }?;
    let offset_mask = (1u64 << (12 + 9 * (u32::from(level) - 1))) - 1;
    entry.is_present().then(|| (entry.phys() & !offset_mask) | (virt & offset_mask))
}

/// Builds the final tables from frames that `alloc` gives, and loads them. `ram` are the ranges to map at
/// [`PHYSMAP_BASE`]. The loader's tables must map all frames that `alloc` gives there.
pub(super) fn init(ram: &[Range<u64>], alloc: &mut dyn FnMut() -> Option<u64>) -> Option<()> {
    let loader_root = Cr3::read().0.start_address().as_u64();
    let root = alloc()?;
    // SAFETY: the frame is ours.
    unsafe { core::ptr::write_bytes(phys_to_virt(root), 0, PAGE_SIZE) };
    for range in ram {
        map_physmap(root, range.clone(), alloc)?;
    }
    for (part, flags) in [(image::text(), EXECUTE), (image::rodata(), READ_ONLY), (image::data(), READ_WRITE)] {
        for virt in part.step_by(PAGE_SIZE) {
            let phys = translate(loader_root, virt)?;
            // SAFETY: the table is not loaded yet and ours alone.
            unsafe { tables::find_or_make(root, virt, 1, alloc) }?.set(phys, flags);
            if !flags.contains(Flags::WRITABLE) {
                protect_alias(root, phys, alloc)?;
            }
        }
    }
    for window in [HEAP_WINDOW, STACK_WINDOW, MMIO_WINDOW] {
        // SAFETY: as above.
        unsafe { tables::find_or_make(root, window.start, 3, alloc) }?;
    }
    ROOT.store(root, Ordering::Relaxed);
    // SAFETY: the new tables map the running code, its data and its stack (in the image or in RAM) as before.
    unsafe { load_root(root) };
    Some(())
}

/// Loads CR3.
///
/// # Safety
///
/// `root` must be a root table with the kernel half in it, which stays until another is loaded. Interrupts are off.
pub(super) unsafe fn load_root(root: u64) {
    let cpu = super::percpu::this_cpu();
    // Shown before and after, for CPUs that change the tables: L1 to L3 of `shootdown`.
    cpu.next_root.store(root, Ordering::SeqCst);
    let frame = PhysFrame::containing_address(x86_64::PhysAddr::new(root));
    // SAFETY: the caller's promise.
    unsafe { Cr3::write(frame, Cr3Flags::empty()) };
    cpu.active_root.store(root, Ordering::Release);
    cpu.next_root.store(0, Ordering::Release);
}

/// Maps whole pages of RAM, with large pages where they fit.
fn map_physmap(root: u64, ram: Range<u64>, alloc: &mut dyn FnMut() -> Option<u64>) -> Option<()> {
    let mut phys = ram.start.next_multiple_of(PAGE);
    while phys + PAGE <= ram.end {
        let large = phys.is_multiple_of(LARGE_PAGE) && phys + LARGE_PAGE <= ram.end;
        let virt = PHYSMAP_BASE + phys;
        // SAFETY: the table is not loaded yet and ours alone.
        let entry = unsafe { tables::find_or_make(root, virt, if large { 2 } else { 1 }, alloc) }?;
        entry.set(phys, if large { READ_WRITE | Flags::HUGE_PAGE } else { READ_WRITE });
        phys += if large { LARGE_PAGE } else { PAGE };
    }
    Some(())
}

/// Takes the right to write away from the page of the physical map at `phys`, splitting a large page.
fn protect_alias(root: u64, phys: u64, alloc: &mut dyn FnMut() -> Option<u64>) -> Option<()> {
    let virt = PHYSMAP_BASE + phys;
    // SAFETY: the table is not loaded yet and ours alone.
    let Some((entry, level)) = (unsafe { tables::find(root, virt, 1) }) else { return Some(()) };
    if level == 2 {
        split(entry, alloc)?;
    }
    // SAFETY: as above.
    let (entry, _) = unsafe { tables::find(root, virt, 1) }?;
    entry.update(Flags::empty(), Flags::WRITABLE);
    Some(())
}

/// Replaces a 2 MiB page by a table of 512 small ones with the same rights.
fn split(entry: &Entry, alloc: &mut dyn FnMut() -> Option<u64>) -> Option<()> {
    let frame = alloc()?;
    // SAFETY: the frame is ours, and becomes a table right here.
    let table = unsafe { tables::table_at(frame) };
    for (index, small) in table.iter().enumerate() {
        small.set(entry.phys() + index as u64 * PAGE, entry.flags() - Flags::HUGE_PAGE);
    }
    entry.set(frame, tables::TABLE);
    Some(())
}

/// Maps a free frame into a kernel window, readable and writable. False when memory for a table is short.
pub(super) fn map_kernel_page(virt: u64, phys: u64) -> bool {
    map_page(virt, phys, READ_WRITE)
}

fn map_page(virt: u64, phys: u64, flags: Flags) -> bool {
    let _tables = NEXT_MMIO.lock();
    // SAFETY: the lock excludes other changes; kernel tables are never freed.
    let entry = unsafe { tables::find_or_make(kernel_root(), virt, 1, &mut frames::alloc_table) };
    let Some(entry) = entry else { return false };
    debug_assert!(entry.is_unused(), "{virt:#x} is mapped");
    entry.set(phys, flags);
    true
}

/// Maps `len` bytes of device memory from `phys`, uncached, for ever. Neither need be aligned. `None` when memory or
/// the window for such mappings is exhausted, or if the range overlaps RAM. Task context.
pub fn map_mmio(phys: u64, len: usize) -> Option<NonNull<u8>> {
    let start = phys & !(PAGE - 1);
    let end = phys.checked_add(len as u64)?.checked_next_multiple_of(PAGE)?;
    if len == 0 || end > 1 << 52 || frames::overlaps_ram(start..end) {
        return None;
    }
    let virt = {
        let mut next = NEXT_MMIO.lock();
        let virt = *next;
        // One page between two mappings stays free, so that running off the end of one faults.
        let after = virt.checked_add(end - start + PAGE)?;
        if after > MMIO_WINDOW.end {
            return None;
        }
        *next = after;
        virt
    };
    for offset in (0..end - start).step_by(PAGE_SIZE) {
        if !map_page(virt + offset, start + offset, DEVICE) {
            return None;
        }
    }
    NonNull::new((virt + (phys - start)) as *mut u8)
}

/// Forgets what this CPU cached about the page at `virt`.
pub(super) fn flush(virt: u64) {
    tlb::flush(VirtAddr::new_truncate(virt));
}

/// Calls `visit(virtual address, physical address, bytes, flags)` for each mapped page of the active tables.
#[cfg(feature = "ktest")]
pub(super) fn for_each_page(visit: &mut dyn FnMut(u64, u64, u64, Flags)) {
    fn walk(table: u64, level: u8, base: u64, visit: &mut dyn FnMut(u64, u64, u64, Flags)) {
        let size = 1u64 << (12 + 9 * (u32::from(level) - 1));
        // SAFETY: reached from the active root through present entries.
        for (index, entry) in unsafe { tables::table_at(table) }.iter().enumerate() {
            if !entry.is_present() {
                continue;
            }
            let mut virt = base + index as u64 * size;
            if level == tables::ROOT_LEVEL && index >= tables::ENTRIES / 2 {
                virt |= 0xffff_0000_0000_0000;
            }
            if level == 1 || entry.is_large() {
                visit(virt, entry.phys() & !(size - 1), size, entry.flags());
            } else {
                walk(entry.phys(), level - 1, virt, visit);
            }
        }
    }
    walk(Cr3::read().0.start_address().as_u64(), tables::ROOT_LEVEL, 0, visit);
}
