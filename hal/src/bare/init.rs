//! From the loader's world to ours, in order.
//!
//! | step | needs |
//! |---|---|
//! | console, per-CPU area, segments, control registers | nothing |
//! | `stac`/`clac` patched in | write protection off |
//! | final page tables | frames straight from the memory map |
//! | frame allocator, and with it the heap | the final tables: they map all RAM |
//! | interrupt stacks, interrupt table | stacks from the pool |
//! | local APIC, clocks, randomness | device mappings |
//! | a guarded stack, and on it the kernel's main function | all of it |
use super::cpu::{self, Features};
use super::gdt::{self, InterruptStack};
use super::stack::Stack;
use super::sync::SpinLock;
use super::trampoline::LOW_PAGES;
use super::{apic, console, fpu, frames, idt, image, paging, percpu, random, smap, smp, thread, time, tsc, user_entry};
use crate::acpi::Cpus;
use bootloader_api::BootInfo;
use bootloader_api::info::{MemoryRegion, MemoryRegionKind};
use core::ops::Range;
use core::sync::atomic::{AtomicPtr, Ordering};

const PAGE: u64 = crate::PAGE_SIZE as u64;
/// Loaders map this much for us at least; early memory comes from below.
const EARLY_LIMIT: u64 = 4 << 30;
/// Below it, memory is left alone: firmware leftovers, and the place where another CPU would start.
const LOW_MEMORY: u64 = 1 << 20;
/// As much is kept of a ramdisk.
pub const RAMDISK_MAX: usize = 2048;

/// What the loader said that is of use later.
#[derive(Clone, Copy, Debug)]
pub struct Platform {
    /// The ACPI root pointer's physical address.
    pub rsdp: Option<u64>,
    /// The first [`RAMDISK_MAX`] bytes of a file that the loader put into memory, copied.
    pub ramdisk: Option<&'static [u8]>,
    /// What the CPU can do.
    pub features: Features,
    /// The CPU had a source of randomness at boot.
    pub random_is_good: bool,
}

static PLATFORM: spin::Once<Platform> = spin::Once::new();
static INFO: AtomicPtr<BootInfo> = AtomicPtr::new(core::ptr::null_mut());
static CPUS: spin::Once<Cpus> = spin::Once::new();
static MAIN: spin::Once<fn() -> !> = spin::Once::new();

/// What the loader and the CPU said. After [`start`].
pub fn platform() -> &'static Platform {
    PLATFORM.get().expect("set by start")
}

/// The CPUs that can be started. After [`start`].
pub(super) fn cpus() -> &'static Cpus {
    CPUS.get().expect("set by start")
}

/// Takes the machine over and calls `main` on a guarded stack, interrupts on, as the boot thread-to-be
/// (`thread::adopt_boot_thread`). Called once, first of all, on the loader's stack; what the loader mapped besides the
/// kernel and its stack is gone afterwards, `info` included.
pub fn start(info: &'static mut BootInfo, main: fn() -> !) -> ! {
    tsc::mark_start();
    MAIN.call_once(|| main);
    INFO.store(info, Ordering::Relaxed);
    // SAFETY: the image's boot stack is unused, or it is the one we are on; then what is overwritten are frames of
    // functions that never go on.
    unsafe { thread::run_on(image::boot_stack_top(), start_on_boot_stack) }
}

/// The loader's own stack may be in memory that the final page tables don't map; this one is in the image.
extern "sysv64" fn start_on_boot_stack() -> ! {
    // SAFETY: set above from an exclusive reference that nobody else uses any more.
    let info = unsafe { &mut *INFO.load(Ordering::Relaxed) };
    percpu::init_boot_cpu();
    console::init();
    gdt::init();
    let features = Features::detect();
    if features.smap {
        smap::patch();
    }
    cpu::init(&features);
    fpu::init(&features);

    let memory = Memory::read(&info.memory_regions);
    CPUS.call_once(|| if low_pages_are_ram(&info.memory_regions) { find_cpus(info) } else { Cpus::default() });
    let (rsdp, ramdisk) = (info.rsdp_addr.into_option(), copy_ramdisk(info));
    memory.take_over().unwrap_or_else(|| panic!("too little memory to start"));

    for which in [InterruptStack::DoubleFault, InterruptStack::Nmi, InterruptStack::MachineCheck] {
        gdt::set_interrupt_stack(which, Stack::new().unwrap_or_else(|| panic!("no memory for interrupt stacks")));
    }
    idt::init();
    assert!(apic::init(), "no memory to map the local APIC");
    time::init();
    let random_is_good = random::init(&features);
    PLATFORM.call_once(|| Platform { rsdp, ramdisk, features, random_is_good });

    user_entry::init();
    let stack = Stack::new().unwrap_or_else(|| panic!("no memory for the first stack"));
    let top = stack.top();
    // It becomes the boot thread's, which never ends.
    core::mem::forget(stack);
    // SAFETY: the new stack is mapped, unused and never freed.
    unsafe { thread::run_on(top, call_main) }
}

extern "sysv64" fn call_main() -> ! {
    super::irq::restore(true);
    let main = MAIN.get().expect("set by start");
    main()
}

