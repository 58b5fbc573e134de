//! The FPU, SSE and AVX registers of user mode in the CPU. The kernel is soft-float: it leaves them alone except here.
//!
//! They are saved and loaded eagerly, at each switch from or to a thread that runs user code, by XSAVE in its standard form,
//! or by FXSAVE where the CPU has no XSAVE. What they look like in memory is in [`crate::fpu`].
use super::cpu::Features;
use crate::PAGE_SIZE;
use alloc::alloc::{Layout, alloc};
use alloc::boxed::Box;
use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use x86_64::registers::xcontrol::{XCr0, XCr0Flags};

use crate::fpu::{AVX, SSE, X87, YMM};
pub use crate::fpu::{Format, FpuState};

/// The CPUID leaf of XSAVE.
const STATE_LEAF: u32 = 0xd;
/// What MXCSR has on a CPU that does not say.
const MXCSR_DEFAULT: u32 = 0xffbf;
const MXCSR_MASK: usize = 28;

/// How registers are kept, the same on all CPUs: in the low half what XSAVE keeps (0: there is only FXSAVE), and [`STALE_POINTERS`].
static HOW: AtomicU64 = AtomicU64::new(0);
/// CPUs of AMD before Zen do not load the pointers of the last x87 instruction where no exception is pending: those of another program
/// would stay.
const STALE_POINTERS: u64 = 1 << 63;
static MXCSR_BITS: AtomicU32 = AtomicU32::new(MXCSR_DEFAULT);

/// How the registers are kept here.
pub fn fpu_format() -> Format {
    Format::new(HOW.load(Ordering::Relaxed) & !STALE_POINTERS, MXCSR_BITS.load(Ordering::Relaxed))
}

/// What this CPU, which has XSAVE, can keep of what the kernel knows.
pub(super) fn known_components() -> u64 {
    let offered = __cpuid_count(STATE_LEAF, 0).eax;
    let ymm = __cpuid_count(STATE_LEAF, 2);
    let wide = u64::from(offered) & AVX != 0 && (ymm.ebx, ymm.eax) == YMM;
    X87 | SSE | if wide { AVX } else { 0 }
}

/// Says to this CPU what XSAVE keeps, after CR4 has been set.
pub(super) fn enable(features: &Features) {
    if features.state_components != 0 {
        // SAFETY: `OSXSAVE` is on, and CPUID offers the components, x87 and SSE always among them.
        unsafe { XCr0::write(XCr0Flags::from_bits_truncate(features.state_components)) };
        debug_assert_eq!(
            __cpuid_count(STATE_LEAF, 0).ebx as usize,
            Format::new(features.state_components, MXCSR_DEFAULT).len()
        );
    }
}

/// Settles the format of all CPUs, on the first one. Before any registers are kept.
pub(super) fn init(features: &Features) {
    let mut state = FpuState::new();
    // `HOW` is still 0: this is FXSAVE.
    state.save_here();
    let mask =
        state.bytes()[MXCSR_MASK..MXCSR_MASK + 4].iter().rev().fold(0, |mask, &byte| mask << 8 | u32::from(byte));
    MXCSR_BITS.store(if mask == 0 { MXCSR_DEFAULT } else { mask }, Ordering::Relaxed);
    HOW.store(features.state_components | if leaves_pointers() { STALE_POINTERS } else { 0 }, Ordering::Relaxed);
}

/// Whether XRSTOR and FXRSTOR leave the pointers of x87 alone.
fn leaves_pointers() -> bool {
    const SIZES_LEAF: u32 = 0x8000_0008;
    const ALWAYS_LOADS_POINTERS: u32 = 1 << 2;
    let of_amd = matches!(crate::CpuInfo::read().vendor(), "AuthenticAMD" | "HygonGenuine");
    let says_so = __cpuid(0x8000_0000).eax >= SIZES_LEAF && __cpuid(SIZES_LEAF).ebx & ALWAYS_LOADS_POINTERS != 0;
    of_amd && !says_so
}

/// The registers of a new program on the heap; `None` when memory is short.
pub(super) fn allocate() -> Option<Box<FpuState>> {
    const { assert!(align_of::<FpuState>() == 64 && size_of::<FpuState>() < PAGE_SIZE) };
    // SAFETY: the layout is that of a type with a size; what it gives is written before the box is made, and the box frees it
    // with the same layout.
    unsafe {
        let at = alloc(Layout::new::<FpuState>()).cast::<FpuState>();
        if at.is_null() {
            return None;
        }
        at.write(FpuState::new());
        Some(Box::from_raw(at))
    }
}

impl FpuState {
    /// The registers of this CPU now.
    pub(super) fn save() -> FpuState {
        let mut state = FpuState::new();
        state.save_here();
        state
    }

    /// Saves the registers of this CPU. XSAVE leaves alone what it does not keep: the rest of the header stays zero.
    #[inline]
    pub(super) fn save_here(&mut self) {
        let components = HOW.load(Ordering::Relaxed) as u32;
        // SAFETY: the state is as large as all that is ever switched on, and aligned to 64; with components there is XSAVE.
        unsafe {
            if components == 0 {
                asm!("fxsave64 [{}]", in(reg) self, options(nostack, preserves_flags));
            } else {
                asm!("xsave64 [{}]", in(reg) self, in("eax") components, in("edx") 0, options(nostack, preserves_flags));
            }
        }
    }

    /// Loads the registers of this CPU. Components that the header does not name become initial.
    #[inline]
    pub(super) fn load(&self) {
        let how = HOW.load(Ordering::Relaxed);
        let components = how as u32;
        if how & STALE_POINTERS != 0 {
            // SAFETY: leaves x87 empty but for one number, loaded from the state's first bytes; all of it is replaced below. No exception
            // is pending after the first instruction, nor can the last one raise one.
            unsafe { asm!("fnclex", "emms", "fild dword ptr [{}]", in(reg) self, options(nostack, readonly)) };
        }
        // SAFETY: as above; by the type's invariant the CPU takes the state, so this can't fault. Kernel code keeps nothing in
        // the registers.
        unsafe {
            if components == 0 {
                asm!("fxrstor64 [{}]", in(reg) self, options(nostack, preserves_flags, readonly));
            } else {
                asm!("xrstor64 [{}]", in(reg) self, in("eax") components, in("edx") 0,
                    options(nostack, preserves_flags, readonly));
            }
        }
    }
}
