//! Raw system calls: with its folder the one place of `user` with `unsafe`, and long for that.
//!
//! Measured calls must cost what the kernel costs and nothing else, so they go around the C library. Each wrapper keeps
//! the memory rules of its call: what the kernel reads or writes is borrowed for the call, or owned by [`AioQueue`] until the
//! request has ended.
#![allow(unsafe_code)]
pub mod registers;

use linux_raw_sys::{general as abi, ioctl as tty};
use std::arch::asm;
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::atomic::AtomicU32;

/// A file descriptor.
pub type Fd = i32;
/// Bytes of a page.
pub const PAGE: usize = 4096;
/// `RWF_WRITETHROUGH`; not in mainline Linux, where rows that need it say "unsupported".
pub const RWF_WRITETHROUGH: u32 = 0x200;
pub use abi::{MS_ASYNC, MS_INVALIDATE, MS_SYNC, O_CREAT, O_DIRECT, O_DSYNC, O_RDWR, O_TRUNC, RWF_DSYNC};

/// An error number, positive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub i32);

macro_rules! errnos {
    ($($(#[doc = $doc:literal])* $name:ident)*) => {
        $($(#[doc = $doc])* pub const $name: Errno = Errno(linux_raw_sys::errno::$name as i32);)*
    };
}
errnos! {
    /// "Operation not permitted".
    EPERM
    /// "No such file or directory".
    ENOENT
    /// "Interrupted system call".
    EINTR
    /// "Identifier removed".
    EIDRM
    /// "Input/output error".
    EIO
    /// "No such device or address".
    ENXIO
    /// "Device or resource busy".
    EBUSY
    /// "Out of memory"; also: not mapped.
    ENOMEM
    /// "No such process".
    ESRCH
    /// "Bad file descriptor".
    EBADF
    /// "Resource temporarily unavailable".
    EAGAIN
    /// "Permission denied".
    EACCES
    /// "Bad address".
    EFAULT
    /// "No such device": the file cannot be mapped so.
    ENODEV
    /// "Operation now in progress".
    EINPROGRESS
    /// "Invalid argument".
    EINVAL
    /// "Inappropriate ioctl for device".
    ENOTTY
    /// "File too large".
    EFBIG
    /// "No space left on device".
    ENOSPC
    /// "Illegal seek".
    ESPIPE
    /// "No such system call".
    ENOSYS
    /// "Operation not supported".
    EOPNOTSUPP
    /// "Invalid request descriptor": flags that FIEMAP does not understand.
    EBADR
}

/// The result of a call.
pub type Result<T> = std::result::Result<T, Errno>;

/// One system call.
///
/// # Safety
/// The arguments keep the memory rules of call `number`: every pointer is valid for what the kernel does with it.
#[inline(always)]
unsafe fn call(number: u32, args: [usize; 6]) -> Result<usize> {
    let result: isize;
    // SAFETY: the kernel preserves all registers but rax, rcx and r11; memory is the caller's promise.
    unsafe {
        asm!("syscall", inlateout("rax") number as usize => result, in("rdi") args[0], in("rsi") args[1],
             in("rdx") args[2], in("r10") args[3], in("r8") args[4], in("r9") args[5],
             out("rcx") _, out("r11") _, options(nostack));
    }
    if result < 0 { Err(Errno(-result as i32)) } else { Ok(result as usize) }
}

/// `getppid`
#[inline(always)]
pub fn getppid() -> usize {
    // SAFETY: the call takes no memory.
    unsafe { call(abi::__NR_getppid, [0; 6]) }.unwrap_or(0)
}

/// `open` with mode 0644.
pub fn open(path: &CStr, flags: u32) -> Result<Fd> {
    // SAFETY: the path is a C string that lives for the call.
    unsafe { call(abi::__NR_open, [path.as_ptr() as usize, flags as usize, 0o644, 0, 0, 0]) }.map(|fd| fd as Fd)
}

/// A descriptor that a call has just made, as a file that closes it.
pub fn own(fd: Fd) -> std::fs::File {
    use std::os::fd::FromRawFd;
    // SAFETY: the caller got the number from a call that makes descriptors, and gives it away here.
    unsafe { std::fs::File::from_raw_fd(fd) }
}

/// `close`
pub fn close(fd: Fd) -> Result<()> {
    // SAFETY: no memory.
    unsafe { call(abi::__NR_close, [fd as usize, 0, 0, 0, 0, 0]) }.map(drop)
}

/// `unlink`
pub fn unlink(path: &CStr) -> Result<()> {
    // SAFETY: the path is a C string that lives for the call.
    unsafe { call(abi::__NR_unlink, [path.as_ptr() as usize, 0, 0, 0, 0, 0]) }.map(drop)
}

/// Gives an open file another name: `linkat` with an empty path.
pub fn link(fd: Fd, new: &CStr) -> Result<()> {
    let (empty, at) = (c"".as_ptr() as usize, abi::AT_FDCWD as usize);
    let args = [fd as usize, empty, at, new.as_ptr() as usize, abi::AT_EMPTY_PATH as usize, 0];
    // SAFETY: two C strings that live for the call.
    unsafe { call(abi::__NR_linkat, args) }.map(drop)
}

/// `mount` without flags.
pub fn mount(source: &CStr, target: &CStr, kind: &CStr) -> Result<()> {
    mount_with(source, target, kind, c"")
}

/// `mount` with options of the file system.
pub fn mount_with(source: &CStr, target: &CStr, kind: &CStr, options: &CStr) -> Result<()> {
    let [source, target, kind, options] = [source, target, kind, options].map(|text| text.as_ptr() as usize);
    // SAFETY: four C strings that live for the call.
    unsafe { call(abi::__NR_mount, [source, target, kind, 0, options, 0]) }.map(drop)
}

/// `umount2` without flags.
pub fn umount(target: &CStr) -> Result<()> {
    // SAFETY: the path is a C string that lives for the call.
    unsafe { call(abi::__NR_umount2, [target.as_ptr() as usize, 0, 0, 0, 0, 0]) }.map(drop)
}

/// `mount` with `MS_REMOUNT`: makes the file system at `target` read-only, or writable again.
pub fn remount(target: &CStr, read_only: bool) -> Result<()> {
    let flags = abi::MS_REMOUNT | if read_only { abi::MS_RDONLY } else { 0 };
    let target = target.as_ptr() as usize;
    // SAFETY: a C string that lives for the call, in the place of all three.
    unsafe { call(abi::__NR_mount, [target, target, target, flags as usize, 0, 0]) }.map(drop)
}

/// `ioctl` with `FIFREEZE` or, to end it, `FITHAW`, on any file of a file system.
pub fn freeze(fd: Fd, frozen: bool) -> Result<()> {
    let command: usize = if frozen { 0xc004_5877 } else { 0xc004_5878 };
    // SAFETY: no memory.
    unsafe { call(abi::__NR_ioctl, [fd as usize, command, 0, 0, 0, 0]) }.map(drop)
}

/// An `ioctl` that reads or writes a value of type `T`.
///
/// # Safety
/// `command` reads and writes at most a `T`, of which every pattern of bytes is valid.
unsafe fn ioctl<T>(fd: Fd, command: u32, value: &mut T) -> Result<()> {
    // SAFETY: the value is borrowed exclusively for the call, and as large as the caller says.
    unsafe { call(abi::__NR_ioctl, [fd as usize, command as usize, value as *mut T as usize, 0, 0, 0]) }.map(drop)
}

/// The settings of a terminal.
pub fn terminal_settings(fd: Fd) -> Result<abi::termios> {
    let mut settings = abi::termios { c_iflag: 0, c_oflag: 0, c_cflag: 0, c_lflag: 0, c_line: 0, c_cc: [0; 19] };
    // SAFETY: the structure of the command, all integers.
    unsafe { ioctl(fd, tty::TCGETS, &mut settings) }.map(|()| settings)
}

/// Changes the settings of a terminal.
pub fn set_terminal(fd: Fd, mut settings: abi::termios) -> Result<()> {
    // SAFETY: as above.
    unsafe { ioctl(fd, tty::TCSETS, &mut settings) }
}

/// Rows and columns of a terminal.
pub fn window_size(fd: Fd) -> Result<[u16; 2]> {
    let mut size = [0u16; 4];
    // SAFETY: four numbers of this size are the structure of the command.
    unsafe { ioctl(fd, tty::TIOCGWINSZ, &mut size) }.map(|()| [size[0], size[1]])
}

/// The process group in the foreground of a terminal.
pub fn foreground(fd: Fd) -> Result<i32> {
    let mut group = 0i32;
    // SAFETY: the command writes one number.
    unsafe { ioctl(fd, tty::TIOCGPGRP, &mut group) }.map(|()| group)
}

/// Brings a process group to the foreground of a terminal.
pub fn set_foreground(fd: Fd, mut group: i32) -> Result<()> {
    // SAFETY: the command reads one number.
    unsafe { ioctl(fd, tty::TIOCSPGRP, &mut group) }
}

/// `setsid`
pub fn setsid() -> Result<i32> {
    // SAFETY: no memory.
    unsafe { call(abi::__NR_setsid, [0; 6]) }.map(|session| session as i32)
}

/// `kill`
pub fn kill(pid: i32, signal: u32) -> Result<()> {
    // SAFETY: no memory.
    unsafe { call(abi::__NR_kill, [pid as usize, signal as usize, 0, 0, 0, 0]) }.map(drop)
}

/// Ignores `signal`, or takes its default action back.
pub fn ignore_signal(signal: u32, ignored: bool) -> Result<()> {
    // The handler, flags, restorer and mask of the ABI.
    let action = [usize::from(ignored), 0, 0, 0];
    // SAFETY: neither 0 nor 1 is a handler that would be called; the action is read only.
    unsafe { call(abi::__NR_rt_sigaction, [signal as usize, action.as_ptr() as usize, 0, 8, 0, 0]) }.map(drop)
}

/// `wait4`: the status of the child `pid`.
pub fn wait4(pid: i32, options: u32) -> Result<u32> {
    let mut status = 0u32;
    let args = [pid as usize, &raw mut status as usize, options as usize, 0, 0, 0];
    // SAFETY: the call writes one number.
    unsafe { call(abi::__NR_wait4, args) }.map(|_| status)
}

/// `stat`; the size in bytes.
pub fn stat(path: &CStr) -> Result<u64> {
    let mut buffer = std::mem::MaybeUninit::<abi::stat>::zeroed();
    // SAFETY: the path is a C string; the buffer has the structure's size.
    unsafe { call(abi::__NR_stat, [path.as_ptr() as usize, buffer.as_mut_ptr() as usize, 0, 0, 0, 0]) }?;
    // SAFETY: all-zero bytes are a valid `stat`, and the kernel filled it.
    Ok(unsafe { buffer.assume_init() }.st_size as u64)
}

/// `fstat`; the size in bytes.
pub fn fstat(fd: Fd) -> Result<u64> {
    let mut buffer = std::mem::MaybeUninit::<abi::stat>::zeroed();
    // SAFETY: the buffer has the structure's size.
    unsafe { call(abi::__NR_fstat, [fd as usize, buffer.as_mut_ptr() as usize, 0, 0, 0, 0]) }?;
    // SAFETY: all-zero bytes are a valid `stat`, and the kernel filled it.
    Ok(unsafe { buffer.assume_init() }.st_size as u64)
}

/// `pread64`
#[inline(always)]
pub fn pread(fd: Fd, buffer: &mut [u8], pos: u64) -> Result<usize> {
    let args = [fd as usize, buffer.as_mut_ptr() as usize, buffer.len(), pos as usize, 0, 0];
    // SAFETY: the buffer is borrowed exclusively for the call.
    unsafe { call(abi::__NR_pread64, args) }
}

/// `pwrite64`
#[inline(always)]
pub fn pwrite(fd: Fd, buffer: &[u8], pos: u64) -> Result<usize> {
    // SAFETY: the buffer is borrowed for the call.
    unsafe { call(abi::__NR_pwrite64, [fd as usize, buffer.as_ptr() as usize, buffer.len(), pos as usize, 0, 0]) }
}

/// `pwritev2` of one buffer.
#[inline(always)]
pub fn pwritev2(fd: Fd, buffer: &[u8], pos: u64, flags: u32) -> Result<usize> {
    let iov = [buffer.as_ptr() as usize, buffer.len()];
    // SAFETY: the vector and the buffer are borrowed for the call.
    unsafe { call(abi::__NR_pwritev2, [fd as usize, iov.as_ptr() as usize, 1, pos as usize, 0, flags as usize]) }
}

/// `read`
#[inline(always)]
pub fn read(fd: Fd, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the buffer is borrowed exclusively for the call.
    unsafe { call(abi::__NR_read, [fd as usize, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0]) }
}

/// `write`
#[inline(always)]
pub fn write(fd: Fd, buffer: &[u8]) -> Result<usize> {
    // SAFETY: the buffer is borrowed for the call.
    unsafe { call(abi::__NR_write, [fd as usize, buffer.as_ptr() as usize, buffer.len(), 0, 0, 0]) }
}

/// `FUTEX_WAIT` among the threads of this process: sleeps while `word` is `value`, or not at all (`EAGAIN`).
#[inline(always)]
pub fn futex_wait(word: &AtomicU32, value: u32) -> Result<()> {
    let operation = (abi::FUTEX_WAIT | abi::FUTEX_PRIVATE_FLAG) as usize;
    // SAFETY: the word is borrowed for the call, without a time-out.
    unsafe { call(abi::__NR_futex, [word.as_ptr() as usize, operation, value as usize, 0, 0, 0]) }.map(drop)
}

/// `FUTEX_WAKE` of one thread of this process that waits for `word`.
#[inline(always)]
pub fn futex_wake(word: &AtomicU32) -> Result<()> {
    let operation = (abi::FUTEX_WAKE | abi::FUTEX_PRIVATE_FLAG) as usize;
    // SAFETY: the call does not even read the word.
    unsafe { call(abi::__NR_futex, [word.as_ptr() as usize, operation, 1, 0, 0, 0]) }.map(drop)
}

/// `execve` with an empty environment; comes back only with an error.
pub fn execve(path: &CStr, arguments: &[&CStr]) -> Errno {
    let argv: Vec<usize> = arguments.iter().map(|text| text.as_ptr() as usize).chain([0]).collect();
    let envp = [0usize];
    let args = [path.as_ptr() as usize, argv.as_ptr() as usize, envp.as_ptr() as usize, 0, 0, 0];
    // SAFETY: the path, the arguments and both lists, each with a zero at its end, live for the call.
    unsafe { call(abi::__NR_execve, args) }.err().unwrap_or(EINVAL)
}

/// `finit_module` without parameters, for a guest that runs Linux.
pub fn load_module(fd: Fd) -> Result<()> {
    // SAFETY: a C string that lives for the call.
    unsafe { call(abi::__NR_finit_module, [fd as usize, c"".as_ptr() as usize, 0, 0, 0, 0]) }.map(drop)
}

/// `fsync`
pub fn fsync(fd: Fd) -> Result<()> {
    // SAFETY: no memory.
    unsafe { call(abi::__NR_fsync, [fd as usize, 0, 0, 0, 0, 0]) }.map(drop)
}

/// `fdatasync`
pub fn fdatasync(fd: Fd) -> Result<()> {
    // SAFETY: no memory.
    unsafe { call(abi::__NR_fdatasync, [fd as usize, 0, 0, 0, 0, 0]) }.map(drop)
}

/// `sync`
pub fn sync() {
    // SAFETY: no memory; it never fails.
    let _ = unsafe { call(abi::__NR_sync, [0; 6]) };
}

/// `sync_file_range` with all three flags: waits, writes, waits.
pub fn sync_file_range(fd: Fd, pos: u64, len: usize) -> Result<()> {
    let flags = abi::SYNC_FILE_RANGE_WAIT_BEFORE | abi::SYNC_FILE_RANGE_WRITE | abi::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: no memory.
    unsafe { call(abi::__NR_sync_file_range, [fd as usize, pos as usize, len, flags as usize, 0, 0]) }.map(drop)
}

/// `ftruncate`
pub fn ftruncate(fd: Fd, size: u64) -> Result<()> {
    // SAFETY: no memory.
    unsafe { call(abi::__NR_ftruncate, [fd as usize, size as usize, 0, 0, 0, 0]) }.map(drop)
}

/// `fallocate`, with or without `FALLOC_FL_KEEP_SIZE`.
pub fn fallocate(fd: Fd, keep_size: bool, len: u64) -> Result<()> {
    fallocate_range(fd, u32::from(keep_size), 0, len)
}

/// `fallocate` in any mode.
pub fn fallocate_range(fd: Fd, mode: u32, pos: u64, len: u64) -> Result<()> {
    let args = [fd as usize, mode as usize, pos as usize, len as usize, 0, 0];
    // SAFETY: no memory.
    unsafe { call(abi::__NR_fallocate, args) }.map(drop)
}

/// `posix_fadvise` of a whole file with `POSIX_FADV_DONTNEED`: clean pages leave the cache.
pub fn drop_cache(fd: Fd) -> Result<()> {
    // SAFETY: no memory.
    unsafe { call(abi::__NR_fadvise64, [fd as usize, 0, 0, abi::POSIX_FADV_DONTNEED as usize, 0, 0]) }.map(drop)
}

/// `syncfs`
pub fn syncfs(fd: Fd) -> Result<()> {
    // SAFETY: no memory.
    unsafe { call(abi::__NR_syncfs, [fd as usize, 0, 0, 0, 0, 0]) }.map(drop)
}

/// `fstatfs`; blocks that are free for everybody.
pub fn free_blocks(fd: Fd) -> Result<u64> {
    fstatfs(fd).map(|of| of.f_bavail as u64)
}

/// `fstatfs`; bytes of a block.
pub fn block_size(fd: Fd) -> Result<u64> {
    fstatfs(fd).map(|of| of.f_bsize as u64)
}

fn fstatfs(fd: Fd) -> Result<abi::statfs> {
    let mut buffer = std::mem::MaybeUninit::<abi::statfs>::zeroed();
    // SAFETY: the buffer has the structure's size.
    unsafe { call(abi::__NR_fstatfs, [fd as usize, buffer.as_mut_ptr() as usize, 0, 0, 0, 0]) }?;
    // SAFETY: all-zero bytes are a valid `statfs`, and the kernel filled it.
    Ok(unsafe { buffer.assume_init() })
}

/// The time-stamp counter.
#[inline(always)]
pub fn tsc() -> u64 {
    // SAFETY: every x86-64 processor has it, and no kernel this runs on forbids it to user space.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Whether this program acts as another than who runs it (`AT_SECURE`).
pub fn is_secure() -> bool {
    const AT_SECURE: u64 = 23;
    unsafe extern "C" {
        fn getauxval(key: u64) -> u64;
    }
    // SAFETY: a function of the C library every program is linked with.
    unsafe { getauxval(AT_SECURE) != 0 }
}

/// `CLOCK_MONOTONIC`, in nanoseconds.
pub fn monotonic_ns() -> u64 {
    let mut time = [0i64; 2];
    // SAFETY: the call writes a `timespec`, which is two numbers.
    let read = unsafe {
        call(abi::__NR_clock_gettime, [abi::CLOCK_MONOTONIC as usize, time.as_mut_ptr() as usize, 0, 0, 0, 0])
    };
    read.expect("every system has this clock");
    time[0] as u64 * 1_000_000_000 + time[1] as u64
}

/// The NOP at which the instruction counter starts; nothing without that counter.
#[inline(always)]
pub fn count_start() {
    // SAFETY: a NOP with an immediate.
    unsafe { asm!(".byte 0x0f,0x1f,0x84,0x00,0x01,0x4b,0x52,0x4d", options(nomem, nostack, preserves_flags)) }
}

/// The NOP at which the instruction counter stops.
#[inline(always)]
pub fn count_stop() {
    // SAFETY: a NOP with an immediate.
    unsafe { asm!(".byte 0x0f,0x1f,0x84,0x00,0x02,0x4b,0x52,0x4d", options(nomem, nostack, preserves_flags)) }
}

/// What no program may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Misdeed {
    /// Go on at an address.
    Jump(u64),
    /// Return to an address.
    Return(u64),
    /// Load a byte from an address.
    Load(u64),
    /// Store a byte to an address.
    Store(u64),
    /// Use a stack at an address.
    Stack(u64),
    /// Divide by zero.
    Divide,
    /// An instruction that there is not.
    Undefined,
    /// A breakpoint with no debugger.
    Breakpoint,
    /// Stop the CPU.
    Halt,
    /// Mask interrupts.
    Mask,
    /// Write to a port.
    Port,
    /// Load another page table.
    PageTable,
    /// Write to a register of the machine.
    MachineRegister,
}

/// Does it. The process is meant to end by it; if it does not, it ends with code 77.
pub fn commit(misdeed: Misdeed) -> ! {
    // SAFETY: this is not safe: an address may be anything. It is for a child with nothing to lose, which the kernel ends at the first
    // of these instructions; should it not, nothing but the last call is done by it.
    unsafe {
        match misdeed {
            Misdeed::Jump(to) => asm!("jmp {}", in(reg) to),
            Misdeed::Return(to) => asm!("push {}", "ret", in(reg) to),
            Misdeed::Load(from) => asm!("mov {0:l}, [{0}]", inout(reg) from => _),
            Misdeed::Store(to) => asm!("mov byte ptr [{}], 1", in(reg) to),
            Misdeed::Stack(at) => asm!("mov rsp, {}", "push rax", in(reg) at),
            Misdeed::Divide => asm!("div {0:e}", in(reg) 0u64, inout("eax") 1 => _, inout("edx") 0 => _),
            Misdeed::Undefined => asm!("ud2"),
            Misdeed::Breakpoint => asm!("int3"),
            Misdeed::Halt => asm!("hlt"),
            Misdeed::Mask => asm!("cli"),
            Misdeed::Port => asm!("out 0xf4, al", in("al") 0u8),
            Misdeed::PageTable => asm!("mov cr3, {}", in(reg) 0u64),
            Misdeed::MachineRegister => asm!("wrmsr", in("ecx") 0xc000_0082u32, in("eax") 0, in("edx") 0),
        }
        let _ = call(abi::__NR_exit_group, [77, 0, 0, 0, 0, 0]);
    }
    unreachable!("the process has ended")
}

/// A page-aligned buffer of one page.
#[repr(C, align(4096))]
#[derive(Clone)]
pub struct PageBuffer(pub [u8; PAGE]);

/// A system call by number, for programs that try every argument there is.
///
/// The caller's promise, which the types cannot keep: an address, here or inside what is handed over, is one of a
/// [`Memory`], or one at which the process has nothing. The kernel then changes nothing that Rust knows of.
pub fn raw(number: u32, args: [u64; 6]) -> Result<u64> {
    // SAFETY: what the kernel writes lies in a `Memory`, which is only touched by volatile copies.
    unsafe { call(number, args.map(|arg| arg as usize)) }.map(|value| value as u64)
}

static SIGNALS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// Handles signal `number` by counting it; calls that it interrupts are not started again.
pub fn count_signal(number: i32) {
    count(number, false);
}

/// The same, but calls that it interrupts are started again, as far as such calls are.
pub fn count_signal_and_restart(number: i32) {
    count(number, true);
}

fn count(number: i32, restart: bool) {
    extern "C" fn handler(_: i32) {
        SIGNALS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
    unsafe extern "C" {
        fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
        fn siginterrupt(number: i32, on: i32) -> i32;
    }
    // SAFETY: functions of the C library every program is linked with; the handler only adds to an atomic.
    unsafe {
        signal(number, handler);
        siginterrupt(number, i32::from(!restart));
    }
}

/// How many signals were counted.
pub fn signals_counted() -> u64 {
    SIGNALS.load(std::sync::atomic::Ordering::Relaxed)
}

/// Memory that the kernel may read and write at any time. It is never given back, since requests in flight may use it, and
/// the page behind it cannot be touched.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    at: usize,
    len: usize,
}

impl Memory {
    /// `len` bytes of zeros, rounded up to pages: they end where the page that cannot be touched starts.
    pub fn new(len: usize) -> Memory {
        let len = len.next_multiple_of(PAGE);
        let (rw, flags) = (abi::PROT_READ | abi::PROT_WRITE, abi::MAP_PRIVATE | abi::MAP_ANONYMOUS);
        // SAFETY: a mapping at an address that the kernel chooses covers nothing that is in use.
        let at = unsafe { call(abi::__NR_mmap, [0, len + PAGE, rw as usize, flags as usize, usize::MAX, 0]) };
        let memory = Memory { at: at.expect("memory for a few pages"), len };
        memory.protect(len, PAGE, abi::PROT_NONE);
        memory
    }
    /// What the kernel has mapped into the process: an aio ring. The caller's promise is that of [`raw`].
    pub fn of_kernel(at: u64, len: usize) -> Memory {
        Memory { at: at as usize, len }
    }
    fn protect(self, offset: usize, len: usize, prot: u32) {
        // SAFETY: the range is this mapping's, and Rust has no references to it.
        unsafe { call(abi::__NR_mprotect, [self.at + offset, len, prot as usize, 0, 0, 0]) }.expect("own pages");
    }
    /// Takes the right to write away, also from the kernel.
    pub fn read_only(self) -> Memory {
        self.protect(0, self.len, abi::PROT_READ);
        self
    }
    /// Bytes.
    pub fn len(self) -> usize {
        self.len
    }
    /// Whether there is nothing; never.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }
    /// The address of the byte at `offset`; at the length, of what cannot be touched.
    pub fn addr(self, offset: usize) -> u64 {
        assert!(offset <= self.len);
        (self.at + offset) as u64
    }
    /// The address of the page that cannot be touched.
    pub fn end(self) -> u64 {
        self.addr(self.len)
    }
    /// Stores `bytes` at `offset`.
    pub fn set(self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.len);
        for (i, byte) in bytes.iter().enumerate() {
            // SAFETY: inside the mapping; volatile, since the kernel may look at any time.
            unsafe { ((self.at + offset + i) as *mut u8).write_volatile(*byte) }
        }
    }
    /// Loads `len` bytes from `offset` on.
    pub fn get(self, offset: usize, len: usize) -> Vec<u8> {
        assert!(offset + len <= self.len);
        // SAFETY: inside the mapping; volatile, since the kernel may change the bytes at any time.
        (0..len).map(|i| unsafe { ((self.at + offset + i) as *const u8).read_volatile() }).collect()
    }
    /// Stores words, one after the other.
    pub fn set_words(self, offset: usize, words: &[u64]) {
        words.iter().enumerate().for_each(|(i, word)| self.set(offset + i * 8, &word.to_ne_bytes()));
    }
    /// Loads the word at `offset`.
    pub fn word(self, offset: usize) -> u64 {
        u64::from_ne_bytes(self.get(offset, 8).try_into().expect("eight bytes"))
    }
}

/// `struct sigaction` of the C library.
#[repr(C)]
struct Action {
    handler: usize,
    mask: [u64; 16],
    flags: i32,
    restorer: usize,
}

impl Action {
    fn new(handler: usize, flags: u32) -> Action {
        Action { handler, mask: [0; 16], flags: flags as i32, restorer: 0 }
    }
}

unsafe extern "C" {
    fn sigaction(number: i32, new: *const Action, old: *mut Action) -> i32;
}

/// Lets a stack overflow end the program with status `code`: SIGSEGV is handled on an alternate stack, the only one that is left then.
pub fn exit_on_overflow(code: fn() -> i32) {
    static CODE: std::sync::OnceLock<fn() -> i32> = std::sync::OnceLock::new();
    #[repr(C)]
    struct Stack {
        base: usize,
        flags: i32,
        len: usize,
    }
    extern "C" fn handler(_: i32) {
        let code = CODE.get().map_or(1, |code| code());
        // SAFETY: no memory.
        let _ = unsafe { call(abi::__NR_exit_group, [code as usize, 0, 0, 0, 0, 0]) };
    }
    unsafe extern "C" {
        fn sigaltstack(new: *const Stack, old: *mut Stack) -> i32;
    }
    CODE.get_or_init(|| code);
    let memory = Memory::new(16 * PAGE);
    let action = Action::new(handler as *const () as usize, abi::SA_ONSTACK);
    let stack = Stack { base: memory.at, flags: 0, len: memory.len };
    // SAFETY: functions of the C library, with structures as it declares them; the stack is nobody else's and stays; the handler makes
    // one system call and does not return.
    let set = unsafe {
        sigaltstack(&stack, std::ptr::null_mut()) == 0
            && sigaction(abi::SIGSEGV as i32, &action, std::ptr::null_mut()) == 0
    };
    assert!(set, "a handler for stack overflows");
}

/// How a file is mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapKind {
    /// `PROT_WRITE`
    pub write: bool,
    /// `MAP_SHARED` instead of `MAP_PRIVATE`
    pub shared: bool,
}

/// A mapping of a file from its first byte on. Bytes are read and written one at a time: the file may change under it.
pub struct FileMap {
    at: *mut u8,
    len: usize,
    mapped: usize,
    write: bool,
}

// SAFETY: the pages are this value's to unmap, and its loads and stores, of single bytes, may come from any thread.
unsafe impl Send for FileMap {}

impl FileMap {
    /// `mmap` of `len` bytes.
    pub fn new(fd: Fd, len: usize, kind: MapKind) -> Result<FileMap> {
        let prot = abi::PROT_READ | if kind.write { abi::PROT_WRITE } else { 0 };
        let flags = if kind.shared { abi::MAP_SHARED } else { abi::MAP_PRIVATE };
        // SAFETY: a mapping at an address that the kernel chooses covers nothing that is in use.
        let at = unsafe { call(abi::__NR_mmap, [0, len, prot as usize, flags as usize, fd as usize, 0]) }?;
        Ok(FileMap { at: at as *mut u8, len, mapped: len, write: kind.write })
    }
    /// The byte at `offset`. Where the file has ended, the program dies of SIGBUS.
    pub fn get(&self, offset: usize) -> u8 {
        assert!(offset < self.mapped);
        // SAFETY: inside the mapping; volatile, since the kernel may change the byte at any time.
        unsafe { self.at.add(offset).read_volatile() }
    }
    /// Stores `byte` at `offset` of a writable mapping.
    pub fn set(&mut self, offset: usize, byte: u8) {
        assert!(offset < self.mapped && self.write);
        // SAFETY: inside the mapping, which is writable.
        unsafe { self.at.add(offset).write_volatile(byte) }
    }
    /// `mprotect` to readable and writable.
    pub fn make_writable(&mut self) -> Result<()> {
        let prot = (abi::PROT_READ | abi::PROT_WRITE) as usize;
        // SAFETY: the range is this mapping's; more rights take nothing from anybody.
        unsafe { call(abi::__NR_mprotect, [self.at as usize, self.mapped, prot, 0, 0, 0]) }?;
        self.write = true;
        Ok(())
    }
    /// `mprotect` to readable only.
    pub fn make_read_only(&mut self) -> Result<()> {
        self.write = false;
        // SAFETY: the range is this mapping's, and nothing is stored to it any more.
        unsafe { call(abi::__NR_mprotect, [self.at as usize, self.mapped, abi::PROT_READ as usize, 0, 0, 0]) }.map(drop)
    }
    /// `msync` of `len` bytes from `offset` on, mapped or not.
    pub fn sync(&self, offset: usize, len: usize, flags: u32) -> Result<()> {
        // SAFETY: the call changes no memory.
        unsafe { call(abi::__NR_msync, [self.at as usize + offset, len, flags as usize, 0, 0, 0]) }.map(drop)
    }
    /// `madvise(MADV_DONTNEED)` of everything.
    pub fn forget(&self) -> Result<()> {
        let advice = abi::MADV_DONTNEED as usize;
        // SAFETY: the pages are this mapping's, to which no references exist.
        unsafe { call(abi::__NR_madvise, [self.at as usize, self.mapped, advice, 0, 0, 0]) }.map(drop)
    }
    /// `preadv2` into the `len` bytes from `offset` on.
    pub fn read_from(&mut self, offset: usize, len: usize, fd: Fd, pos: u64) -> Result<usize> {
        assert!(offset + len <= self.mapped && self.write);
        let iov = [self.at as usize + offset, len];
        // SAFETY: the bytes are this mapping's, which is borrowed exclusively.
        unsafe { call(abi::__NR_preadv2, [fd as usize, iov.as_ptr() as usize, 1, pos as usize, 0, 0]) }
    }
    /// Unmaps everything from `offset` on, a multiple of the page size.
    pub fn cut(&mut self, offset: usize) -> Result<()> {
        assert!(offset <= self.mapped && offset.is_multiple_of(PAGE));
        // SAFETY: the pages are this mapping's; what remains is shorter from now on.
        unsafe { call(abi::__NR_munmap, [self.at as usize + offset, self.mapped - offset, 0, 0, 0, 0]) }?;
        self.mapped = offset;
        Ok(())
    }
    /// `pwritev2` of the `len` bytes from `offset` on, whether the kernel can read them or not.
    pub fn write_to(&self, offset: usize, len: usize, fd: Fd, pos: u64, flags: u32) -> Result<usize> {
        assert!(offset + len <= self.len);
        let iov = [self.at as usize + offset, len];
        // SAFETY: the kernel only reads, and stops where nothing is mapped.
        unsafe { call(abi::__NR_pwritev2, [fd as usize, iov.as_ptr() as usize, 1, pos as usize, 0, flags as usize]) }
    }
}

impl Drop for FileMap {
    fn drop(&mut self) {
        // SAFETY: nothing refers to the pages any more.
        let _ = unsafe { call(abi::__NR_munmap, [self.at as usize, self.mapped.max(1), 0, 0, 0, 0]) };
    }
}

/// An aio context with its requests and buffers, which it owns until no request is in flight.
pub struct AioQueue {
    context: usize,
    buffers: Box<[PageBuffer]>,
    iocbs: Box<[abi_iocb::Iocb]>,
    events: Box<[abi_iocb::Event]>,
    free: Vec<usize>,
    /// Requests prepared and not yet submitted.
    batch: Vec<usize>,
    in_flight: usize,
}

/// The aio structures of the ABI, which the bindings do not carry with these fields.
mod abi_iocb {
    /// `struct iocb`
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    pub struct Iocb {
        pub data: u64,
        pub key: u32,
        pub rw_flags: u32,
        pub opcode: u16,
        pub priority: i16,
        pub fd: u32,
        pub buffer: u64,
        pub len: u64,
        pub pos: i64,
        pub reserved2: u64,
        pub flags: u32,
        pub eventfd: u32,
    }
    /// `struct io_event`
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    pub struct Event {
        pub data: u64,
        pub iocb: u64,
        pub result: i64,
        pub result2: i64,
    }
}

impl AioQueue {
    /// A context for `depth` requests of one page each.
    pub fn new(depth: usize) -> Result<AioQueue> {
        let mut context = 0usize;
        // SAFETY: the context word is borrowed for the call.
        unsafe { call(abi::__NR_io_setup, [depth, &raw mut context as usize, 0, 0, 0, 0]) }?;
        Ok(AioQueue {
            context,
            buffers: (0..depth).map(|i| PageBuffer([i as u8 + 1; PAGE])).collect(),
            iocbs: vec![abi_iocb::Iocb::default(); depth].into(),
            events: vec![abi_iocb::Event::default(); depth].into(),
            free: (0..depth).collect(),
            batch: Vec::with_capacity(depth),
            in_flight: 0,
        })
    }

    /// Whether another request fits.
    pub fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Adds a one-page read or write to the batch. There is room.
    pub fn prepare(&mut self, fd: Fd, write: bool, pos: u64, rw_flags: u32) {
        let slot = self.free.pop().expect("the caller looked for room");
        self.iocbs[slot] = abi_iocb::Iocb {
            data: slot as u64,
            opcode: u16::from(write),
            fd: fd as u32,
            rw_flags,
            buffer: self.buffers[slot].0.as_mut_ptr() as u64,
            len: PAGE as u64,
            pos: pos as i64,
            ..Default::default()
        };
        self.batch.push(&raw const self.iocbs[slot] as usize);
    }

    /// Submits the batch; calls `io_submit` until all of it is taken.
    pub fn submit(&mut self) -> Result<()> {
        let mut done = 0;
        while done < self.batch.len() {
            let rest = &self.batch[done..];
            // SAFETY: the pointers lead to requests and buffers that `self` keeps until they have ended.
            done += unsafe { call(abi::__NR_io_submit, [self.context, rest.len(), rest.as_ptr() as usize, 0, 0, 0]) }?;
        }
        self.in_flight += done;
        self.batch.clear();
        Ok(())
    }

    /// Waits for at least one event and frees the slots of all that came. An event that is no full page is an error.
    pub fn reap(&mut self) -> Result<usize> {
        let args = [self.context, 1, self.events.len(), self.events.as_mut_ptr() as usize, 0, 0];
        // SAFETY: the events are borrowed exclusively, and there are as many as is said.
        let n = unsafe { call(abi::__NR_io_getevents, args) }?;
        for event in &self.events[..n] {
            if event.result != PAGE as i64 {
                return Err(Errno((-event.result).max(1) as i32));
            }
            self.free.push(event.data as usize);
        }
        self.in_flight -= n;
        Ok(n)
    }
}

impl Drop for AioQueue {
    /// Waits for every request: the kernel is done with the buffers when `io_destroy` has returned.
    fn drop(&mut self) {
        // SAFETY: no memory is handed over.
        let _ = unsafe { call(abi::__NR_io_destroy, [self.context, 0, 0, 0, 0, 0]) };
    }
}

/// Asynchronous writes of any length, each with its bytes, which are owned until its event has come.
pub struct AioWrites {
    context: usize,
    depth: usize,
    in_flight: BTreeMap<u64, (Box<abi_iocb::Iocb>, Vec<u8>)>,
}

impl AioWrites {
    /// A context for `depth` requests.
    pub fn new(depth: usize) -> Result<AioWrites> {
        let mut context = 0usize;
        // SAFETY: the context word is borrowed for the call.
        unsafe { call(abi::__NR_io_setup, [depth, &raw mut context as usize, 0, 0, 0, 0]) }?;
        Ok(AioWrites { context, depth, in_flight: BTreeMap::new() })
    }

    /// Whether another request fits.
    pub fn has_room(&self) -> bool {
        self.in_flight.len() < self.depth
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Submits a write of `bytes`. Its event bears `tag`, which no other request in flight has. Errors: no event will come.
    pub fn submit(&mut self, fd: Fd, pos: u64, bytes: Vec<u8>, rw_flags: u32, tag: u64) -> Result<()> {
        assert!(!self.in_flight.contains_key(&tag), "tags tell requests apart");
        let iocb = Box::new(abi_iocb::Iocb {
            data: tag,
            opcode: 1,
            fd: fd as u32,
            rw_flags,
            buffer: bytes.as_ptr() as u64,
            len: bytes.len() as u64,
            pos: pos as i64,
            ..Default::default()
        });
        let list = [&raw const *iocb as usize];
        // SAFETY: the kernel reads the list and the request during the call. The bytes stay where they are until the event: they are
        // moved into `in_flight` as a vector, whose memory does not move.
        unsafe { call(abi::__NR_io_submit, [self.context, 1, list.as_ptr() as usize, 0, 0, 0]) }?;
        self.in_flight.insert(tag, (iocb, bytes));
        Ok(())
    }

    /// Takes the events that have come, at least `least` of them: tags and outcomes.
    pub fn reap(&mut self, least: usize) -> Result<Vec<(u64, Result<usize>)>> {
        let mut events = vec![abi_iocb::Event::default(); self.depth];
        let args = [self.context, least.min(self.in_flight.len()), events.len(), events.as_mut_ptr() as usize, 0, 0];
        // SAFETY: the events are borrowed exclusively, and there are as many as is said.
        let n = unsafe { call(abi::__NR_io_getevents, args) }?;
        let ended = events[..n].iter().map(|event| {
            self.in_flight.remove(&event.data);
            let result = event.result;
            (event.data, if result < 0 { Err(Errno(-result as i32)) } else { Ok(result as usize) })
        });
        Ok(ended.collect())
    }
}

impl Drop for AioWrites {
    /// Waits for every request: the kernel is done with the bytes when `io_destroy` has returned.
    fn drop(&mut self) {
        // SAFETY: no memory is handed over.
        let _ = unsafe { call(abi::__NR_io_destroy, [self.context, 0, 0, 0, 0, 0]) };
    }
}
