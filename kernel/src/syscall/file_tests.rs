//! The file calls on the host, through the table: registers in, memory of a simulated address space out.
use super::{SyscallContext, dispatch};
use crate::mm::{Backing, MapRequest, PAGE, Placement};
use crate::process::{Process, SigSet, System, Thread};
use alloc::vec::Vec;
use base::Errno;
use base::sync::Arc;
use fs::tmpfs;
use fs::vfs::Vfs;
use hal::user::{Prot, UserContext};
use linux_raw_sys::general as abi;

/// Where paths, buffers and structures stand in the simulated memory.
const PATH: u64 = 0x10_0000;
const PATH2: u64 = PATH + PAGE;
const BUF: u64 = PATH + 2 * PAGE;
const SPACE: u64 = 16 * PAGE;

struct Program {
    thread: Arc<Thread>,
    user: UserContext,
}

impl Program {
    fn new() -> Program {
        let system = System::new();
        let root = tmpfs::new(1, 0o755, 1024, 1024);
        system.set_vfs(Vfs::new(root, b"none", None).unwrap());
        Self::new_in(&system)
    }
    /// Another process of the same system.
    fn new_beside(other: &Program) -> Program {
        Self::new_in(&other.thread.process.system)
    }
    fn new_in(system: &Arc<System>) -> Program {
        let process = Process::new(system).unwrap();
        process.memory().unwrap().activate();
        let prot = Prot { read: true, write: true, exec: false };
        let (placement, backing) = (Placement::Fixed(PATH), Backing::Anonymous);
        process.memory().unwrap().map(MapRequest { placement, len: SPACE, prot, shared: false, backing }).unwrap();
        let thread = Thread::new(&process, process.pid, SigSet::default()).unwrap();
        Program { thread, user: UserContext::new(0, 0).unwrap() }
    }
    fn call<const N: usize>(&mut self, number: u32, args: [u64; N]) -> Result<u64, Errno> {
        let mut all = [0; 6];
        all[..N].copy_from_slice(&args);
        let regs = &mut self.user.regs;
        regs.rax = u64::from(number);
        [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9] = all;
        dispatch(&mut SyscallContext { thread: &self.thread, user: &mut self.user });
        match self.user.regs.rax as i64 {
            error @ -4095..=-1 => Err(Errno::from_number(-error as u16).unwrap()),
            value => Ok(value as u64),
        }
    }
    fn put(&self, at: u64, bytes: &[u8]) -> u64 {
        self.thread.mm.write_bytes(at, bytes).unwrap();
        at
    }
    fn get(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = alloc::vec![0; len];
        self.thread.mm.read_bytes(at, &mut bytes).unwrap();
        bytes
    }
    fn word(&self, at: u64) -> u64 {
        u64::from_ne_bytes(self.get(at, 8).try_into().unwrap())
    }
    fn open(&mut self, path: &[u8], flags: u32) -> Result<u64, Errno> {
        let path = self.put(PATH, path);
        self.call(abi::__NR_open, [path, u64::from(flags), 0o644])
    }
}

#[test]
fn a_file_is_written_read_and_described() {
    let mut p = Program::new();
    let fd = p.open(b"/f\0", abi::O_RDWR | abi::O_CREAT | abi::O_EXCL).unwrap();
    assert_eq!(p.open(b"/f\0", abi::O_RDWR | abi::O_CREAT | abi::O_EXCL), Err(Errno::EEXIST));
    p.put(BUF, b"hello world");
    assert_eq!(p.call(abi::__NR_write, [fd, BUF, 11]), Ok(11));
    assert_eq!(p.call(abi::__NR_pwrite64, [fd, BUF, 5, 6]), Ok(5));
    assert_eq!(
        p.call(abi::__NR_lseek, [fd, 0, u64::from(abi::SEEK_CUR)]),
        Ok(11),
        "an explicit position moves nothing"
    );
    assert_eq!(p.call(abi::__NR_pread64, [fd, BUF + 100, 100, 0]), Ok(11));
    assert_eq!(p.get(BUF + 100, 11), b"hello hello");
    assert_eq!(p.call(abi::__NR_read, [fd, BUF, 100]), Ok(0));
    assert_eq!(p.call(abi::__NR_pread64, [fd, BUF, 1, u64::MAX]), Err(Errno::EINVAL));
    assert_eq!(p.call(abi::__NR_fstat, [fd, BUF]), Ok(0));
    assert_eq!((p.word(BUF + 16), p.word(BUF + 48)), (1, 11), "one link, eleven bytes");
    assert_eq!(p.call(abi::__NR_ftruncate, [fd, 5]), Ok(0));
    assert_eq!(p.call(abi::__NR_fsync, [fd]), Ok(0));
    assert_eq!(p.call(abi::__NR_close, [fd]), Ok(0));
    assert_eq!(p.call(abi::__NR_close, [fd]), Err(Errno::EBADF));
}

