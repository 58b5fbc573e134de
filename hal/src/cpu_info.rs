//! What the CPU says it is. Without privilege, so the same on every backend.
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::__cpuid;

/// (leaf, word 0 to 3 for EAX to EDX, bit, name as Linux spells it).
type Feature = (u32, usize, u32, &'static str);

/// Features that user mode may always use.
const FEATURES: [Feature; 24] = [
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
    (7, 1, 3, "bmi1"),
    (7, 1, 8, "bmi2"),
];

/// Features for which the kernel must keep the registers of AVX. AVX-512 and others for which it does not are left out.
const WIDE_FEATURES: [Feature; 5] =
    [(1, 2, 26, "xsave"), (1, 2, 28, "avx"), (1, 2, 12, "fma"), (1, 2, 29, "f16c"), (7, 1, 5, "avx2")];

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
        let wide: &[Feature] = if keeps_avx() { &WIDE_FEATURES } else { &[] };
        let has = |(leaf, word, bit, _): &&Feature| words(*leaf)[*word] & 1 << bit != 0;
        FEATURES.iter().chain(wide).filter(has).map(|feature| feature.3)
    }

    /// What the auxiliary vector says of the CPU: EDX of CPUID's leaf 1.
    pub fn hwcap() -> u64 {
        words(1)[3].into()
    }
}

fn text(bytes: &[u8]) -> &str {
    let len = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    core::str::from_utf8(&bytes[..len]).unwrap_or("?").trim()
}

/// Whether the registers of AVX are kept: XGETBV is there, and tells of SSE and AVX.
#[cfg(target_arch = "x86_64")]
fn keeps_avx() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const SSE_AND_AVX: u32 = 0b110;
    if words(1)[2] & OSXSAVE == 0 {
        return false;
    }
    let on: u32;
    // SAFETY: with OSXSAVE the instruction is there, in every mode; it reads a control register.
    unsafe {
        core::arch::asm!("xgetbv", in("ecx") 0, out("eax") on, out("edx") _, options(nomem, nostack, preserves_flags))
    };
    on & SSE_AND_AVX == SSE_AND_AVX
}

/// Another machine has none.
#[cfg(not(target_arch = "x86_64"))]
fn keeps_avx() -> bool {
    false
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
