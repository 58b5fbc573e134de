//! Touching user memory, with recovery: an instruction that may fault is listed in the exception table with the place
//! to go on at, and the fault handler goes there.
//!
//! Copies move eight bytes at a time. If a copy of eight straddles the end of what is mapped, the rest is tried byte by
//! byte, so that the count is exact and the caller, which faults in the next byte, always makes progress.
use super::smap;
use super::user::USER_END;
use core::arch::naked_asm;

/// True if `len` bytes from `addr` are all in the user half.
fn in_user_half(addr: u64, len: usize) -> bool {
    addr <= USER_END && len as u64 <= USER_END - addr
}

/// Bytes from `addr` that are in the user half, at most `len`.
fn clamp(addr: u64, len: usize) -> usize {
    (USER_END.saturating_sub(addr)).min(len as u64) as usize
}

/// Copies from user memory; returns the bytes copied before the first that could not be.
///
/// # Safety
///
/// `dst` is writable for `len` bytes.
pub(super) unsafe fn copy_from(dst: *mut u8, src: u64, len: usize) -> usize {
    let len = clamp(src, len);
    // SAFETY: the caller's promise for `dst`; `src` is in the user half, where faults are recovered.
    len - unsafe { copy(dst as u64, src, len) }
}

/// Copies to user memory; returns the bytes copied before the first that could not be.
///
/// # Safety
///
/// `src` is readable for `len` bytes.
pub(super) unsafe fn copy_to(dst: u64, src: *const u8, len: usize) -> usize {
    let len = clamp(dst, len);
    // SAFETY: the caller's promise for `src`; `dst` is in the user half: no kernel memory is written.
    len - unsafe { copy(dst, src as u64, len) }
}

/// Zeroes user memory; returns the bytes zeroed before the first that could not be.
pub(super) fn zero(dst: u64, len: usize) -> usize {
    let len = clamp(dst, len);
    // SAFETY: `dst` is in the user half: no kernel memory is written, and faults are recovered.
    len - unsafe { fill_zero(dst, len) }
}

/// Reads an aligned user word.
pub(super) fn load_u32(addr: u64) -> Option<u32> {
    if !in_user_half(addr, 4) || !addr.is_multiple_of(4) {
        return None;
    }
    let mut value = 0;
    // SAFETY: `addr` is in the user half, and a fault is recovered.
    unsafe { load_word(addr, &mut value) }.then_some(value)
}

/// Compares and exchanges an aligned user word; returns what was there.
pub(super) fn cmpxchg_u32(addr: u64, old: u32, new: u32) -> Option<u32> {
    if !in_user_half(addr, 4) || !addr.is_multiple_of(4) {
        return None;
    }
    let mut seen = 0;
    // SAFETY: as above.
    unsafe { exchange_word(addr, old, new, &mut seen) }.then_some(seen)
}

/// Reads a word of kernel memory that may not be mapped: for stack scans in a panic, and for tests of guards.
pub(super) fn probe(addr: u64) -> Option<u64> {
    let mut value = 0;
    // SAFETY: a fault is recovered; reading has no effect otherwise (device memory is never asked for).
    unsafe { probe_word(addr, &mut value) }.then_some(value)
}

/// An exception-table entry: a fault at the first label goes on at the second.
macro_rules! recover {
    ($at:literal, $resume:literal) => {
        concat!(".pushsection .ex_table, \"a\"\n", ".quad ", $at, "b, ", $resume, "b\n", ".popsection")
    };
}

/// Copies `len` bytes and returns how many are left when it faults.
///
/// # Safety
///
/// The kernel side of the copy is valid for `len` bytes.
#[unsafe(naked)]
unsafe extern "sysv64" fn copy(dst: u64, src: u64, len: usize) -> usize {
    naked_asm!(
        smap::stac!(),
        "mov rcx, rdx",
        "shr rcx, 3",
        "21: rep movsq",
        "mov ecx, edx",
        "and ecx, 7",
        "22: rep movsb",
        "23:",
        smap::clac!(),
        "mov rax, rcx",
        "ret",
        // A fault among the words: what is left in bytes, from where the string instruction stopped.
        "24: and edx, 7",
        "lea rcx, [rdx + rcx * 8]",
        "jmp 22b",
        recover!("21", "24"),
        recover!("22", "23"),
    )
}

/// Zeroes `len` bytes and returns how many are left when it faults.
///
/// # Safety
///
/// No kernel memory is in the range.
#[unsafe(naked)]
unsafe extern "sysv64" fn fill_zero(dst: u64, len: usize) -> usize {
    naked_asm!(
        smap::stac!(),
        "xor eax, eax",
        "mov rcx, rsi",
        "shr rcx, 3",
        "31: rep stosq",
        "mov ecx, esi",
        "and ecx, 7",
        "32: rep stosb",
        "33:",
        smap::clac!(),
        "mov rax, rcx",
        "ret",
        "34: and esi, 7",
        "lea rcx, [rsi + rcx * 8]",
        "jmp 32b",
        recover!("31", "34"),
        recover!("32", "33"),
    )
}

/// # Safety
///
/// `value` is writable; `addr` is in the user half.
#[unsafe(naked)]
unsafe extern "sysv64" fn load_word(addr: u64, value: &mut u32) -> bool {
    naked_asm!(
        "xor eax, eax",
        smap::stac!(),
        "41: mov ecx, [rdi]",
        "mov eax, 1",
        "mov [rsi], ecx",
        "42:",
        smap::clac!(),
        "ret",
        recover!("41", "42"),
    )
}

/// # Safety
///
/// `seen` is writable; `addr` is in the user half.
#[unsafe(naked)]
unsafe extern "sysv64" fn exchange_word(addr: u64, old: u32, new: u32, seen: &mut u32) -> bool {
    naked_asm!(
        "mov eax, esi",
        "xor r8d, r8d",
        smap::stac!(),
        "51: lock cmpxchg [rdi], edx",
        "mov r8d, 1",
        "mov [rcx], eax",
        "52:",
        smap::clac!(),
        "mov eax, r8d",
        "ret",
        recover!("51", "52"),
    )
}

/// # Safety
///
/// `value` is writable; `addr` is not device memory.
#[unsafe(naked)]
unsafe extern "sysv64" fn probe_word(addr: u64, value: &mut u64) -> bool {
    naked_asm!("xor eax, eax", "61: mov rcx, [rdi]", "mov [rsi], rcx", "mov eax, 1", "62: ret", recover!("61", "62"),)
}