#[test]
fn flag_6_minus_one_is_the_file_position_and_flag_7_limits() {
    let mut p = Program::new();
    let fd = p.open(b"f\0", abi::O_RDWR | abi::O_CREAT).unwrap();
    p.put(BUF, b"abcd");
    p.put(PATH, &[BUF.to_ne_bytes(), 4u64.to_ne_bytes()].concat());
    let minus = |n: i64| n as u64;
    assert_eq!(p.call(abi::__NR_pwritev2, [fd, PATH, 1, minus(-1), 0, 0]), Ok(4));
    assert_eq!(p.call(abi::__NR_pwritev2, [fd, PATH, 1, minus(-1), 0, 0]), Ok(4));
    assert_eq!(p.call(abi::__NR_pwritev2, [fd, PATH, 1, minus(-2), 0, 0]), Err(Errno::EINVAL));
    assert_eq!(p.call(abi::__NR_lseek, [fd, 0, u64::from(abi::SEEK_END)]), Ok(8));
    assert_eq!(p.call(abi::__NR_pwritev2, [fd, PATH, 1025, 0, 0, 0]), Err(Errno::EINVAL));
    assert_eq!(p.call(abi::__NR_pwritev2, [fd, 0x666_0000, 1, 0, 0, 0]), Err(Errno::EFAULT));
    assert_eq!(p.call(abi::__NR_pwritev2, [fd, PATH, 1, 0, 0, 0x200]), Err(Errno::EOPNOTSUPP), "tmpfs");
    assert_eq!(p.call(abi::__NR_write, [fd, 0x666_0000, 4]), Err(Errno::EFAULT));
}

#[test]
fn directories_are_made_listed_and_left() {
    let mut p = Program::new();
    let path = p.put(PATH, b"/d\0");
    assert_eq!(p.call(abi::__NR_mkdir, [path, 0o755]), Ok(0));
    assert_eq!(p.call(abi::__NR_chdir, [path]), Ok(0));
    assert_eq!(p.call(abi::__NR_getcwd, [BUF, 2]), Err(Errno::ERANGE));
    assert_eq!(p.call(abi::__NR_getcwd, [BUF, 100]), Ok(3));
    assert_eq!(p.get(BUF, 3), b"/d\0");
    p.open(b"file\0", abi::O_CREAT).unwrap();
    let dir = p.open(b".\0", abi::O_DIRECTORY).unwrap();
    assert_eq!(p.call(abi::__NR_getdents64, [dir, BUF, 10]), Err(Errno::EINVAL));
    assert_eq!(p.call(abi::__NR_getdents64, [dir, BUF, 1000]), Ok(24 + 24 + 24));
    assert_eq!(p.get(BUF + 48 + 19, 5), b"file\0");
    assert_eq!(p.call(abi::__NR_getdents64, [dir, BUF, 1000]), Ok(0));
    let (old, new) = (p.put(PATH, b"file\0"), p.put(PATH2, b"../moved\0"));
    assert_eq!(p.call(abi::__NR_rename, [old, new]), Ok(0));
    assert_eq!(p.call(abi::__NR_stat, [old, BUF]), Err(Errno::ENOENT));
    assert_eq!(p.call(abi::__NR_unlinkat, [dir, new, 0]), Ok(0));
    assert_eq!(p.call(abi::__NR_unlinkat, [dir, new, 1]), Err(Errno::EINVAL));
    assert_eq!(p.call(abi::__NR_openat, [999, new, 0, 0]), Err(Errno::EBADF));
}

