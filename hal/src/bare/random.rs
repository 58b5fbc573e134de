//! Random bytes: a ChaCha20 generator seeded by the CPU.
use super::sync::IrqLock;
use super::{cpu::Features, tsc};
use core::arch::asm;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

static GENERATOR: IrqLock<Option<ChaCha20Rng>> = IrqLock::new(None);
const TRIES: u32 = 64;

/// Seeds the generator. False if the CPU has no source of randomness: then it is seeded from the clocks alone, which an
/// attacker may guess.
pub(super) fn init(features: &Features) -> bool {
    let mut seed = [0u8; 32];
    let mut good = true;
    for word in seed.chunks_exact_mut(8) {
        let from_cpu = hardware_word(features);
        good &= from_cpu.is_some();
        let mixed = from_cpu.unwrap_or(0) ^ tsc::read().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word.copy_from_slice(&mixed.to_le_bytes());
    }
    *GENERATOR.lock() = Some(ChaCha20Rng::from_seed(seed));
    good
}

/// Fills `buf` with random bytes. Any context.
pub fn fill(buf: &mut [u8]) {
    // Seeded before any thread runs.
    GENERATOR.lock().as_mut().expect("seeded at boot").fill_bytes(buf);
}

fn hardware_word(features: &Features) -> Option<u64> {
    (0..TRIES).find_map(|_| {
        let (value, ok): (u64, u8);
        // SAFETY: the instruction exists by its feature bit, and only changes a register and the flags.
        unsafe {
            if features.rdseed {
                asm!("rdseed {}", "setc {}", out(reg) value, out(reg_byte) ok, options(nomem, nostack));
            } else if features.rdrand {
                asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) ok, options(nomem, nostack));
            } else {
                return None;
            }
        }
        (ok != 0).then_some(value)
    })
}
