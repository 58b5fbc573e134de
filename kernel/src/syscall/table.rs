//! The table of system calls. One line a call: number, name, handler with the names of its arguments, and what it supports.
//!
//! The types of the arguments are those of the handler: see [`Register`](super::Register). A call that is another one with some
//! arguments fixed says so behind `with`: what the handler gets instead of the registers in their order. The document `docs/SYSCALLS.md` is made from
//! this table by [`describe`]. File calls have their handlers beside the others in this folder.
use super::read_write::{Buffers, Position};
use super::{Handler, to_register};
use super::{
    access, aio, attrs, cwd, descriptors, exec, futex, getdents, identity, limits, locks, memory, misc, mounts, names,
    open, pipes, poll, posix_timers, process, read_write, schedule, seek, sem, shm, signals, stat, statfs, sync, time,
    timers, wait,
};
use core::fmt::{self, Write};
use linux_raw_sys::general as abi;

const CWD: i32 = abi::AT_FDCWD;

/// Numbers below this one have a place in the table.
pub const TABLE_LEN: usize = 512;

struct Entry {
    number: usize,
    name: &'static str,
    arguments: &'static [&'static str],
    handler: Handler,
    doc: &'static str,
}

/// The call of a handler: with the registers in their order, or with what stands behind `with`.
macro_rules! handle {
    ($context:ident $handler:path [$($arg:ident),*]) => { $handler($context, $($arg.into()),*) };
    ($context:ident $handler:path [$($arg:ident),*] $($passed:expr),*) => { $handler($context, $($passed.into()),*) };
}

macro_rules! calls {
    ($($number:literal $name:ident => $handler:path [$($arg:ident),*] $(with ($($passed:expr),*))? $doc:literal;)*) => {
        static ENTRIES: &[Entry] = &[$(Entry {
            number: $number,
            name: stringify!($name),
            arguments: &[$(stringify!($arg)),*],
            handler: |context| {
                #[allow(unused_variables, reason = "the upper half of an offset means nothing on 64 bits")]
                let [$($arg,)* ..] = context.arguments();
                to_register(handle!(context $handler [$($arg),*] $($($passed),*)?))
            },
            doc: $doc,
        },)*];
    };
}

