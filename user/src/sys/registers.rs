//! The x87, SSE and AVX registers all at once: loading them, making system calls or taking signals with them, and seeing what
//! is left. A CPU or a kernel without XSAVE has x87 and SSE.
use super::{Action, Memory, PAGE, abi, sigaction};
use std::arch::asm;
use std::arch::x86_64::__cpuid;
use std::mem::offset_of;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// x87.
pub const X87: u64 = 1;
/// XMM and MXCSR.
pub const SSE: u64 = 2;
/// The upper halves of YMM.
pub const AVX: u64 = 4;

const LEGACY: usize = 512;
const YMM: usize = 576;
const LEN: usize = 832;
/// Control and status words with the tags, MXCSR; the eight x87 registers have 10 bytes of 16 each, then come XMM.
const CONTROL: std::ops::Range<usize> = 0..5;
const MXCSR: std::ops::Range<usize> = 24..28;
const ST: usize = 32;
const XMM: std::ops::Range<usize> = 160..416;
/// The words of software in a signal frame.
const SOFTWARE: usize = 464;

/// The components that can be used: what XSAVE keeps; 0 without it.
pub fn components() -> u64 {
    const OSXSAVE: u32 = 1 << 27;
    if __cpuid(1).ecx & OSXSAVE == 0 {
        return 0;
    }
    let on: u32;
    // SAFETY: with OSXSAVE the instruction is there, and reads a control register.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") on, out("edx") _, options(nomem, nostack, preserves_flags)) };
    u64::from(on) & (X87 | SSE | AVX)
}

/// What the auxiliary vector says of the stack that a handler's start needs: `AT_MINSIGSTKSZ`; 0 if it does not.
pub fn min_signal_stack() -> u64 {
    unsafe extern "C" {
        fn getauxval(kind: u64) -> u64;
    }
    // SAFETY: a function of the C library that looks a number up.
    unsafe { getauxval(linux_raw_sys::auxvec::AT_MINSIGSTKSZ.into()) }
}

/// All the registers.
#[derive(Clone)]
#[repr(C, align(64))]
pub struct Image([u8; LEN]);

impl Image {
    /// As a program starts.
    pub fn initial() -> Image {
        let mut image = Image([0; LEN]);
        image.0[..2].copy_from_slice(&0x37fu16.to_le_bytes());
        image.0[MXCSR].copy_from_slice(&0x1f80u32.to_le_bytes());
        image
    }

