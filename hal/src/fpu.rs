//! The registers of user mode that XSAVE keeps, as bytes: how they lie in memory, and how a signal frame shows them.
//!
//! ```text
//!   0    the legacy area, all that FXSAVE knows: x87, MXCSR, XMM. Its bytes from 464 on are software's: in a signal frame
//!        they tell how long the rest is
//!   512  the header: which components are there; the others are in their initial state
//!   576  the upper halves of YMM
//!   832  in a signal frame only: a magic word, at the end of what there is
//! ```
//!
//! Only what stands here is ever switched on: a component that the kernel does not know would be one that it does not keep.
//! A frame comes from a program, and nothing in it is believed: [`FpuState::from_frame`] gives what the CPU takes, or refuses.

/// x87.
pub const X87: u64 = 1 << 0;
/// XMM and MXCSR.
pub const SSE: u64 = 1 << 1;
/// The upper halves of YMM.
pub const AVX: u64 = 1 << 2;

/// Bytes of the legacy area.
const LEGACY: usize = 512;
/// Where the header ends.
const HEADER_END: usize = 576;
/// Where the upper halves of YMM stand, and how many bytes they are: as CPUID must say, else they are not switched on.
#[cfg(target_os = "none")]
pub(crate) const YMM: (u32, u32) = (HEADER_END as u32, 256);
/// Bytes of all that is known.
const MOST: usize = HEADER_END + 256;
const CONTROL_WORD: usize = 0;
const MXCSR: usize = 24;
/// Where software's bytes start, and what they hold: two words of 4 bytes, one of 8, and another of 4.
const SOFTWARE: usize = 464;
const MAGIC1: u32 = 0x4650_5853;
const MAGIC2: u32 = 0x4650_5845;
/// Bytes of the magic word at the end.
const MAGIC2_LEN: usize = 4;

/// How this machine keeps the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// The components that XSAVE keeps; 0: there is only FXSAVE.
    components: u64,
    /// The bits of MXCSR that the CPU has; setting others faults.
    mxcsr_mask: u32,
}

impl Format {
    /// The format of a CPU with these components on and these bits in MXCSR.
    pub(crate) const fn new(components: u64, mxcsr_mask: u32) -> Format {
        Format { components: components & (X87 | SSE | AVX), mxcsr_mask }
    }

    /// The components that are kept by XSAVE; 0: FXSAVE is used, and keeps x87 and SSE.
    pub fn components(self) -> u64 {
        self.components
    }

    /// Bytes of the registers.
    pub fn len(self) -> usize {
        match self.components {
            0 => LEGACY,
            known if known & AVX == 0 => HEADER_END,
            _ => MOST,
        }
    }

    /// Whether there are none; never.
    pub fn is_empty(self) -> bool {
        false
    }

    /// Bytes of them in a signal frame.
    pub fn frame_len(self) -> usize {
        self.len() + if self.components == 0 { 0 } else { MAGIC2_LEN }
    }
}

/// The registers of a thread.
///
/// # Invariants
///
/// The CPU can load them: MXCSR has only bits that it knows, the header names only components that are switched on and is zero
/// otherwise.
#[derive(Clone)]
#[repr(C, align(64))]
pub struct FpuState([u8; MOST]);

impl FpuState {
    /// The registers of a new program: all zero, exceptions masked, 64-bit precision.
    pub const fn new() -> FpuState {
        let mut bytes = [0; MOST];
        [bytes[CONTROL_WORD], bytes[CONTROL_WORD + 1]] = 0x37fu16.to_le_bytes();
        [bytes[MXCSR], bytes[MXCSR + 1]] = 0x1f80u16.to_le_bytes();
        // With no component in the header, XRSTOR sets all of them to this, and takes MXCSR from here.
        FpuState(bytes)
    }

    /// The registers as they lie in memory.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Stores them as a signal frame has them, piece by piece. Errors: those of `put`, which is given an offset and bytes.
    pub fn store_frame<E>(&self, format: Format, mut put: impl FnMut(u64, &[u8]) -> Result<(), E>) -> Result<(), E> {
        let len = format.len();
        let mut software = [0; LEGACY - SOFTWARE];
        if format.components != 0 {
            software[..4].copy_from_slice(&MAGIC1.to_le_bytes());
            software[4..8].copy_from_slice(&(format.frame_len() as u32).to_le_bytes());
            software[8..16].copy_from_slice(&format.components.to_le_bytes());
            software[16..20].copy_from_slice(&(len as u32).to_le_bytes());
        }
        put(0, &self.0[..SOFTWARE])?;
        put(SOFTWARE as u64, &software)?;
        if format.components != 0 {
            put(LEGACY as u64, &self.0[LEGACY..len])?;
            put(len as u64, &MAGIC2.to_le_bytes())?;
        }
        Ok(())
    }

