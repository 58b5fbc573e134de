//! crc32c by the CPU's own instruction. It belongs to SSE 4.2 but works on general registers, so a kernel without FPU state of
//! its own may use it.
#[cfg(target_arch = "x86_64")]
pub use instruction::crc32c;

/// Continues the checksum `crc` over `bytes`; a chain starts with `!0`. `None`: this CPU cannot. Any context.
#[cfg(not(target_arch = "x86_64"))]
pub fn crc32c(_crc: u32, _bytes: &[u8]) -> Option<u32> {
    None
}

#[cfg(target_arch = "x86_64")]
mod instruction {
    use core::arch::asm;
    use core::arch::x86_64::__cpuid;
    use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

    const NOT_ASKED: u8 = 0;
    const ABSENT: u8 = 1;
    const PRESENT: u8 = 2;

    /// What CPUID says. It is asked once: in a virtual machine each CPUID is a trap.
    static SUPPORT: AtomicU8 = AtomicU8::new(NOT_ASKED);

    /// Continues the checksum `crc` over `bytes`; a chain starts with `!0`. `None`: this CPU cannot. Any context.
    #[inline]
    pub fn crc32c(crc: u32, bytes: &[u8]) -> Option<u32> {
        let support = match SUPPORT.load(Relaxed) {
            NOT_ASKED => ask(),
            known => known,
        };
        (support == PRESENT).then(|| {
            // Eight words a round: the compiler does not unroll a loop around the instruction by itself.
            let (lines, rest) = bytes.as_chunks::<64>();
            let crc = lines.iter().fold(u64::from(crc), |crc, line| add_words(crc, line.as_chunks::<8>().0));
            let (words, tail) = rest.as_chunks::<8>();
            let crc = add_words(crc, words);
            tail.iter().fold(crc as u32, |crc, &byte| add_byte(crc, byte))
        })
    }

    #[cold]
    fn ask() -> u8 {
        let support = if __cpuid(1).ecx & 1 << 20 != 0 { PRESENT } else { ABSENT };
        SUPPORT.store(support, Relaxed);
        support
    }

    #[inline(always)]
    fn add_words(crc: u64, words: &[[u8; 8]]) -> u64 {
        words.iter().fold(crc, |crc, word| add_word(crc, u64::from_le_bytes(*word)))
    }

    #[inline]
    fn add_word(mut crc: u64, word: u64) -> u64 {
        // SAFETY: `crc32c` has made sure that the CPU has the instruction, which works on these two registers alone.
        unsafe { asm!("crc32 {}, {}", inout(reg) crc, in(reg) word, options(pure, nomem, nostack, preserves_flags)) };
        crc
    }

    #[inline]
    fn add_byte(mut crc: u32, byte: u8) -> u32 {
        // SAFETY: as above.
        unsafe {
            asm!("crc32 {:e}, {}", inout(reg) crc, in(reg_byte) byte, options(pure, nomem, nostack, preserves_flags))
        };
        crc
    }

    #[cfg(all(test, not(loom), not(shuttle)))]
    mod tests {
        use super::*;

        #[test]
        fn check_value_of_the_standard() {
            // A CPU from 2008 or later has it.
            assert_eq!(crc32c(!0, b"123456789").map(|crc| !crc), Some(0xe306_9283));
        }
    }
}