    /// Something in each register, which another seed has not.
    pub fn pattern(seed: u64) -> Image {
        let mut image = Image::initial();
        // The precision of x87, all its registers in use, and the rounding of SSE.
        image.0[1] = if seed.is_multiple_of(2) { 3 } else { 2 };
        image.0[4] = 0xff;
        image.0[25] |= (seed as u8 & 3) << 5;
        for (at, word) in image.0.chunks_mut(8).enumerate().filter(|(at, _)| *at >= ST / 8) {
            let mixed = (seed * 1000 + at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            word.copy_from_slice(&mixed.to_le_bytes());
        }
        for st in (ST..XMM.start).step_by(16) {
            image.0[st + 10..st + 16].fill(0);
        }
        image.0[XMM.end..YMM].fill(0);
        let there = components();
        if there & AVX == 0 {
            image.0[YMM..].fill(0);
        }
        image.0[LEGACY] = there as u8;
        image
    }

    /// As now.
    pub fn current() -> Image {
        let mut seen = Image([0; LEN]);
        Job::new(&Image::initial(), SPIN, [0; 6], 0).run(&mut seen)
    }

    /// The same without the upper halves of YMM.
    pub fn without_avx(mut self) -> Image {
        self.0[YMM..].fill(0);
        self
    }

    /// The upper halves of YMM.
    pub fn upper_halves(&self) -> &[u8] {
        &self.0[YMM..]
    }

    /// The control word of x87, and that of SSE without its flags.
    pub fn control(&self) -> (u16, u32) {
        let word = |at: usize| u16::from_le_bytes([self.0[at], self.0[at + 1]]);
        (word(0), u32::from(word(24)) & !0x3f)
    }

    /// Whether a word of this pattern stands anywhere in `other`.
    pub fn shows_in(&self, other: &Image) -> bool {
        let registers = |image: &Image| [&image.0[ST..XMM.end], &image.0[YMM..]].concat();
        let words = |bytes: &[u8]| -> Vec<[u8; 8]> {
            bytes.chunks(8).filter_map(|word| word.try_into().ok()).filter(|word| *word != [0; 8]).collect()
        };
        let seen = words(&registers(other));
        // The second word of an x87 register has two bytes only.
        words(&registers(self)).iter().filter(|word| word[2..] != [0; 6]).any(|word| seen.contains(word))
    }

    /// Where another one differs, if it does.
    pub fn difference(&self, other: &Image) -> Option<usize> {
        let st = (ST..XMM.start).step_by(16).map(|st| st..st + 10);
        [CONTROL, MXCSR].into_iter().chain(st).chain([XMM, YMM..LEN]).flatten().find(|&at| self.0[at] != other.0[at])
    }
}

/// The number of no call: the loop only goes round.
const SPIN: u64 = u64::MAX;

/// What is done while the registers are loaded. The code below knows the fields by their offsets.
#[repr(C)]
struct Job {
    mask: u64,
    number: u64,
    args: [u64; 6],
    times: u64,
    result: u64,
    own: Image,
    loaded: Image,
    seen: Image,
}

macro_rules! run_job {
    ($job:expr, $save:literal, $load:literal) => {
        asm!(
            "mov eax, [r12 + {mask}]",
            "xor edx, edx",
            concat!($save, " [r12 + {own}]"),
            concat!($load, " [r12 + {loaded}]"),
            "2:",
            "cmp qword ptr [r12 + {times}], 0",
            "je 4f",
            "dec qword ptr [r12 + {times}]",
            "mov rax, [r12 + {number}]",
            "cmp rax, -1",
            "je 2b",
            "mov rdi, [r12 + {args}]",
            "mov rsi, [r12 + {args} + 8]",
            "mov rdx, [r12 + {args} + 16]",
            "mov r10, [r12 + {args} + 24]",
            "mov r8, [r12 + {args} + 32]",
            "mov r9, [r12 + {args} + 40]",
            "syscall",
            "mov [r12 + {result}], rax",
            "jmp 2b",
            "4:",
            "mov eax, [r12 + {mask}]",
            "xor edx, edx",
            concat!($save, " [r12 + {seen}]"),
            concat!($load, " [r12 + {own}]"),
            mask = const offset_of!(Job, mask),
            number = const offset_of!(Job, number),
            args = const offset_of!(Job, args),
            times = const offset_of!(Job, times),
            result = const offset_of!(Job, result),
            own = const offset_of!(Job, own),
            loaded = const offset_of!(Job, loaded),
            seen = const offset_of!(Job, seen),
            in("r12") $job,
            out("rax") _, out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        )
    };
}

impl Job {
    fn new(image: &Image, number: u64, args: [u64; 6], times: u64) -> Job {
        let zero = || Image([0; LEN]);
        Job { mask: components(), number, args, times, result: 0, own: zero(), loaded: image.clone(), seen: zero() }
    }