calls! {
    0 read => read_write::read [fd, buffer, len] with (fd, Buffers::One(buffer.into(), len.into()), Position::Current, 0u32) "Complete.";
    1 write => read_write::write [fd, buffer, len] with (fd, Buffers::One(buffer.into(), len.into()), Position::Current, 0u32) "Complete.";
    2 open => open::openat [path, flags, mode] with (CWD, path, flags, mode) "As openat.";
    3 close => open::close [fd] "Complete.";
    4 stat => stat::newfstatat [path, out] with (CWD, path, out, 0u32) "Complete.";
    5 fstat => stat::fstat [fd, out] "Complete.";
    6 lstat => stat::newfstatat [path, out] with (CWD, path, out, abi::AT_SYMLINK_NOFOLLOW) "Complete.";
    7 poll => poll::poll [fds, count, timeout] "`POLLIN`, `POLLOUT`, `POLLHUP`, `POLLERR`; sleeps until a file has changed.";
    8 lseek => seek::lseek [fd, offset, whence] "Complete, `SEEK_DATA` and `SEEK_HOLE` included.";
    9 mmap => memory::mmap [addr, len, prot, flags, fd, offset] "Private and shared anonymous memory; files, private and shared, those for stores only if they are open for writing. `MAP_POPULATE`, `MAP_LOCKED`. A shared file that is in no page cache and no memory (procfs): `ENODEV`. No huge pages, no `MAP_GROWSDOWN`: `EINVAL`.";
    10 mprotect => memory::mprotect [addr, len, prot] "Read, write, execute in any combination.";
    11 munmap => memory::munmap [addr, len] "Complete.";
    12 brk => memory::brk [addr] "Complete.";
    13 rt_sigaction => signals::rt_sigaction [signal, action, old, size] "Handlers with `SA_SIGINFO`, `SA_ONSTACK`, `SA_NODEFER`, `SA_RESETHAND`, `SA_RESTART`.";
    14 rt_sigprocmask => signals::rt_sigprocmask [how, set, old, size] "Complete.";
    15 rt_sigreturn => signals::rt_sigreturn [] "Complete; FPU state of the frame included.";
    16 ioctl => descriptors::ioctl [fd, command, arg] "`FIONBIO`, `FIOCLEX`, `FIONCLEX`, `FIFREEZE`, `FITHAW`, `FS_IOC_FIEMAP`, `EXT4_IOC_SHUTDOWN`. Terminals: settings (`TCGETS`, `TCSETS`, with `W` and `F`, and their second versions), window size, `TIOCGPGRP`, `TIOCSPGRP`, `TIOCGSID`, `TIOCSCTTY`, `TIOCNOTTY`, `FIONREAD`, `TIOCOUTQ`, `TCFLSH`, `TCSBRK`, `TCSBRKP`; `TCXONC` has nothing to stop. Others: `ENOTTY`.";
    17 pread64 => read_write::read [fd, buffer, len, offset] with (fd, Buffers::One(buffer.into(), len.into()), Position::At(offset.into()), 0u32) "Complete.";
    18 pwrite64 => read_write::write [fd, buffer, len, offset] with (fd, Buffers::One(buffer.into(), len.into()), Position::At(offset.into()), 0u32) "Complete.";
    19 readv => read_write::read [fd, iov, count] with (fd, Buffers::Vector(iov.into(), count.into()), Position::Current, 0u32) "Complete.";
    20 writev => read_write::write [fd, iov, count] with (fd, Buffers::Vector(iov.into(), count.into()), Position::Current, 0u32) "Complete.";
    21 access => access::faccessat2 [path, mode] with (CWD, path, mode, 0u32) "Complete.";
    22 pipe => pipes::pipe2 [out] with (out, 0u32) "As pipe2.";
    23 select => poll::select [count, read, write, except, timeout] "Complete; the third set is always empty afterwards.";
    24 sched_yield => misc::sched_yield [] "Complete.";
    25 mremap => memory::mremap [addr, old_len, new_len, flags, new_addr] "`MREMAP_MAYMOVE`, `MREMAP_FIXED`. No `MREMAP_DONTUNMAP`, no old length of 0: `EINVAL`.";
    26 msync => memory::msync [addr, len, flags] "`MS_SYNC`: fsync of the range. `MS_ASYNC` starts writeback. `MS_INVALIDATE` has nothing to do: all mappings show the page cache.";
    27 mincore => memory::mincore [addr, len, out] "What is in the page cache counts as present.";
    28 madvise => memory::madvise [addr, len, advice] "`MADV_DONTNEED`, `FREE` (at once), `POPULATE_READ`, `POPULATE_WRITE`; advice without effect on content is accepted and has none. Others: `EINVAL`.";
    29 shmget => shm::shmget [key, size, flags] "All segments together have at most half of the memory. No huge pages.";
    30 shmat => shm::shmat [id, addr, flags] "Complete.";
    31 shmctl => shm::shmctl [id, command, out] "Complete; `SHM_LOCK` and `SHM_UNLOCK` have no effect, as nothing is swapped.";
    32 dup => descriptors::dup [fd] "Complete.";
    33 dup2 => descriptors::dup2 [old, new] "Complete.";
    34 pause => signals::pause [] "Complete.";
    35 nanosleep => time::nanosleep [request, remaining] "Complete.";
    36 getitimer => timers::getitimer [which, out] "As setitimer.";
    37 alarm => timers::alarm [seconds] "Complete.";
    38 setitimer => timers::setitimer [which, new, old] "`ITIMER_REAL`. The timers of CPU time: `EINVAL`.";
    39 getpid => identity::getpid [] "Complete.";
    40 sendfile => read_write::sendfile [output, input, offset, count] "By a copy through the kernel.";
    41 socket => misc::no_sockets [] "There is no network: `EAFNOSUPPORT`.";
    53 socketpair => misc::no_sockets [] "As socket.";
    56 clone => process::clone [flags, stack, parent_tid, child_tid, tls] "Threads (`CLONE_VM|FS|FILES|SIGHAND|THREAD|SYSVSEM`); processes, which can share memory (`CLONE_VM`, `CLONE_VFORK`) and nothing else. No namespaces, no pidfd, no tracing.";
    57 fork => process::fork [] "Complete; memory is shared until somebody stores to it.";
    58 vfork => process::vfork [] "Complete: the child runs in the memory of its parent.";
    59 execve => exec::execve [path, argv, envp] "ELF, static or with an interpreter, and scripts. Set-user-id and set-group-id programs, with `AT_SECURE`.";
    60 exit => process::exit [code] "Complete.";
    61 wait4 => wait::wait4 [pid, status, options, usage] "Complete; of the usage, the CPU times.";
    62 kill => signals::kill [pid, signal] "Complete.";
    63 uname => identity::uname [buffer] "Complete.";
    64 semget => sem::semget [key, count, flags] "All sets together have at most 256000 semaphores.";
    65 semop => sem::semop [id, operations, count] "Complete.";
    66 semctl => sem::semctl [id, number, command, arg] "Complete.";
    67 shmdt => shm::shmdt [addr] "Complete.";
    72 fcntl => descriptors::fcntl [fd, command, arg] "Descriptors, flags, record locks of processes and of open files (`F_OFD_*`). No leases, no signals.";
    73 flock => locks::flock [fd, operation] "Complete.";
    74 fsync => sync::fsync [fd] "Complete.";
    75 fdatasync => sync::fdatasync [fd] "Complete.";
    76 truncate => attrs::truncate [path, len] "Complete.";
    77 ftruncate => attrs::ftruncate [fd, len] "Complete.";
    79 getcwd => cwd::getcwd [out, len] "Complete.";
    80 chdir => cwd::chdir [path] "Complete.";
    81 fchdir => cwd::fchdir [fd] "Complete.";
    82 rename => names::renameat2 [old, new] with (CWD, old, CWD, new, 0u32) "Complete.";
    83 mkdir => names::mkdirat [path, mode] with (CWD, path, mode) "Complete.";
    84 rmdir => names::unlinkat [path] with (CWD, path, abi::AT_REMOVEDIR) "Complete.";
    85 creat => open::openat [path, mode] with (CWD, path, abi::O_CREAT | abi::O_WRONLY | abi::O_TRUNC, mode) "Complete.";
    86 link => names::linkat [old, new] with (CWD, old, CWD, new, 0u32) "Complete.";
    87 unlink => names::unlinkat [path] with (CWD, path, 0u32) "Complete.";
    88 symlink => names::symlinkat [target, path] with (target, CWD, path) "Complete.";
    89 readlink => names::readlinkat [path, out, len] with (CWD, path, out, len) "Complete.";
    90 chmod => attrs::fchmodat [path, mode] with (CWD, path, mode) "Complete.";
    91 fchmod => attrs::fchmod [fd, mode] "Complete.";
    92 chown => attrs::fchownat [path, uid, gid] with (CWD, path, uid, gid, 0u32) "Complete.";
    93 fchown => attrs::fchown [fd, uid, gid] "Complete.";
    94 lchown => attrs::fchownat [path, uid, gid] with (CWD, path, uid, gid, abi::AT_SYMLINK_NOFOLLOW) "Complete.";
    95 umask => identity::umask [mask] "Complete.";
    96 gettimeofday => time::gettimeofday [tv, tz] "The time zone is UTC.";
    97 getrlimit => limits::getrlimit [resource, limit] "Complete.";
    98 getrusage => limits::getrusage [who, usage] "CPU times and memory. The sum of the times is exact; user and system are told apart by the ticks of the timer.";
    99 sysinfo => limits::sysinfo [info] "Uptime, memory, processes.";
    100 times => limits::times [buffer] "As getrusage; the result is the uptime in ticks.";
    102 getuid => identity::getuid [] "Complete.";
    103 syslog => misc::syslog [] "The log goes to the console and is not kept: `EPERM`.";
    104 getgid => identity::getgid [] "Complete.";
    105 setuid => identity::setuid [uid] "Complete.";
    106 setgid => identity::setgid [gid] "Complete.";
    107 geteuid => identity::geteuid [] "Complete.";
    108 getegid => identity::getegid [] "Complete.";
    109 setpgid => identity::setpgid [pid, pgid] "Complete.";
    110 getppid => identity::getppid [] "Complete.";
    111 getpgrp => identity::getpgid [] with (0u32) "Complete.";
    112 setsid => identity::setsid [] "Complete.";
    113 setreuid => identity::setreuid [real, effective] "Complete.";
    114 setregid => identity::setregid [real, effective] "Complete.";
    115 getgroups => identity::getgroups [count, list] "Complete.";
    116 setgroups => identity::setgroups [count, list] "Up to 1,024 groups.";
    117 setresuid => identity::setresuid [real, effective, saved] "Complete.";
    118 getresuid => identity::getresuid [uid, euid, suid] "Complete.";
    119 setresgid => identity::setresgid [real, effective, saved] "Complete.";
    120 getresgid => identity::getresgid [gid, egid, sgid] "Complete.";
    121 getpgid => identity::getpgid [pid] "Complete.";
    124 getsid => identity::getsid [pid] "Complete.";
    127 rt_sigpending => signals::rt_sigpending [set, size] "Complete.";
    128 rt_sigtimedwait => signals::rt_sigtimedwait [set, info, timeout, size] "Complete.";
    129 rt_sigqueueinfo => signals::rt_sigqueueinfo [pid, signal, info] "Complete; at most 1,024 signals wait for a process.";
    130 rt_sigsuspend => signals::rt_sigsuspend [set, size] "Complete.";
    131 sigaltstack => signals::sigaltstack [new, old] "Complete.";
    133 mknod => names::mknodat [path, mode, dev] with (CWD, path, mode, dev) "Nodes of every kind; sockets cannot be opened.";
    135 personality => misc::personality [persona] "That of Linux, and no other: `EINVAL`.";
    137 statfs => statfs::statfs [path, out] "Complete.";
    138 fstatfs => statfs::fstatfs [fd, out] "Complete.";
    140 getpriority => schedule::getpriority [which, id] "As setpriority.";
    141 setpriority => schedule::setpriority [which, id, nice] "Kept and told. It has no effect.";
    142 sched_setparam => schedule::sched_setparam [pid, param] "As sched_setscheduler.";
    143 sched_getparam => schedule::sched_getparam [pid, param] "Priority 0.";
    144 sched_setscheduler => schedule::sched_setscheduler [pid, policy, param] "`SCHED_OTHER`, which all have. `SCHED_FIFO` and `SCHED_RR`: `EPERM`.";
    145 sched_getscheduler => schedule::sched_getscheduler [pid] "`SCHED_OTHER`.";
    146 sched_get_priority_max => schedule::sched_get_priority_max [policy] "Complete.";
    147 sched_get_priority_min => schedule::sched_get_priority_min [policy] "Complete.";
    149 mlock => memory::mlock2 [addr, len] with (addr, len, 0u32) "As mlock2.";
    150 munlock => memory::munlock [addr, len] "Complete.";
    151 mlockall => memory::mlockall [flags] "As mlock2; `MCL_ONFAULT` holds for what is mapped now.";
    152 munlockall => memory::munlockall [] "Complete.";
    157 prctl => misc::prctl [option, a, b] "`PR_SET_NAME`, `PR_GET_NAME`, `PR_SET_PDEATHSIG` (stored nowhere), `PR_SET_DUMPABLE`, `PR_GET_DUMPABLE` (nothing else looks at it), `PR_SET_NO_NEW_PRIVS`, `PR_GET_NO_NEW_PRIVS`. Others: `EINVAL`.";
    158 arch_prctl => misc::arch_prctl [code, addr] "`ARCH_SET_FS`, `ARCH_GET_FS`. Others: `EINVAL`.";
    160 setrlimit => limits::setrlimit [resource, limit] "Complete.";
    162 sync => sync::sync [] "Complete.";
    165 mount => mounts::mount [source, target, kind, flags] "Remounts read-only and back; new mounts of disks with ext4, by their name (`/dev/vdb`), and of tmpfs. Of the flags, `MS_RDONLY` and `MS_NOSUID` have an effect.";
    166 umount2 => mounts::umount2 [target, flags] "Complete but for lazy and forced ones: `EOPNOTSUPP`.";
    186 gettid => identity::gettid [] "Complete.";
    200 tkill => signals::tkill [tid, signal] "Complete.";
    201 time => time::time [out] "Complete.";
    202 futex => futex::futex [addr, operation, value, timeout, addr2, value3] "WAIT, WAKE, WAIT_BITSET, WAKE_BITSET, REQUEUE, CMP_REQUEUE. No PI futexes, no WAKE_OP: `ENOSYS`.";
    203 sched_setaffinity => misc::sched_setaffinity [pid, len, mask] "Complete: threads run where they may.";
    204 sched_getaffinity => misc::sched_getaffinity [pid, len, mask] "Complete, for up to 8 CPUs.";
    206 io_setup => aio::io_setup [count, context] "Complete.";
    207 io_destroy => aio::io_destroy [context] "Complete.";
    208 io_getevents => aio::io_getevents [context, min, max, events, timeout] "Complete.";
    209 io_submit => aio::io_submit [context, count, iocbs] "PREAD, PWRITE, PREADV, PWRITEV, FSYNC, FDSYNC, POLL, NOOP. `RWF_NOWAIT` with `RWF_WRITETHROUGH`: an event with `EAGAIN` or a short count where it would sleep.";
    210 io_cancel => aio::io_cancel [context, iocb, result] "Polls: `EINPROGRESS`, and their event comes. Others: `EINVAL`.";
    217 getdents64 => getdents::getdents64 [fd, out, len] "Complete.";
    218 set_tid_address => process::set_tid_address [addr] "Complete.";
    220 semtimedop => sem::semtimedop [id, operations, count, timeout] "Complete.";
    221 fadvise64 => sync::fadvise64 [fd, offset, len, advice] "`POSIX_FADV_DONTNEED` drops clean pages; other advice is checked and has no effect.";
    222 timer_create => posix_timers::timer_create [clock, event, out] "REALTIME, MONOTONIC, BOOTTIME; a signal to the process or to a thread, or none. Up to 1,024 for each process. Clocks of CPU time: `EOPNOTSUPP`.";
    223 timer_settime => posix_timers::timer_settime [id, flags, new, old] "Complete.";
    224 timer_gettime => posix_timers::timer_gettime [id, out] "Complete.";
    225 timer_getoverrun => posix_timers::timer_getoverrun [id] "Complete.";
    226 timer_delete => posix_timers::timer_delete [id] "Complete.";
    228 clock_gettime => time::clock_gettime [clock, time] "REALTIME, MONOTONIC, their coarse and raw kinds, BOOTTIME; the CPU clocks of processes and threads.";
    229 clock_getres => time::clock_getres [clock, time] "One nanosecond.";
    230 clock_nanosleep => time::clock_nanosleep [clock, flags, request, remaining] "REALTIME, MONOTONIC, BOOTTIME; `TIMER_ABSTIME`.";
    231 exit_group => process::exit_group [code] "Complete.";
    234 tgkill => signals::tgkill [tgid, tid, signal] "Complete.";
    237 mbind => misc::not_there [] "`ENOSYS`: memory has one node.";
    238 set_mempolicy => misc::not_there [] "As mbind.";
    239 get_mempolicy => misc::not_there [] "As mbind.";
    247 waitid => wait::waitid [kind, id, info, options, usage] "As wait4; no pidfd.";
    257 openat => open::openat [dirfd, path, flags, mode] "No `O_TMPFILE`: `EOPNOTSUPP`.";
    258 mkdirat => names::mkdirat [dirfd, path, mode] "Complete.";
    259 mknodat => names::mknodat [dirfd, path, mode, dev] "As mknod.";
    260 fchownat => attrs::fchownat [dirfd, path, uid, gid, flags] "Complete.";
    262 newfstatat => stat::newfstatat [dirfd, path, out, flags] "Complete.";
    263 unlinkat => names::unlinkat [dirfd, path, flags] "Complete.";
    264 renameat => names::renameat2 [old_fd, old, new_fd, new] with (old_fd, old, new_fd, new, 0u32) "Complete.";
    265 linkat => names::linkat [old_fd, old, new_fd, new, flags] "Complete.";
    266 symlinkat => names::symlinkat [target, dirfd, path] "Complete.";
    267 readlinkat => names::readlinkat [dirfd, path, out, len] "Complete.";
    268 fchmodat => attrs::fchmodat [dirfd, path, mode] "Complete.";
    269 faccessat => access::faccessat2 [dirfd, path, mode] with (dirfd, path, mode, 0u32) "Complete.";
    270 pselect6 => poll::pselect6 [count, read, write, except, timeout, mask] "As select, with a signal mask.";
    271 ppoll => poll::ppoll [fds, count, timeout, mask, mask_len] "As poll, with a signal mask; stores the time that is left.";
    273 set_robust_list => misc::set_robust_list [head, len] "The locks that a thread has at its end are marked and handed on.";
    277 sync_file_range => sync::sync_file_range [fd, offset, len, flags] "Writes and waits for the range as the flags say; makes nothing durable.";
    280 utimensat => attrs::utimensat [dirfd, path, times, flags] "Complete.";
    283 timerfd_create => timers::timerfd_create [clock, flags] "REALTIME, MONOTONIC, BOOTTIME.";
    284 eventfd => pipes::eventfd2 [initial] with (initial, 0u32) "Complete.";
    285 fallocate => sync::fallocate [fd, mode, offset, len] "Allocation, `PUNCH_HOLE`, `ZERO_RANGE`, `COLLAPSE_RANGE`, `INSERT_RANGE`. tmpfs: allocation and `PUNCH_HOLE`. Others: `EOPNOTSUPP`.";
    286 timerfd_settime => timers::timerfd_settime [fd, flags, new, old] "Complete; the wall clock is never set, so `TFD_TIMER_CANCEL_ON_SET` has no effect.";
    287 timerfd_gettime => timers::timerfd_gettime [fd, out] "Complete.";
    290 eventfd2 => pipes::eventfd2 [initial, flags] "Complete.";
    292 dup3 => descriptors::dup3 [old, new, flags] "Complete.";
    293 pipe2 => pipes::pipe2 [out, flags] "`O_CLOEXEC`, `O_NONBLOCK`.";
    295 preadv => read_write::read [fd, iov, count, offset] with (fd, Buffers::Vector(iov.into(), count.into()), Position::At(offset.into()), 0u32) "Complete.";
    296 pwritev => read_write::write [fd, iov, count, offset] with (fd, Buffers::Vector(iov.into(), count.into()), Position::At(offset.into()), 0u32) "Complete.";
    297 rt_tgsigqueueinfo => signals::rt_tgsigqueueinfo [tgid, tid, signal, info] "As rt_sigqueueinfo.";
    302 prlimit64 => limits::prlimit64 [pid, resource, new, old] "Complete for the own process.";
    306 syncfs => sync::syncfs [fd] "Complete.";
    309 getcpu => misc::getcpu [cpu, node] "Complete: one node.";
    316 renameat2 => names::renameat2 [old_fd, old, new_fd, new, flags] "`RENAME_NOREPLACE`.";
    318 getrandom => misc::getrandom [buffer, len, flags] "Complete.";
    319 memfd_create => memory::memfd_create [name, flags] "No seals: `F_ADD_SEALS` is refused. No huge pages.";
    322 execveat => exec::execveat [dirfd, path, argv, envp, flags] "As execve.";
    324 membarrier => misc::not_there [] "`ENOSYS`.";
    325 mlock2 => memory::mlock2 [addr, len, flags] "Makes the memory present and counts it. Nothing is ever swapped; clean pages of files may still go and come back.";
    326 copy_file_range => read_write::copy_file_range [input, input_offset, output, output_offset, count, flags] "By a copy through the kernel.";
    327 preadv2 => read_write::read [fd, iov, count, offset, high, flags] with (fd, Buffers::Vector(iov.into(), count.into()), Position::AtOrCurrent(offset.into()), flags) "`RWF_HIPRI` has no effect; `RWF_NOWAIT` on pipes and, through the cache, on files of ext4. `RWF_WRITETHROUGH`: `EOPNOTSUPP`.";
    328 pwritev2 => read_write::write [fd, iov, count, offset, high, flags] with (fd, Buffers::Vector(iov.into(), count.into()), Position::AtOrCurrent(offset.into()), flags) "`RWF_WRITETHROUGH`, `DSYNC`, `SYNC`, `APPEND`, `NOAPPEND`, `HIPRI`, `NOSIGNAL`, and `DONTCACHE` with `WRITETHROUGH`; `NOWAIT` with it: `EAGAIN`, alone: pipes only; `ATOMIC`: `EOPNOTSUPP`.";
    332 statx => stat::statx [dirfd, path, flags, mask, out] "Basic fields, birth time, three attributes.";
    333 io_pgetevents => aio::io_pgetevents [context, min, max, events, timeout, sig] "Complete.";
    334 rseq => misc::not_there [] "`ENOSYS`: callers do without.";
    435 clone3 => process::clone3 [args, size] "As clone, with `CLONE_CLEAR_SIGHAND`.";
    436 close_range => descriptors::close_range [first, last, flags] "`CLOSE_RANGE_CLOEXEC`. No `CLOSE_RANGE_UNSHARE`: `EINVAL`.";
    439 faccessat2 => access::faccessat2 [dirfd, path, mode, flags] "Complete.";
}