#[test]
fn links_and_statx() {
    let mut p = Program::new();
    let (target, link) = (p.put(PATH, b"nowhere\0"), p.put(PATH2, b"/l\0"));
    assert_eq!(p.call(abi::__NR_symlink, [target, link]), Ok(0));
    assert_eq!(p.call(abi::__NR_readlink, [link, BUF, 3]), Ok(3));
    assert_eq!(p.get(BUF, 3), b"now");
    let cwd = abi::AT_FDCWD as u64;
    let all = u64::from(abi::STATX_BASIC_STATS);
    assert_eq!(p.call(abi::__NR_statx, [cwd, link, 0, all, BUF]), Err(Errno::ENOENT));
    let nofollow = u64::from(abi::AT_SYMLINK_NOFOLLOW);
    assert_eq!(p.call(abi::__NR_statx, [cwd, link, nofollow, all, BUF]), Ok(0));
    assert_eq!(p.word(BUF + 40), 7, "the size is that of the target's name");
    assert_eq!(p.call(abi::__NR_statx, [cwd, link, 1, all, BUF]), Err(Errno::EINVAL));
}

#[test]
fn descriptors_share_what_they_open() {
    let mut p = Program::new();
    let fd = p.open(b"f\0", abi::O_RDWR | abi::O_CREAT).unwrap();
    let twin = p.call(abi::__NR_dup, [fd]).unwrap();
    p.put(BUF, b"xyz");
    assert_eq!(p.call(abi::__NR_write, [twin, BUF, 3]), Ok(3));
    assert_eq!(p.call(abi::__NR_lseek, [fd, 0, 1]), Ok(3));
    let flags = u64::from(abi::O_APPEND | abi::O_TRUNC);
    assert_eq!(p.call(abi::__NR_fcntl, [fd, u64::from(abi::F_SETFL), flags]), Ok(0));
    let seen = p.call(abi::__NR_fcntl, [twin, u64::from(abi::F_GETFL)]).unwrap() as u32;
    assert_eq!(seen & (abi::O_APPEND | abi::O_TRUNC | abi::O_RDWR), abi::O_APPEND | abi::O_RDWR);
    let direct = u64::from(abi::O_DIRECT);
    assert_eq!(p.call(abi::__NR_fcntl, [fd, u64::from(abi::F_SETFL), direct]), Err(Errno::EINVAL));
    assert_eq!(p.call(abi::__NR_dup3, [fd, fd, 0]), Err(Errno::EINVAL));
    assert_eq!(p.call(abi::__NR_dup2, [fd, 100]), Ok(100));
    assert_eq!(p.call(abi::__NR_fcntl, [100, u64::from(abi::F_GETFD)]), Ok(0));
    assert_eq!(p.call(abi::__NR_ioctl, [fd, 0x5401, BUF]), Err(Errno::ENOTTY));
}