    /// The registers of a signal frame. As on Linux, one that does not say how long it is has x87 and SSE only, and the other
    /// components are in their initial state. `get` reads at an offset. `None`: it cannot be read, or holds what the CPU would
    /// refuse.
    pub fn from_frame(format: Format, mut get: impl FnMut(u64, &mut [u8]) -> bool) -> Option<FpuState> {
        let mut state = FpuState([0; MOST]);
        if !get(0, &mut state.0[..LEGACY]) {
            return None;
        }
        let claim = Claim::read(&state.0);
        state.0[SOFTWARE..LEGACY].fill(0);
        if state.word(MXCSR) & !format.mxcsr_mask != 0 {
            return None;
        }
        if format.components == 0 {
            return Some(state);
        }
        let mut present = X87 | SSE;
        if let Some(len) = claim.len_for(format) {
            let mut magic = [0; MAGIC2_LEN];
            if !get(len as u64, &mut magic) {
                return None;
            }
            if u32::from_le_bytes(magic) == MAGIC2 {
                if !get(LEGACY as u64, &mut state.0[LEGACY..len]) || !state.header_is_plain(format) {
                    return None;
                }
                present = state.present() & claim.components;
            }
        }
        state.0[LEGACY..LEGACY + 8].copy_from_slice(&present.to_le_bytes());
        Some(state)
    }

    /// Whether the header names only what is switched on and is zero otherwise.
    fn header_is_plain(&self, format: Format) -> bool {
        self.present() & !format.components == 0 && self.0[LEGACY + 8..HEADER_END].iter().all(|&byte| byte == 0)
    }

    fn present(&self) -> u64 {
        long_at(&self.0, LEGACY)
    }

    fn word(&self, at: usize) -> u32 {
        word_at(&self.0, at)
    }
}

impl Default for FpuState {
    fn default() -> Self {
        Self::new()
    }
}

/// What the software's bytes of a frame say.
struct Claim {
    magic: u32,
    /// Bytes with the magic word at the end.
    extended_len: u32,
    components: u64,
    len: u32,
}

impl Claim {
    fn read(bytes: &[u8; MOST]) -> Claim {
        let word = |at| word_at(bytes, SOFTWARE + at);
        Claim { magic: word(0), extended_len: word(4), components: long_at(bytes, SOFTWARE + 8), len: word(16) }
    }

    /// Where the frame says that it ends, if that can be.
    fn len_for(&self, format: Format) -> Option<usize> {
        let len = self.len as usize;
        let sound = self.magic == MAGIC1 && (HEADER_END..=format.len()).contains(&len) && self.len <= self.extended_len;
        sound.then_some(len)
    }
}

fn word_at(bytes: &[u8; MOST], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte))
}

