//! More than one CPU: starting the others, and interrupting them.
//!
//! The boot CPU has number 0. The others are started in the order in which the firmware names them, one after the other; each gets
//! the next number as it arrives, and after one that does not, none is started. So it is known before which CPU a number will
//! stand for, if for any ([`expected`]): interrupts can be led there. What the CPUs run is up to `base::sched`.
//!
//! | a CPU that | is |
//! |---|---|
//! | is told to start and does not arrive in time | given up; should it arrive later, it halts for ever |
//! | lacks what the first one has ([`NEEDED`]) | refused: it halts for ever |
//! | has arrived | counted by [`online`], and told of everything that all CPUs must know |
//! | panics | alone: it stops the others first ([`stop_others`]) |
use super::cpu::{Features, NEEDED};
use super::stack::Stack;
use super::trampoline::Trampoline;
use super::{apic, backtrace, console, gdt, idt, init, irq, paging, percpu, thread, time, user_entry};
use crate::acpi;
use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use percpu::{PerCpu, this_cpu};

pub use crate::acpi::MAX_CPUS;

const MS_NS: u64 = 1_000_000;
/// How long a CPU may take from its start to its arrival.
const PATIENCE_NS: u64 = 2_000 * MS_NS;

static ONLINE: AtomicUsize = AtomicUsize::new(1);
static APIC_IDS: [AtomicU8; MAX_CPUS] = [const { AtomicU8::new(0) }; MAX_CPUS];
/// The areas of the CPUs, for what others may look at.
static AREAS: [AtomicPtr<PerCpu>; MAX_CPUS] = [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_CPUS];
static MAIN: spin::Once<fn() -> !> = spin::Once::new();

/// How far the CPU that starts now has got.
static ARRIVAL: AtomicU8 = AtomicU8::new(NONE);
const NONE: u8 = 0;
const EXPECTED: u8 = 1;
const ARRIVED: u8 = 2;
const COUNTED: u8 = 3;
const GIVEN_UP: u8 = 4;
/// This plus an index into [`NEEDED`]: what it lacks.
const UNFIT: u8 = 5;

/// The number of this CPU. Any context; it stays true until the caller sleeps.
#[inline]
pub fn cpu() -> usize {
    this_cpu().index.get() as usize
}

/// How many CPUs run; they have the numbers below.
#[inline]
pub fn online() -> usize {
    ONLINE.load(Ordering::Acquire)
}

/// How many CPUs the machine has, those beyond [`MAX_CPUS`] included, as far as the firmware tells.
pub fn present() -> usize {
    init::cpus().present.max(1)
}

/// How many CPUs run once the others are started, if all of them start; they have the numbers below.
pub fn expected() -> usize {
    1 + to_start().count()
}

/// The APIC ids of the CPUs that are to be started, in that order.
fn to_start() -> impl Iterator<Item = u8> {
    let boot = apic_id_of(0);
    init::cpus().ids().iter().copied().filter(move |&id| id != boot).take(MAX_CPUS - 1)
}

/// The APIC id of the CPU that has the number `cpu`, or will have it; `None` if there is none.
pub(super) fn apic_id_of_expected(cpu: usize) -> Option<u8> {
    match cpu.checked_sub(1) {
        None => Some(apic_id_of(0)),
        Some(nth) => to_start().nth(nth),
    }
}

/// Notes the boot CPU, once its APIC is set up.
pub(super) fn note_boot_cpu() {
    APIC_IDS[0].store(irq::apic_id(), Ordering::Relaxed);
    AREAS[0].store(core::ptr::from_ref(this_cpu()).cast_mut(), Ordering::Release);
}

/// Starts the other CPUs. Each calls `main` on a stack of its own, interrupts on, as a thread-to-be
/// (`thread::adopt_boot_thread`). Returns how many CPUs run now. Once, on the boot CPU; task context.
pub fn start_others(main: fn() -> !) -> usize {
    if to_start().next().is_none() {
        return 1;
    }
    MAIN.call_once(|| main);
    let Some(trampoline) = Trampoline::install() else { return 1 };
    to_start().for_each(apic::send_init);
    wait(10 * MS_NS, || false);
    for id in to_start() {
        // One that was given up may still read what the trampoline says: nobody starts after it.
        if !start(&trampoline, id) {
            log::warn!("the CPU with APIC id {id} does not start");
            break;
        }
    }
    online()
}