#[test]
fn pipes_and_poll() {
    let mut p = Program::new();
    assert_eq!(p.call(abi::__NR_pipe2, [BUF, 0]), Ok(0));
    let fds = p.word(BUF);
    let (reader, writer) = (fds & 0xffff_ffff, fds >> 32);
    let pollfd = |fd: u64| fd | 1 << 32;
    p.put(BUF, &[pollfd(reader).to_ne_bytes(), pollfd(77).to_ne_bytes()].concat());
    assert_eq!(p.call(abi::__NR_poll, [BUF, 1, 0]), Ok(0));
    assert_eq!(p.call(abi::__NR_poll, [BUF, 2, 0]), Ok(1));
    assert_eq!(p.word(BUF + 8) >> 48, u64::from(abi::POLLNVAL));
    p.put(PATH, b"data");
    assert_eq!(p.call(abi::__NR_write, [writer, PATH, 4]), Ok(4));
    assert_eq!(p.call(abi::__NR_poll, [BUF, 1, u64::MAX]), Ok(1));
    assert_eq!(p.call(abi::__NR_close, [writer]), Ok(0));
    assert_eq!(p.call(abi::__NR_read, [reader, PATH2, 100]), Ok(4));
    assert_eq!(p.call(abi::__NR_lseek, [reader, 0, 0]), Err(Errno::ESPIPE));
    assert_eq!(p.call(abi::__NR_fstat, [reader, BUF]), Ok(0));
    assert_eq!(p.word(BUF + 24) as u32 & 0o170000, 0o010000);
}

#[test]
fn sendfile_and_eventfd() {
    let mut p = Program::new();
    let from = p.open(b"a\0", abi::O_RDWR | abi::O_CREAT).unwrap();
    let to = p.open(b"b\0", abi::O_RDWR | abi::O_CREAT).unwrap();
    assert_eq!(p.call(abi::__NR_ftruncate, [from, 100_000]), Ok(0));
    assert_eq!(p.call(abi::__NR_sendfile, [to, from, 0, 1 << 30]), Ok(100_000));
    assert_eq!(p.call(abi::__NR_sendfile, [to, from, 0, 1 << 30]), Ok(0));
    let event = p.call(abi::__NR_eventfd2, [3, u64::from(abi::EFD_NONBLOCK)]).unwrap();
    assert_eq!(p.call(abi::__NR_read, [event, BUF, 8]), Ok(8));
    assert_eq!(p.word(BUF), 3);
    assert_eq!(p.call(abi::__NR_read, [event, BUF, 8]), Err(Errno::EAGAIN));
}

#[test]
fn fallocate_takes_one_mode_and_fiemap_a_file_with_extents() {
    let mut p = Program::new();
    let fd = p.open(b"f\0", abi::O_RDWR | abi::O_CREAT).unwrap();
    p.put(BUF, &[7; 3 * PAGE as usize]);
    assert_eq!(p.call(abi::__NR_write, [fd, BUF, 3 * PAGE]), Ok(3 * PAGE));
    let punch = u64::from(abi::FALLOC_FL_PUNCH_HOLE | abi::FALLOC_FL_KEEP_SIZE);
    assert_eq!(p.call(abi::__NR_fallocate, [fd, punch, 100, 2 * PAGE]), Ok(0));
    assert_eq!(p.call(abi::__NR_pread64, [fd, BUF, 4 * PAGE, 0]), Ok(3 * PAGE));
    let zeroed = 100..100 + 2 * PAGE as usize;
    assert!(
        p.get(BUF, 3 * PAGE as usize).iter().enumerate().all(|(i, b)| *b == if zeroed.contains(&i) { 0 } else { 7 })
    );
    for mode in [abi::FALLOC_FL_PUNCH_HOLE, abi::FALLOC_FL_COLLAPSE_RANGE, abi::FALLOC_FL_ZERO_RANGE, 1 << 20] {
        assert_eq!(p.call(abi::__NR_fallocate, [fd, mode.into(), 0, PAGE]), Err(Errno::EOPNOTSUPP), "{mode:#x}");
    }
    assert_eq!(p.call(abi::__NR_fallocate, [fd, punch, 0, 0]), Err(Errno::EINVAL));
    let fiemap = u64::from(linux_raw_sys::ioctl::FS_IOC_FIEMAP);
    assert_eq!(p.call(abi::__NR_ioctl, [fd, fiemap, BUF]), Err(Errno::EOPNOTSUPP), "tmpfs");
}

/// A `struct flock` for `F_SETLK` and its family.
fn record(kind: u32, start: i64, len: i64) -> Vec<u8> {
    let mut bytes = alloc::vec![0; 32];
    bytes[..2].copy_from_slice(&(kind as u16).to_ne_bytes());
    bytes[8..16].copy_from_slice(&start.to_ne_bytes());
    bytes[16..24].copy_from_slice(&len.to_ne_bytes());
    bytes
}

