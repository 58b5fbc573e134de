//! What the CPU says it is. Without privilege, so the same on every backend.
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::__cpuid;

/// Names of features that user mode may use, as Linux spells them: (leaf, word 0 to 3 for EAX to EDX, bit, name). AVX and
/// what builds on it are left out: the kernel does not switch it on.
const FEATURES: [(u32, usize, u32, &str); 22] = [
    (1, 3, 0, "fpu"),
    (1, 3, 4, "tsc"),
    (1, 3, 8, "cx8"),
    (1, 3, 15, "cmov"),
    (1, 3, 23, "mmx"),
    (1, 3, 24, "fxsr"),
    (1, 3, 25, "sse"),
    (1, 3, 26, "sse2"),
    (0x8000_0001, 3, 11, "syscall"),
    (0x8000_0001, 3, 20, "nx"),
    (0x8000_0001, 3, 27, "rdtscp"),
    (0x8000_0001, 3, 29, "lm"),
    (1, 2, 0, "pni"),
    (1, 2, 1, "pclmulqdq"),
    (1, 2, 9, "ssse3"),
    (1, 2, 13, "cx16"),
    (1, 2, 19, "sse4_1"),
    (1, 2, 20, "sse4_2"),
    (1, 2, 22, "movbe"),
    (1, 2, 23, "popcnt"),
    (1, 2, 25, "aes"),
    (1, 2, 30, "rdrand"),
];

/// What there is to say of a CPU.
#[derive(Clone, Debug)]
pub struct CpuInfo {
    vendor: [u8; 12],
    model_name: [u8; 48],
    /// Family, extended ones included.
    pub family: u32,
    /// Model, extended ones included.
    pub model: u32,
    /// Stepping.
    pub stepping: u32,
    /// Bytes of a cache line.
    pub cache_line: u32,
}

impl CpuInfo {
    /// The CPU that runs.
    pub fn read() -> CpuInfo {
        let [id, more, ..] = words(1);
        let [_, b, c, d] = words(0);
        let mut name = [0; 48];
        if words(0x8000_0000)[0] >= 0x8000_0004 {
            let all = (0x8000_0002..=0x8000_0004).flat_map(words).flat_map(u32::to_le_bytes);
            name.iter_mut().zip(all).for_each(|(to, from)| *to = from);
        }
        let (family, model) = (id >> 8 & 15, id >> 4 & 15);
        CpuInfo {
            vendor: core::array::from_fn(|i| [b, d, c][i / 4].to_le_bytes()[i % 4]),
            model_name: name,
            family: if family == 15 { family + (id >> 20 & 255) } else { family },
            model: if matches!(family, 6 | 15) { model | (id >> 16 & 15) << 4 } else { model },
            stepping: id & 15,
            cache_line: (more >> 8 & 255) * 8,
        }
    }

    /// Who made it.
    pub fn vendor(&self) -> &str {
        text(&self.vendor)
    }

    /// What it is called.
    pub fn model_name(&self) -> &str {
        text(&self.model_name)
    }

    /// The features that user mode can use.
    pub fn features(&self) -> impl Iterator<Item = &'static str> {
        FEATURES.iter().filter(|(leaf, word, bit, _)| words(*leaf)[*word] & 1 << bit != 0).map(|feature| feature.3)
    }
}

fn text(bytes: &[u8]) -> &str {
    let len = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    core::str::from_utf8(&bytes[..len]).unwrap_or("?").trim()
}

/// EAX to EDX of a leaf; zeros where there is none.
#[cfg(target_arch = "x86_64")]
fn words(leaf: u32) -> [u32; 4] {
    if leaf & 0xffff > __cpuid(leaf & 0x8000_0000).eax & 0xffff {
        return [0; 4];
    }
    let answer = __cpuid(leaf);
    [answer.eax, answer.ebx, answer.ecx, answer.edx]
}

/// EAX to EDX of a leaf: another machine has none.
#[cfg(not(target_arch = "x86_64"))]
fn words(_leaf: u32) -> [u32; 4] {
    [0; 4]
}