/// Starts a CPU. False if it may still be on its way, or cannot be started at all; one that is refused has left the way free.
fn start(trampoline: &Trampoline, apic_id: u8) -> bool {
    let Some(stack) = Stack::new() else { return false };
    let index = online();
    let area: &'static PerCpu = Box::leak(Box::new(PerCpu::new()));
    area.index.set(index as u32);
    APIC_IDS[index].store(apic_id, Ordering::Relaxed);
    AREAS[index].store(core::ptr::from_ref(area).cast_mut(), Ordering::Release);
    trampoline.aim(stack.top(), core::ptr::from_ref(area) as u64, arrive);
    // It is the CPU's for ever.
    core::mem::forget(stack);
    ARRIVAL.store(EXPECTED, Ordering::SeqCst);
    for _ in 0..2 {
        apic::send_start_up(apic_id, Trampoline::PAGE_NUMBER);
        wait(MS_NS, has_answered);
    }
    let given_up = !wait(PATIENCE_NS, has_answered)
        && ARRIVAL.compare_exchange(EXPECTED, GIVEN_UP, Ordering::SeqCst, Ordering::SeqCst).is_ok();
    if given_up {
        return false;
    }
    // The very last moment: it counts itself with its next instructions.
    wait(u64::MAX / 2, has_answered);
    if let Some(what) = ARRIVAL.load(Ordering::SeqCst).checked_sub(UNFIT) {
        let what = NEEDED.get(usize::from(what)).unwrap_or(&"something");
        log::warn!("the CPU with APIC id {apic_id} is not used: it lacks {what}, which the first CPU has");
    }
    true
}

fn has_answered() -> bool {
    !matches!(ARRIVAL.load(Ordering::SeqCst), EXPECTED | ARRIVED)
}

/// Spins until `done`, or for `ns`; says whether it is done.
fn wait(ns: u64, done: impl Fn() -> bool) -> bool {
    let end_ns = time::now_ns() + ns;
    while !done() {
        if time::now_ns() >= end_ns {
            return false;
        }
        core::hint::spin_loop();
    }
    true
}

/// First Rust code of a further CPU: on its own stack, on the tables of the trampoline, interrupts off.
extern "sysv64" fn arrive(area: u64) -> ! {
    // SAFETY: what `start` has leaked, for this CPU alone.
    let area: &'static PerCpu = unsafe { &*(area as *const PerCpu) };
    percpu::install(area);
    // SAFETY: the kernel's tables map all that is in use here.
    unsafe { paging::load_root(paging::kernel_root()) };
    gdt::init();
    let features = &init::platform().features;
    if let Some(what) = Features::detect().lacks(features) {
        // If it was given up already, nobody wants to know.
        let _ = ARRIVAL.compare_exchange(EXPECTED, UNFIT + what as u8, Ordering::SeqCst, Ordering::SeqCst);
        super::power::halt();
    }
    super::cpu::init(features);
    let ready = gdt::set_interrupt_stacks_of_other();
    idt::init();
    apic::init_this_cpu();
    user_entry::init();
    if !ready || ARRIVAL.compare_exchange(EXPECTED, ARRIVED, Ordering::SeqCst, Ordering::SeqCst).is_err() {
        super::power::halt();
    }
    ONLINE.store(area.index.get() as usize + 1, Ordering::SeqCst);
    // The next CPU gets its number from the count.
    ARRIVAL.store(COUNTED, Ordering::SeqCst);
    irq::enable_now();
    let main = MAIN.get().expect("set before the first CPU starts");
    main()
}

fn apic_id_of(cpu: usize) -> u8 {
    APIC_IDS[cpu].load(Ordering::Relaxed)
}