impl Program {
    fn lock(&mut self, fd: u64, command: u32, kind: u32, start: i64, len: i64) -> Result<u64, Errno> {
        self.thread.mm.activate();
        let at = self.put(BUF, &record(kind, start, len));
        self.call(abi::__NR_fcntl, [fd, u64::from(command), at])
    }
}

#[test]
fn record_locks_are_of_a_process_and_end_with_any_descriptor() {
    let mut parent = Program::new();
    let fd = parent.open(b"/f\0", abi::O_RDWR | abi::O_CREAT).unwrap();
    assert_eq!(parent.lock(fd, abi::F_SETLK, abi::F_WRLCK, 0, 10), Ok(0));
    assert_eq!(parent.lock(fd, abi::F_SETLK, abi::F_RDLCK, 5, 5), Ok(0), "never against its own");
    let mut child = Program::new_beside(&parent);
    let theirs = child.open(b"/f\0", abi::O_RDWR).unwrap();
    assert_eq!(child.lock(theirs, abi::F_SETLK, abi::F_WRLCK, 9, 1), Err(Errno::EAGAIN));
    assert_eq!(child.lock(theirs, abi::F_SETLK, abi::F_RDLCK, 9, 1), Ok(0));
    assert_eq!(child.lock(theirs, abi::F_GETLK, abi::F_WRLCK, 0, 0), Ok(0));
    let told = child.get(BUF, 32);
    assert_eq!(told[..2], (abi::F_WRLCK as u16).to_ne_bytes());
    assert_eq!(told[8..24], [0u64.to_ne_bytes(), 5u64.to_ne_bytes()].concat());
    assert_eq!(told[24..28], parent.thread.process.pid.to_ne_bytes());
    parent.thread.mm.activate();
    let again = parent.open(b"/f\0", abi::O_RDONLY).unwrap();
    assert_eq!(parent.lock(again, abi::F_SETLK, abi::F_WRLCK, 20, 1), Err(Errno::EBADF), "not open for writing");
    assert_eq!(parent.call(abi::__NR_close, [again]), Ok(0));
    assert_eq!(child.lock(theirs, abi::F_SETLK, abi::F_WRLCK, 0, 0), Ok(0), "the close of any descriptor lets go");
    assert_eq!(parent.lock(fd, abi::F_SETLK, abi::F_RDLCK, 0, 0), Err(Errno::EAGAIN));
    child.thread.process.close_all();
    assert_eq!(parent.lock(fd, abi::F_SETLK, abi::F_RDLCK, 0, 0), Ok(0), "the end of the process too");
    assert_eq!(parent.lock(fd, abi::F_GETLK, abi::F_UNLCK, 0, 0), Err(Errno::EINVAL));
    assert_eq!(parent.lock(fd, abi::F_SETLK, 7, 0, 0), Err(Errno::EINVAL));
    assert_eq!(parent.call(abi::__NR_fcntl, [fd, u64::from(abi::F_SETLK), 8]), Err(Errno::EFAULT));
}

