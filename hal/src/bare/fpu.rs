//! The FPU and SSE registers of user mode. The kernel is soft-float: it leaves them alone except here.
use core::arch::asm;

/// The 512 bytes of FXSAVE.
#[derive(Clone)]
#[repr(C, align(16))]
pub struct FpuState([u8; 512]);

const CONTROL_WORD: usize = 0;
const MXCSR: usize = 24;
/// The bits of MXCSR that any SSE2 CPU has; setting others faults.
const MXCSR_MASK: u32 = 0xffbf;

impl FpuState {
    /// The registers of a new process: all exceptions masked, 64-bit precision.
    pub fn new() -> FpuState {
        let mut bytes = [0; 512];
        bytes[CONTROL_WORD..CONTROL_WORD + 2].copy_from_slice(&0x37fu16.to_le_bytes());
        bytes[MXCSR..MXCSR + 4].copy_from_slice(&0x1f80u32.to_le_bytes());
        FpuState(bytes)
    }

    /// The image, as a signal frame shows it.
    pub fn bytes(&self) -> &[u8; 512] {
        &self.0
    }

    /// An image that a program made; what it must not set is cleared.
    pub fn from_bytes(bytes: [u8; 512]) -> FpuState {
        FpuState(bytes).sanitised()
    }

    /// The registers of this CPU now.
    pub(super) fn save() -> FpuState {
        let mut state = FpuState([0; 512]);
        state.save_here();
        state
    }

    /// Saves the registers of this CPU.
    pub(super) fn save_here(&mut self) {
        // SAFETY: the image is 512 bytes, aligned to 16.
        unsafe { asm!("fxsave64 [{}]", in(reg) self, options(nostack, preserves_flags)) };
    }

    /// Loads the registers of this CPU.
    pub(super) fn load(&self) {
        // SAFETY: as above; every way to make an image clears MXCSR's reserved bits, so this can't fault. Kernel code
        // keeps nothing in the registers.
        unsafe { asm!("fxrstor64 [{}]", in(reg) self, options(nostack, preserves_flags, readonly)) };
    }

    pub(super) fn sanitised(&self) -> FpuState {
        let mut state = self.clone();
        let field: &mut [u8] = &mut state.0[MXCSR..MXCSR + 4];
        let mxcsr = field.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte));
        field.copy_from_slice(&(mxcsr & MXCSR_MASK).to_le_bytes());
        state
    }
}

impl Default for FpuState {
    fn default() -> Self {
        Self::new()
    }
}