fn long_at(bytes: &[u8; MOST], at: usize) -> u64 {
    u64::from(word_at(bytes, at)) | u64::from(word_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const PLAIN: Format = Format::new(0, 0xffbf);
    const XSAVE: Format = Format::new(X87 | SSE, 0xffff);
    const WIDE: Format = Format::new(X87 | SSE | AVX, 0xffff);

    /// Registers with something in each component.
    fn filled(format: Format) -> FpuState {
        let mut state = FpuState::new();
        state.0[32..SOFTWARE].fill(0x11);
        state.0[HEADER_END..].fill(if format.components & AVX == 0 { 0 } else { 0x22 });
        state.0[LEGACY] = format.components as u8;
        state
    }

    fn frame_of(state: &FpuState, format: Format) -> Vec<u8> {
        let mut frame = Vec::new();
        let put = |at: u64, bytes: &[u8]| {
            assert_eq!(at as usize, frame.len(), "no hole");
            frame.extend_from_slice(bytes);
            Ok::<(), ()>(())
        };
        state.store_frame(format, put).unwrap();
        assert_eq!(frame.len(), format.frame_len());
        frame
    }

    fn read(frame: &[u8], format: Format) -> Option<FpuState> {
        FpuState::from_frame(format, |at, bytes| {
            let part = frame.get(at as usize..at as usize + bytes.len());
            part.map(|part| bytes.copy_from_slice(part)).is_some()
        })
    }

    /// What the invariant of the type says.
    fn assert_loadable(state: &FpuState, format: Format) {
        assert_eq!(state.word(MXCSR) & !format.mxcsr_mask, 0);
        assert!(format.components == 0 || state.header_is_plain(format));
    }

    /// What a frame in which `change` was done gives.
    fn changed(format: Format, change: impl FnOnce(&mut [u8])) -> Option<FpuState> {
        let mut frame = frame_of(&filled(format), format);
        change(&mut frame);
        let state = read(&frame, format);
        state.iter().for_each(|state| assert_loadable(state, format));
        state
    }

    #[test]
    fn a_frame_gives_back_what_was_stored() {
        for format in [PLAIN, XSAVE, WIDE] {
            let state = filled(format);
            assert_eq!(read(&frame_of(&state, format), format).unwrap().0, state.0, "{format:?}");
        }
    }

    #[test]
    fn a_frame_says_what_linux_says() {
        let frame = frame_of(&filled(WIDE), WIDE);
        let word = |at: usize| u32::from_le_bytes(frame[at..at + 4].try_into().unwrap());
        assert_eq!([word(464), word(468), word(472), word(476), word(480)], [0x4650_5853, 836, 7, 0, 832]);
        assert_eq!(word(832), 0x4650_5845);
        assert!(frame_of(&filled(PLAIN), PLAIN)[464..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn what_the_cpu_would_refuse_is_refused() {
        for at in [LEGACY, LEGACY + 7, LEGACY + 8, LEGACY + 15, LEGACY + 16, HEADER_END - 1] {
            assert!(changed(WIDE, |frame| frame[at] |= 0x80).is_none(), "byte {at} of the header");
        }
        assert!(changed(XSAVE, |frame| frame[LEGACY] |= 4).is_none(), "YMM where they are not switched on");
        for format in [PLAIN, XSAVE, WIDE] {
            assert!(changed(format, |frame| frame[MXCSR + 2] = 1).is_none(), "a reserved bit of MXCSR");
        }
        assert!(changed(PLAIN, |frame| frame[MXCSR] |= 0x40).is_none(), "DAZ on a CPU without it");
        assert!(changed(WIDE, |frame| frame[MXCSR] |= 0x40).is_some());
    }

    #[test]
    fn a_frame_that_does_not_say_how_long_it_is_has_the_legacy_registers() {
        let damages: [(usize, u32); 6] = [(464, 0), (480, 0), (480, 575), (480, 833), (480, u32::MAX), (468, 831)];
        for (at, value) in damages.into_iter().chain([(832, 0)]) {
            let state = changed(WIDE, |frame| frame[at..at + 4].copy_from_slice(&value.to_le_bytes())).unwrap();
            assert_eq!(state.present(), X87 | SSE, "{value} at {at}");
            assert_eq!(state.0[160..LEGACY - 96], filled(WIDE).0[160..LEGACY - 96]);
        }
    }

    #[test]
    fn components_that_a_frame_leaves_out_are_initial() {
        let state = changed(WIDE, |frame| frame[472] = (X87 | SSE) as u8).unwrap();
        assert_eq!(state.present(), X87 | SSE);
        let state = changed(WIDE, |frame| frame[LEGACY] = AVX as u8).unwrap();
        assert_eq!(state.present(), AVX);
        let short = |frame: &mut [u8]| {
            frame[480..484].copy_from_slice(&(HEADER_END as u32).to_le_bytes());
            frame[HEADER_END..HEADER_END + 4].copy_from_slice(&MAGIC2.to_le_bytes());
        };
        let state = changed(WIDE, short).unwrap();
        assert!(state.0[HEADER_END..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_frame_that_ends_early_is_refused() {
        let frame = frame_of(&filled(WIDE), WIDE);
        for len in [0, 511, 512, 576, 832, 835] {
            assert!(read(&frame[..len], WIDE).is_none(), "{len} bytes");
        }
        assert!(read(&frame_of(&filled(PLAIN), PLAIN)[..511], PLAIN).is_none());
    }

    #[test]
    fn whatever_a_program_writes_the_result_can_be_loaded() {
        let mut random = 1u64;
        let mut next = move || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            random >> 33
        };
        let (mut taken, mut refused) = (0, 0);
        for round in 0..60_000 {
            let format = [PLAIN, XSAVE, WIDE][round % 3];
            let state = changed(format, |frame| {
                for _ in 0..=next() % 3 {
                    // Most damage where it matters: MXCSR, the software's words, the header, the end.
                    let starts = [MXCSR, SOFTWARE, LEGACY, frame.len().saturating_sub(8)];
                    let at = starts[next() as usize % 4] + next() as usize % 24;
                    frame.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << (at % 8));
                }
            });
            *if state.is_some() { &mut taken } else { &mut refused } += 1;
        }
        assert!(taken > 1000 && refused > 1000, "{taken} taken, {refused} refused");
    }
}
