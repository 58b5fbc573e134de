//! What this CPU can do, and the control registers that follow from it.
use super::fpu;
use core::arch::x86_64::{__cpuid, __cpuid_count};
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};
use x86_64::registers::model_specific::{Efer, EferFlags};

/// Features that decide how the kernel runs.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// Supervisor mode never executes user pages.
    pub smep: bool,
    /// Supervisor mode touches user pages only between `stac` and `clac`.
    pub smap: bool,
    /// User mode can't read descriptor table addresses.
    pub umip: bool,
    /// 1 GiB pages.
    pub huge_pages: bool,
    /// Global pages survive a switch of page tables.
    pub global_pages: bool,
    /// The RDRAND instruction.
    pub rdrand: bool,
    /// The RDSEED instruction.
    pub rdseed: bool,
    /// The TSC runs at a constant rate.
    pub invariant_tsc: bool,
    /// The register state of user mode that XSAVE keeps, as in XCR0: what the CPU offers and the kernel knows. 0: it has no XSAVE.
    pub state_components: u64,
}

impl Features {
    /// Asks the CPU.
    pub fn detect() -> Features {
        let leaf1 = __cpuid(1);
        let leaf7 = if __cpuid(0).eax >= 7 { __cpuid_count(7, 0) } else { __cpuid(0x8000_0000) };
        let has7 = __cpuid(0).eax >= 7;
        let extended = __cpuid(0x8000_0000).eax;
        let ext1 = __cpuid(0x8000_0001);
        Features {
            smep: has7 && leaf7.ebx & 1 << 7 != 0,
            smap: has7 && leaf7.ebx & 1 << 20 != 0,
            umip: has7 && leaf7.ecx & 1 << 2 != 0,
            huge_pages: ext1.edx & 1 << 26 != 0,
            global_pages: leaf1.edx & 1 << 13 != 0,
            rdrand: leaf1.ecx & 1 << 30 != 0,
            rdseed: has7 && leaf7.ebx & 1 << 18 != 0,
            invariant_tsc: extended >= 0x8000_0007 && __cpuid(0x8000_0007).edx & 1 << 8 != 0,
            state_components: if leaf1.ecx & 1 << 26 != 0 { fpu::known_components() } else { 0 },
        }
    }

    /// What this CPU lacks of what the kernel uses on the first one, whose features are `needed`: an index into [`NEEDED`].
    pub(super) fn lacks(&self, needed: &Features) -> Option<usize> {
        let needs = |of: &Features| [of.smep, of.smap, of.umip, of.global_pages];
        let flag = needs(self).into_iter().zip(needs(needed)).position(|(has, needs)| needs && !has);
        let states = self.state_components & needed.state_components != needed.state_components;
        flag.or(states.then_some(NEEDED.len() - 1))
    }
}

/// What every CPU must have that the first one has.
pub(super) const NEEDED: [&str; 5] = ["SMEP", "SMAP", "UMIP", "global pages", "XSAVE with the same registers"];

/// Sets the control registers of this CPU: write protection in ring 0, NX, SSE for user mode, and the protections the
/// CPU has.
pub(super) fn init(features: &Features) {
    // SAFETY: write protection, NX and the FPU's flags are assumed by all kernel code from here on; nothing ran before
    // that needs them off. `OSXSAVE` comes with what XSAVE shall keep, which is set below.
    unsafe {
        let cr0 = (Cr0::read() | Cr0Flags::WRITE_PROTECT | Cr0Flags::MONITOR_COPROCESSOR | Cr0Flags::NUMERIC_ERROR)
            - Cr0Flags::EMULATE_COPROCESSOR
            - Cr0Flags::TASK_SWITCHED;
        Cr0::write(cr0);
        Efer::update(|efer| efer.insert(EferFlags::NO_EXECUTE_ENABLE | EferFlags::SYSTEM_CALL_EXTENSIONS));
        Cr4::update(|cr4| {
            cr4.insert(Cr4Flags::OSFXSR | Cr4Flags::OSXMMEXCPT_ENABLE);
            // A loader may have left these on; user mode must not change bases or use state that isn't saved.
            cr4.remove(Cr4Flags::FSGSBASE | Cr4Flags::PROTECTION_KEY_USER);
            cr4.set(Cr4Flags::OSXSAVE, features.state_components != 0);
            cr4.set(Cr4Flags::PAGE_GLOBAL, features.global_pages);
            cr4.set(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION, features.smep);
            cr4.set(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, features.smap);
            cr4.set(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION, features.umip);
        });
    }
    fpu::enable(features);
}