#[test]
fn flock_and_ofd_locks_are_of_the_open_file() {
    let mut p = Program::new();
    let fd = p.open(b"/f\0", abi::O_RDWR | abi::O_CREAT).unwrap();
    let other = p.open(b"/f\0", abi::O_RDWR).unwrap();
    let flock = |p: &mut Program, fd, operation: u32| p.call(abi::__NR_flock, [fd, u64::from(operation)]);
    assert_eq!(flock(&mut p, fd, abi::LOCK_SH), Ok(0));
    assert_eq!(flock(&mut p, other, abi::LOCK_SH), Ok(0));
    assert_eq!(flock(&mut p, other, abi::LOCK_EX | abi::LOCK_NB), Err(Errno::EAGAIN));
    assert_eq!(flock(&mut p, fd, abi::LOCK_EX | abi::LOCK_NB), Ok(0), "the lock before is gone, as with Linux");
    let copy = p.call(abi::__NR_dup, [fd]).unwrap();
    assert_eq!(p.call(abi::__NR_close, [fd]), Ok(0));
    assert_eq!(flock(&mut p, other, abi::LOCK_EX | abi::LOCK_NB), Err(Errno::EAGAIN), "the open file has it");
    assert_eq!(p.call(abi::__NR_close, [copy]), Ok(0));
    assert_eq!(flock(&mut p, other, abi::LOCK_EX | abi::LOCK_NB), Ok(0));
    assert_eq!(flock(&mut p, other, 3), Err(Errno::EINVAL));
    let third = p.open(b"/f\0", abi::O_RDWR).unwrap();
    assert_eq!(p.lock(other, abi::F_OFD_SETLK, abi::F_WRLCK, 0, 1), Ok(0));
    assert_eq!(p.lock(third, abi::F_OFD_SETLK, abi::F_WRLCK, 0, 1), Err(Errno::EAGAIN));
    assert_eq!(p.lock(third, abi::F_SETLK, abi::F_WRLCK, 0, 1), Err(Errno::EAGAIN));
    assert_eq!(p.call(abi::__NR_close, [other]), Ok(0));
    assert_eq!(p.lock(third, abi::F_OFD_SETLK, abi::F_WRLCK, 0, 1), Ok(0));
}

#[test]
fn a_timerfd_counts_expiries_and_wakes_who_polls() {
    let mut p = Program::new();
    let create = |p: &mut Program, clock, flags: u32| p.call(abi::__NR_timerfd_create, [clock, u64::from(flags)]);
    assert_eq!(create(&mut p, 2, 0), Err(Errno::EINVAL));
    assert_eq!(create(&mut p, 1, 1), Err(Errno::EINVAL));
    let fd = create(&mut p, 1, abi::TFD_NONBLOCK).unwrap();
    assert_eq!(p.call(abi::__NR_read, [fd, BUF, 8]), Err(Errno::EAGAIN));
    let spec = |p: &Program, times: [u64; 4]| p.put(BUF, &bytes_of(&times));
    let at = spec(&p, [0, 1_000_000, 0, 1]);
    assert_eq!(p.call(abi::__NR_timerfd_settime, [fd, 0, at, 0]), Ok(0));
    let polled = p.put(BUF + 100, &[&(fd as u32).to_ne_bytes()[..], &[1, 0, 0, 0]].concat());
    assert_eq!(p.call(abi::__NR_poll, [polled, 1, 20_000]), Ok(1));
    assert_eq!(p.call(abi::__NR_read, [fd, BUF, 7]), Err(Errno::EINVAL));
    assert_eq!(p.call(abi::__NR_read, [fd, BUF, 8]), Ok(8));
    assert!(p.word(BUF) >= 1);
    assert_eq!(p.call(abi::__NR_poll, [polled, 1, 20_000]), Ok(1), "the interval goes on");
    let at = spec(&p, [0, 0, 3600, 0]);
    assert_eq!(p.call(abi::__NR_timerfd_settime, [fd, 0, at, BUF + 64]), Ok(0));
    assert_eq!(p.word(BUF + 72), 1_000_000, "the interval before");
    assert_eq!(p.call(abi::__NR_timerfd_gettime, [fd, BUF]), Ok(0));
    assert!((3590..=3600).contains(&p.word(BUF + 16)));
    assert_eq!(p.call(abi::__NR_timerfd_gettime, [1000, BUF]), Err(Errno::EBADF));
    let at = spec(&p, [0, 0, 0, 1_000_000_000]);
    assert_eq!(p.call(abi::__NR_timerfd_settime, [fd, 0, at, 0]), Err(Errno::EINVAL));
    assert_eq!(p.call(abi::__NR_close, [fd]), Ok(0));
}