/// Handlers by number.
pub(super) static HANDLERS: [Option<Handler>; TABLE_LEN] = {
    let mut table = [None; TABLE_LEN];
    let mut i = 0;
    while i < ENTRIES.len() {
        assert!(table[ENTRIES[i].number].is_none(), "two handlers for one number");
        table[ENTRIES[i].number] = Some(ENTRIES[i].handler);
        i += 1;
    }
    table
};

/// The name of a call of the table.
pub(super) fn name(number: u64) -> Option<&'static str> {
    ENTRIES.iter().find(|entry| entry.number as u64 == number).map(|entry| entry.name)
}

/// Writes the table as Markdown: `docs/SYSCALLS.md`.
pub fn describe(out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "# System calls\n")?;
    writeln!(
        out,
        "Made from `kernel/src/syscall/table.rs`. Every call not in it answers `ENOSYS`, is counted, and is named"
    )?;
    writeln!(out, "once on the log.\n")?;
    writeln!(out, "| number | call | what is supported |\n|---|---|---|")?;
    for entry in ENTRIES {
        write!(out, "| {} | `{}(", entry.number, entry.name)?;
        for (i, argument) in entry.arguments.iter().enumerate() {
            write!(out, "{}{argument}", if i > 0 { ", " } else { "" })?;
        }
        writeln!(out, ")` | {} |", entry.doc)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    #[test]
    fn numbers_ascend_and_names_are_those_of_the_abi() {
        assert!(ENTRIES.is_sorted_by(|a, b| a.number < b.number));
        assert_eq!(name(u64::from(linux_raw_sys::general::__NR_io_submit)), Some("io_submit"));
        assert_eq!(name(u64::from(linux_raw_sys::general::__NR_getppid)), Some("getppid"));
    }

    #[test]
    fn the_document_is_up_to_date() {
        let mut made = String::new();
        describe(&mut made).unwrap();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/SYSCALLS.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &made).unwrap();
        }
        assert!(std::fs::read_to_string(path).is_ok_and(|on_disk| on_disk == made), "run with UPDATE_DOCS=1");
    }
}