/// Takes a copy of the ramdisk's beginning, which the loader maps.
fn copy_ramdisk(info: &BootInfo) -> Option<&'static [u8]> {
    static BYTES: spin::Once<[u8; RAMDISK_MAX]> = spin::Once::new();
    let addr = info.ramdisk_addr.into_option()?;
    let len = (info.ramdisk_len as usize).min(RAMDISK_MAX);
    let bytes = BYTES.call_once(|| {
        let mut bytes = [0; RAMDISK_MAX];
        // SAFETY: every loader maps the ramdisk at this address, and nothing changes it; `bytes` is not part of it.
        unsafe { core::ptr::copy_nonoverlapping(addr as *const u8, bytes.as_mut_ptr(), len) };
        bytes
    });
    Some(&bytes[..len])
}

/// Looks for the CPUs in the firmware's tables, where the loader maps them.
fn find_cpus(info: &BootInfo) -> Cpus {
    smp::find(info.rsdp_addr.into_option(), &|phys, buffer| {
        let mapped = phys.checked_add(buffer.len() as u64).is_some_and(|end| end <= EARLY_LIMIT);
        if mapped {
            let from = paging::phys_to_virt(phys);
            // SAFETY: every loader maps memory below the limit there; `buffer` is none of it.
            unsafe { core::ptr::copy_nonoverlapping(from, buffer.as_mut_ptr(), buffer.len()) };
        }
        mapped
    })
}

/// Whether the pages where CPUs start are memory that nobody needs any more.
fn low_pages_are_ram(regions: &[MemoryRegion]) -> bool {
    let free = |kind| matches!(kind, MemoryRegionKind::Usable | MemoryRegionKind::Bootloader);
    regions.iter().any(|r| free(r.kind) && r.start <= LOW_PAGES.start && r.end >= LOW_PAGES.end)
}

/// The memory map, copied: it may lie in memory that the final tables don't map.
struct Memory {
    /// All RAM: what is mapped.
    ram: [Range<u64>; frames::MAX_RAM],
    ram_len: usize,
    /// RAM that nobody uses.
    usable: [Range<u64>; frames::MAX_RAM],
    usable_len: usize,
}

/// The one `Memory`: too large for an unknown stack.
static MEMORY: SpinLock<Memory> = SpinLock::new(Memory {
    ram: [const { 0..0 }; frames::MAX_RAM],
    ram_len: 0,
    usable: [const { 0..0 }; frames::MAX_RAM],
    usable_len: 0,
});

impl Memory {
    fn read(regions: &[MemoryRegion]) -> super::sync::SpinGuard<'static, Memory> {
        let mut memory = MEMORY.lock();
        for region in regions {
            let range = region.start.max(LOW_MEMORY).next_multiple_of(PAGE)..region.end & !(PAGE - 1);
            if range.is_empty() {
                continue;
            }
            let Memory { ram, ram_len, usable, usable_len } = &mut *memory;
            let known = matches!(region.kind, MemoryRegionKind::Usable | MemoryRegionKind::Bootloader);
            // What is used has to be mapped.
            if known && push(ram, ram_len, range.clone()) && region.kind == MemoryRegionKind::Usable {
                push(usable, usable_len, range);
            }
        }
        memory
    }

    /// Makes the final page tables and starts the frame allocator. What both need comes from the start of the largest
    /// usable range that every loader maps.
    fn take_over(&self) -> Option<()> {
        let usable = &self.usable[..self.usable_len];
        let early =
            usable.iter().filter(|range| range.end <= EARLY_LIMIT).max_by_key(|range| range.end - range.start)?;
        let end = usable.iter().map(|range| range.end).max()?;

        let table = early.start;
        let mut next = table + frames::table_bytes(end).next_multiple_of(PAGE);
        if next > early.end {
            return None;
        }
        let mut alloc = || {
            let frame = next;
            next += PAGE;
            (next <= early.end).then_some(frame)
        };
        paging::init(&self.ram[..self.ram_len], &mut alloc)?;
        let table = paging::phys_to_virt(table);
        let free = usable.iter().map(|range| if range == early { next..range.end } else { range.clone() });
        // SAFETY: the table's memory was taken from a usable range above, is mapped and zeroed here; what is handed over
        // as free excludes it and the page tables.
        unsafe {
            core::ptr::write_bytes(table, 0, frames::table_bytes(end) as usize);
            frames::init(table, end, &self.ram[..self.ram_len], free);
        }
        Some(())
    }
}

/// Adds a range to a list, to its neighbour if that is there: the map of UEFI has many pieces. False if the list is full, and the range
/// is left unused.
fn push(list: &mut [Range<u64>], len: &mut usize, range: Range<u64>) -> bool {
    let known = &mut list[..*len];
    if let Some(below) = known.iter_mut().find(|known| known.end == range.start) {
        below.end = range.end;
    } else if let Some(above) = known.iter_mut().find(|known| known.start == range.end) {
        above.start = range.start;
    } else if let Some(slot) = list.get_mut(*len) {
        *slot = range;
        *len += 1;
    } else {
        return false;
    }
    true
}