/// Words as they lie in memory.
fn bytes_of(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

#[test]
fn an_alarm_is_a_signal_and_the_one_before_is_told() {
    let mut p = Program::new();
    assert_eq!(p.call(abi::__NR_alarm, [0]), Ok(0));
    assert_eq!(p.call(abi::__NR_alarm, [100]), Ok(0));
    assert_eq!(p.call(abi::__NR_alarm, [0]), Ok(100));
    let at = p.put(BUF, &bytes_of(&[0, 0, 0, 1000]));
    assert_eq!(p.call(abi::__NR_setitimer, [1, at, 0]), Err(Errno::EINVAL), "no timers of CPU time");
    assert_eq!(p.call(abi::__NR_setitimer, [0, at, 0]), Ok(0));
    let end = base::time::now_ns() + 20_000_000_000;
    while !p.thread.pending().contains(crate::process::Signal::SIGALRM) {
        assert!(base::time::now_ns() < end, "no SIGALRM");
        base::sched::yield_now();
    }
    assert_eq!(p.call(abi::__NR_getitimer, [0, BUF]), Ok(0));
    assert_eq!((p.word(BUF + 16), p.word(BUF + 24)), (0, 0));
    let at = p.put(BUF, &bytes_of(&[0, 0, 0, 1_000_000]));
    assert_eq!(p.call(abi::__NR_setitimer, [0, at, 0]), Err(Errno::EINVAL));
    assert_eq!(p.call(abi::__NR_setitimer, [0, 8, 0]), Err(Errno::EFAULT));
}

#[test]
fn a_range_is_copied_between_files_and_within_one_if_it_does_not_overlap() {
    let mut p = Program::new();
    let from = p.open(b"/from\0", abi::O_RDWR | abi::O_CREAT).unwrap();
    let to = p.open(b"/to\0", abi::O_RDWR | abi::O_CREAT).unwrap();
    let (offset, data) = (p.put(BUF, &bytes_of(&[2, 5])), p.put(BUF + 100, b"0123456789"));
    assert_eq!(p.call(abi::__NR_pwrite64, [from, data, 10, 0]), Ok(10));
    let copy = |p: &mut Program, args| p.call(abi::__NR_copy_file_range, args);
    assert_eq!(copy(&mut p, [from, offset, to, 0, 100, 0]), Ok(8), "up to the end of the file");
    assert_eq!((p.word(offset), p.call(abi::__NR_lseek, [to, 0, 1])), (10, Ok(8)), "both positions moved");
    assert_eq!(p.call(abi::__NR_pread64, [to, BUF + 100, 100, 0]), Ok(8));
    assert_eq!(p.get(BUF + 100, 8), b"23456789");
    assert_eq!(copy(&mut p, [from, offset, to, 0, 100, 0]), Ok(0));
    let (left, right) = (p.put(BUF, &bytes_of(&[0])), p.put(BUF + 8, &bytes_of(&[5])));
    assert_eq!(copy(&mut p, [from, left, from, right, 6, 0]), Err(Errno::EINVAL));
    assert_eq!(copy(&mut p, [from, left, from, right, 5, 0]), Ok(5));
    assert_eq!(copy(&mut p, [from, left, to, 0, 5, 1]), Err(Errno::EINVAL));
    let read_only = p.open(b"/to\0", abi::O_RDONLY).unwrap();
    assert_eq!(copy(&mut p, [from, 0, read_only, 0, 5, 0]), Err(Errno::EBADF));
}

#[test]
fn a_range_of_descriptors_is_closed() {
    let mut p = Program::new();
    let fds: Vec<u64> = (0..4).map(|_| p.open(b"/f\0", abi::O_RDWR | abi::O_CREAT).unwrap()).collect();
    assert_eq!(p.call(436, [fds[1], u64::from(u32::MAX), 4]), Ok(0));
    assert_eq!(p.call(abi::__NR_fcntl, [fds[3], u64::from(abi::F_GETFD)]), Ok(1));
    assert_eq!(p.call(436, [fds[1], fds[2], 0]), Ok(0));
    let is_open = |p: &mut Program, fd| p.call(abi::__NR_fcntl, [fd, u64::from(abi::F_GETFD)]).is_ok();
    assert_eq!(fds.iter().map(|&fd| is_open(&mut p, fd)).collect::<Vec<_>>(), [true, false, false, true]);
    assert_eq!(p.call(436, [2, 1, 0]), Err(Errno::EINVAL));
}

#[test]
fn priorities_are_kept_and_only_root_lowers_them() {
    let mut p = Program::new();
    let (get, set) = (abi::__NR_getpriority, abi::__NR_setpriority);
    assert_eq!(p.call(get, [0, 0]), Ok(20));
    assert_eq!(p.call(set, [0, 0, 100]), Ok(0));
    assert_eq!(p.call(get, [0, 0]), Ok(1), "the highest value is 19");
    assert_eq!(p.call(set, [1, 0, -5_i32 as u64]), Ok(0));
    assert_eq!(
        (p.call(get, [2, 0]), p.call(get, [0, 999]), p.call(get, [3, 0])),
        (Ok(25), Err(Errno::ESRCH), Err(Errno::EINVAL))
    );
    p.thread.process.credentials.lock().euid = 7;
    assert_eq!(p.call(set, [0, 0, -6_i32 as u64]), Err(Errno::EACCES));
    let param = p.put(BUF, &bytes_of(&[0]));
    assert_eq!(p.call(abi::__NR_sched_setscheduler, [0, 0, param]), Ok(0));
    assert_eq!(p.call(abi::__NR_sched_setscheduler, [0, 1, param]), Err(Errno::EINVAL));
    assert_eq!(p.call(abi::__NR_sched_get_priority_max, [1]), Ok(99));
}

#[test]
fn a_fifo_is_a_pipe_that_has_a_name() {
    let mut p = Program::new();
    let path = p.put(PATH, b"/fifo\0");
    assert_eq!(p.call(abi::__NR_mknod, [path, u64::from(abi::S_IFIFO | 0o644), 0]), Ok(0));
    let nonblock = abi::O_NONBLOCK;
    assert_eq!(p.open(b"/fifo\0", abi::O_WRONLY | nonblock), Err(Errno::ENXIO), "nobody reads");
    let reader = p.open(b"/fifo\0", abi::O_RDONLY | nonblock).unwrap();
    assert_eq!(p.call(abi::__NR_read, [reader, BUF, 1]), Ok(0), "nobody writes");
    let writer = p.open(b"/fifo\0", abi::O_WRONLY).unwrap();
    let data = p.put(BUF, b"hello");
    assert_eq!(p.call(abi::__NR_write, [writer, data, 5]), Ok(5));
    assert_eq!(p.call(abi::__NR_lseek, [writer, 0, 0]), Err(Errno::ESPIPE));
    assert_eq!(p.call(abi::__NR_read, [reader, BUF + 100, 100]), Ok(5));
    assert_eq!(p.get(BUF + 100, 5), b"hello");
    assert_eq!(p.call(abi::__NR_read, [reader, BUF, 1]), Err(Errno::EAGAIN));
    assert_eq!(p.call(abi::__NR_write, [writer, data, 5]), Ok(5));
    [reader, writer].into_iter().for_each(|fd| assert_eq!(p.call(abi::__NR_close, [fd]), Ok(0)));
    let both = p.open(b"/fifo\0", abi::O_RDWR | nonblock).unwrap();
    assert_eq!(p.call(abi::__NR_read, [both, BUF, 1]), Err(Errno::EAGAIN), "what nobody read is gone");

    let mut other = Program::new_beside(&p);
    assert_eq!(p.call(abi::__NR_close, [both]), Ok(0));
    let waiting = std::thread::spawn(move || {
        other.thread.mm.activate();
        other.open(b"/fifo\0", abi::O_RDONLY).is_ok()
    });
    // Whoever comes first waits for the other.
    p.thread.mm.activate();
    assert!(p.open(b"/fifo\0", abi::O_WRONLY).is_ok());
    assert!(waiting.join().unwrap());
}
