//! Where the linker put the parts of the kernel, and the tables it collected (`boot/kernel.ld`).
use core::ops::Range;

unsafe extern "C" {
    static __kernel_start: u8;
    static __text_end: u8;
    static __rodata_end: u8;
    static __kernel_end: u8;
    static __boot_stack_top: u8;
    static __ex_table_start: [u64; 2];
    static __ex_table_end: [u64; 2];
    static __stac_sites_start: u64;
    static __stac_sites_end: u64;
    static __clac_sites_start: u64;
    static __clac_sites_end: u64;
    static __ktests_start: u8;
    static __ktests_end: u8;
}

/// The end of the stack for the way from the loader to the first guarded stack.
pub(super) fn boot_stack_top() -> u64 {
    (&raw const __boot_stack_top) as u64
}

/// The kernel's text, page aligned.
pub(super) fn text() -> Range<u64> {
    (&raw const __kernel_start) as u64..(&raw const __text_end) as u64
}

/// Read-only data, page aligned.
pub(super) fn rodata() -> Range<u64> {
    (&raw const __text_end) as u64..(&raw const __rodata_end) as u64
}

/// Writable data, page aligned.
pub(super) fn data() -> Range<u64> {
    (&raw const __rodata_end) as u64..(&raw const __kernel_end) as u64
}

/// A table that the linker collected between two symbols.
///
/// # Safety
///
/// Both must delimit initialised values of `T` in read-only memory.
unsafe fn table<T>(start: *const T, end: *const T) -> &'static [T] {
    let len = (end as usize - start as usize) / size_of::<T>();
    // SAFETY: the caller's promise.
    unsafe { core::slice::from_raw_parts(start, len) }
}

/// (address that may fault, where to go on) pairs.
pub(super) fn exception_table() -> &'static [[u64; 2]] {
    // SAFETY: `.ex_table` holds pairs of addresses only.
    unsafe { table(&raw const __ex_table_start, &raw const __ex_table_end) }
}

/// Addresses of the sites that become `stac`.
pub(super) fn stac_sites() -> &'static [u64] {
    // SAFETY: `.stac_sites` holds addresses only.
    unsafe { table(&raw const __stac_sites_start, &raw const __stac_sites_end) }
}

/// Addresses of the sites that become `clac`.
pub(super) fn clac_sites() -> &'static [u64] {
    // SAFETY: `.clac_sites` holds addresses only.
    unsafe { table(&raw const __clac_sites_start, &raw const __clac_sites_end) }
}

/// The registered in-kernel tests.
pub(crate) fn ktests() -> &'static [crate::KTest] {
    // SAFETY: `.ktests` holds the statics that the macro `ktest!` makes, and nothing else.
    unsafe { table((&raw const __ktests_start).cast(), (&raw const __ktests_end).cast()) }
}