/// The other CPUs that run.
pub(super) fn others() -> impl Iterator<Item = usize> {
    let me = cpu();
    (0..online()).filter(move |&cpu| cpu != me)
}

/// Interrupts `cpu`, which runs: it leaves its halt, or user mode, and looks at what there is to do
/// ([`thread::set_need_resched`]). Any context.
pub fn reschedule(cpu: usize) {
    apic::send(apic_id_of(cpu), apic::RESCHEDULE_VECTOR);
}

/// The interrupt that [`reschedule`] sends.
pub(super) fn reschedule_interrupt() {
    thread::set_need_resched();
}

/// Whether `cpu` has the tables at `root` loaded, or is about to load them.
pub(super) fn has_root(cpu: usize, root: u64) -> bool {
    let area = AREAS[cpu].load(Ordering::Acquire);
    // SAFETY: null, or an area that is never freed; only its atomics are looked at.
    let area = unsafe { area.as_ref() };
    let shows = |word: &AtomicU64| word.load(Ordering::SeqCst) == root;
    area.is_some_and(|area| shows(&area.next_root) || shows(&area.active_root))
}

/// Interrupts `cpu` so that it looks at the request of `shootdown`.
pub(super) fn send_flush(cpu: usize) {
    apic::send(apic_id_of(cpu), apic::FLUSH_VECTOR);
}

static STOPPED: AtomicBool = AtomicBool::new(false);
/// CPUs that shall say where they are.
static ASKED: AtomicU32 = AtomicU32::new(0);

/// Halts all other CPUs for good, whatever they do. For last words. Any context.
pub fn stop_others() {
    STOPPED.store(true, Ordering::SeqCst);
    others().for_each(|cpu| apic::send_nmi(apic_id_of(cpu)));
}

/// Has all other CPUs say on the console where they are, whatever they do; how many did. Any context.
pub fn report_others() -> usize {
    let answers = |cpu: &usize| {
        ASKED.fetch_or(1 << cpu, Ordering::SeqCst);
        apic::send_nmi(apic_id_of(*cpu));
        // One after the other, so that their lines don't mix; one that is lost is not waited for.
        wait(PATIENCE_NS, || ASKED.load(Ordering::SeqCst) & 1 << cpu == 0)
    };
    others().filter(answers).count()
}

/// What a non-maskable interrupt is for. `frame` is what it interrupted.
pub(super) fn non_maskable(frame: &super::entry::TrapFrame) {
    this_cpu().nmi_count.fetch_add(1, Ordering::Relaxed);
    if STOPPED.load(Ordering::SeqCst) {
        super::power::halt();
    }
    let me = 1 << cpu();
    if ASKED.load(Ordering::SeqCst) & me != 0 {
        report_here(frame.rip, frame.rsp, frame.cs & 3 == 0);
        ASKED.fetch_and(!me, Ordering::SeqCst);
    }
}

/// Says where this CPU is, or was when it was interrupted.
pub(super) fn report_here(rip: u64, rsp: u64, in_kernel: bool) {
    let (cpu, task) = (cpu(), thread::tag());
    let place = if in_kernel { "the kernel" } else { "user mode" };
    console::write_fmt_unlocked(format_args!("cpu {cpu}: task {task}, in {place}\n  at {rip:#x}\n"));
    let mut left = 16;
    if in_kernel {
        backtrace::scan_from(rsp, |address| {
            if left > 0 {
                left -= 1;
                console::write_fmt_unlocked(format_args!("  at {address:#x}\n"));
            }
        });
    }
}

/// What the firmware says of the CPUs, read while the loader's tables still map it.
pub(super) fn find(root_pointer: Option<u64>, read: &dyn Fn(u64, &mut [u8]) -> bool) -> acpi::Cpus {
    /// Where a root pointer may stand if the loader names none: the BIOS area, at multiples of 16.
    const BIOS_AREA: core::ops::Range<u64> = 0xe_0000..0x10_0000;
    let known = root_pointer.and_then(|at| acpi::cpus(at, read));
    known.or_else(|| BIOS_AREA.step_by(16).find_map(|at| acpi::cpus(at, read))).unwrap_or_default()
}