    /// Runs it, and gives the registers as they were before.
    fn run(&mut self, seen: &mut Image) -> Image {
        let has_xsave = self.mask != 0;
        let job: *mut Job = self;
        // SAFETY: the images are aligned and as large as the components; all registers that the compiler knows of are put back, or
        // named. What the calls do with memory is the promise of `call_with`.
        unsafe {
            if has_xsave {
                run_job!(job, "xsave64", "xrstor64");
            } else {
                run_job!(job, "fxsave64", "fxrstor64");
            }
        }
        *seen = self.seen.clone();
        self.own.clone()
    }
}

/// Loads the registers, makes a call `times` times, and sees what is left of them: that, and the result of the last call. The
/// promise about memory is that of [`super::raw`].
pub fn call_with(image: &Image, number: u32, args: [u64; 6], times: u64) -> (Image, i64) {
    let mut job = Job::new(image, number.into(), args, times);
    let mut seen = Image([0; LEN]);
    job.run(&mut seen);
    (seen, job.result as i64)
}

/// Loads the registers, goes round a loop in user mode, and sees what is left of them.
pub fn spin_with(image: &Image, rounds: u64) -> Image {
    let mut seen = Image([0; LEN]);
    Job::new(image, SPIN, [0; 6], rounds).run(&mut seen);
    seen
}

/// What the handler of [`on_signal`] does.
#[derive(Clone, Copy, Debug)]
pub enum Handler {
    /// It returns with other values in the registers.
    Clobber,
    /// It notes what its frame says: [`recorded`].
    Record,
    /// It changes 8 bytes of the FPU state in its frame: keeps the first bits, sets the second.
    Change(usize, u64, u64),
    /// It takes the magic word at the end of the state away.
    CutEnd,
    /// It takes the state out of the frame.
    Drop,
}

/// What [`Handler::Record`] has noted.
#[derive(Clone, Copy, Debug)]
pub struct Recorded {
    /// `uc_flags`.
    pub flags: u64,
    /// The first magic word, the whole length, the components, the length without the magic word at the end.
    pub software: [u64; 4],
    /// The magic word at the end, if the first one is there.
    pub end: u64,
    /// How far the stack pointer moved for the frame, from the interrupted code to the top of the FPU state.
    pub state: u64,
}

static KIND: AtomicU64 = AtomicU64::new(0);
static CHANGE: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
static NOTES: AtomicUsize = AtomicUsize::new(0);
static OTHERS: OnceLock<Image> = OnceLock::new();

/// Handles `signal` in this way.
pub fn on_signal(signal: u32, how: Handler) {
    OTHERS.get_or_init(|| {
        let mut image = Image::pattern(77);
        // Code of the compiler finds x87 empty, and the usual rounding.
        let initial = Image::initial();
        image.0[..32].copy_from_slice(&initial.0[..32]);
        image
    });
    if NOTES.load(Ordering::Relaxed) == 0 {
        NOTES.store(Memory::new(PAGE).addr(0) as usize, Ordering::Relaxed);
    }
    let (kind, change) = match how {
        Handler::Clobber => (0, [0; 3]),
        Handler::Record => (1, [0; 3]),
        Handler::Change(at, keep, set) => (2, [at as u64, keep, set]),
        Handler::CutEnd => (3, [0; 3]),
        Handler::Drop => (4, [0; 3]),
    };
    KIND.store(kind, Ordering::Relaxed);
    CHANGE.iter().zip(change).for_each(|(to, value)| to.store(value, Ordering::Relaxed));
    let action = Action::new(handler as *const () as usize, abi::SA_SIGINFO | abi::SA_RESTART);
    // SAFETY: a function of the C library with a structure as it declares it; the handler changes its own frame and atomics.
    assert!(unsafe { sigaction(signal as i32, &action, std::ptr::null_mut()) } == 0, "a handler");
}

/// What the handler has noted.
pub fn recorded() -> Recorded {
    let notes = Memory::of_kernel(NOTES.load(Ordering::Relaxed) as u64, PAGE);
    let word = |index: usize| notes.word(8 * index);
    Recorded { flags: word(0), software: [word(1), word(2), word(3), word(4)], end: word(5), state: word(6) }
}

extern "C" fn handler(_: i32, _: usize, context: usize) {
    /// Where a `ucontext_t` of the kernel has the address of the FPU state.
    const STATE: usize = 40 + 184;
    // SAFETY: the kernel hands over the address of a `ucontext_t` on the stack, which nobody else looks at while the handler runs.
    let word = |at: usize| unsafe { (at as *const u64).read_unaligned() };
    // SAFETY: as above.
    let set = |at: usize, value: u64| unsafe { (at as *mut u64).write_unaligned(value) };
    let state = word(context + STATE) as usize;
    let low = |at: usize| word(at) & 0xffff_ffff;
    match KIND.load(Ordering::Relaxed) {
        0 => clobber(),
        1 => {
            let software = state + SOFTWARE;
            let magic = low(software);
            let len = low(software + 16);
            let end = if magic == 0 { 0 } else { low(state + len as usize) };
            let notes = [word(context), magic, low(software + 4), word(software + 8), len, end, state as u64];
            Memory::of_kernel(NOTES.load(Ordering::Relaxed) as u64, PAGE).set_words(0, &notes);
        }
        2 => {
            let [at, keep, bits] = [0, 1, 2].map(|index| CHANGE[index].load(Ordering::Relaxed));
            set(state + at as usize, word(state + at as usize) & keep | bits);
        }
        3 => {
            let end = state + low(state + SOFTWARE + 16) as usize;
            set(end, word(end) & !0xffff_ffff);
        }
        _ => set(context + STATE, 0),
    }
}

/// Leaves other values in the registers.
fn clobber() {
    let Some(image) = OTHERS.get() else { return };
    let image: *const Image = image;
    // SAFETY: an image with x87 empty and the usual control words; the compiler is told that the other registers change.
    unsafe {
        match components() as u32 {
            0 => asm!("fxrstor64 [{}]", in(reg) image, clobber_abi("C")),
            mask => asm!("xrstor64 [{}]", in(reg) image, in("eax") mask, in("edx") 0, clobber_abi("C")),
        }
    }
}
