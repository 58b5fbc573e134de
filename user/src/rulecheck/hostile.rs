//! Wild pointers at every pointer argument of the calls that move data, and of those around them.
use crate::aio::{Aio, Iocb, PREADV, PWRITEV};
use crate::kit::{Check, FOLDER, Outcome, Scratch, WT, pattern, pipe, quiet, same, vector, wild};
use linux_raw_sys::general as abi;
use std::os::fd::AsRawFd;
use user::sys::{EFAULT, Memory, O_DIRECT, PAGE, raw};

pub const CHECKS: &[Check] = &[
    ("hostile buffers of read and write", buffers),
    ("hostile buffers of direct reads and writes", direct_buffers),
    ("hostile buffers inside vectors", inside_vectors),
    ("hostile buffers of iocbs", iocbs),
    ("hostile buffers of pipes, devices and /proc", other_files),
    ("hostile paths", paths),
    ("hostile results of other calls", results),
    ("hostile a read into memory that cannot be written", read_only_memory),
    ("CTX-9 nothing is left", quiet),
];

fn told(address: u64) -> impl Fn(String) -> String {
    move |text| format!("{address:#x}: {text}")
}

fn one(file: &impl AsRawFd, address: u64, flags: u32) -> Outcome {
    let (number, len) = (crate::kit::fd(file), PAGE as u64);
    for call in [abi::__NR_read, abi::__NR_write] {
        raw(abi::__NR_lseek, [number, 0, abi::SEEK_SET.into(), 0, 0, 0]).map_err(crate::kit::call("lseek"))?;
        same("at the position", raw(call, [number, address, len, 0, 0, 0]), Err(EFAULT))?;
    }
    for call in [abi::__NR_readv, abi::__NR_writev] {
        let iov = crate::kit::small();
        iov.set_words(0, &[address, len]);
        same("vector at the position", raw(call, [number, iov.addr(0), 1, 0, 0, 0]), Err(EFAULT))?;
        same("vector that is nowhere", raw(call, [number, address, 1, 0, 0, 0]), Err(EFAULT))?;
    }
    for call in [abi::__NR_pread64, abi::__NR_pwrite64] {
        same("at 0", raw(call, [number, address, len, 0, 0, 0]), Err(EFAULT))?;
    }
    for call in [abi::__NR_preadv, abi::__NR_pwritev] {
        same("vector", vector(call, number, (address, len), 0, 0), Err(EFAULT))?;
    }
    same("preadv2", vector(abi::__NR_preadv2, number, (address, len), 0, 0), Err(EFAULT))?;
    same("pwritev2", vector(abi::__NR_pwritev2, number, (address, len), 0, flags), Err(EFAULT))
}

fn buffers() -> Outcome {
    let file = Scratch::new("hostile", &pattern(PAGE, 1))?;
    for address in wild() {
        for flags in [0, WT, WT | abi::RWF_DSYNC] {
            one(&file.file, address, flags).map_err(told(address))?;
        }
    }
    file.expect(&pattern(PAGE, 1))
}

fn direct_buffers() -> Outcome {
    let file = Scratch::new("hostile.direct", &pattern(PAGE, 2))?;
    let direct = file.open(O_DIRECT)?;
    for address in wild().into_iter().filter(|address| address.is_multiple_of(PAGE as u64)) {
        for flags in [0, WT] {
            one(&direct, address, flags).map_err(told(address))?;
        }
    }
    file.expect(&pattern(PAGE, 2))
}

fn inside_vectors() -> Outcome {
    let (file, iov, memory) = (Scratch::new("hostile.vector", &[1; 300])?, Memory::new(PAGE), Memory::new(PAGE));
    memory.set(0, &[2; 100]);
    for address in wild() {
        // An address outside of user memory spoils the whole call; one that is merely not mapped ends it short.
        iov.set_words(0, &[memory.addr(0), 100, address, 100]);
        let outside = address >= 0x8000_0000_0000 - 0x1000 && address != 0;
        for (number, flags) in [(abi::__NR_preadv2, 0), (abi::__NR_pwritev2, 0), (abi::__NR_pwritev2, WT)] {
            match raw(number, [file.fd() as u64, iov.addr(0), 2, 0, 0, flags.into()]) {
                Ok(100) if !outside || address == 0x7fff_ffff_f000 => {}
                Err(EFAULT) if outside => {}
                other => return Err(told(address)(format!("{other:?}"))),
            }
        }
    }
    same("size", file.size(), 300)
}

fn iocbs() -> Outcome {
    let (file, aio) = (Scratch::new("hostile.iocb", &pattern(PAGE, 3))?, Aio::new(4)?);
    let direct = file.open(O_DIRECT)?;
    let iov = Memory::new(PAGE);
    let mut expected_free = 0;
    for address in wild() {
        for opened in [&file.file, &direct] {
            if opened.as_raw_fd() == direct.as_raw_fd() && !address.is_multiple_of(PAGE as u64) {
                continue;
            }
            let write = Iocb { buffer: address, ..Iocb::write(opened, iov, PAGE, 0, WT) };
            iov.set_words(0, &[address, PAGE as u64]);
            let through_vector = Iocb { opcode: PWRITEV, buffer: iov.addr(0), len: 1, ..write };
            for iocb in [
                write,
                Iocb { opcode: 0, rw_flags: 0, ..write },
                through_vector,
                Iocb { opcode: PREADV, rw_flags: 0, ..through_vector },
            ] {
                // Refused, or an event that says so; which of them depends on how wild the address is.
                match aio.submit(&[iocb]) {
                    Err(EFAULT) => expected_free += 1,
                    Ok(1) => same("event", aio.reap(1)?[0].res, -i64::from(EFAULT.0)).map_err(told(address))?,
                    other => return Err(told(address)(format!("{other:?}"))),
                }
            }
        }
    }
    same("some are refused at once", expected_free > 0, true)?;
    aio.expect_none()?;
    file.expect(&pattern(PAGE, 3))
}

fn other_files() -> Outcome {
    let (reader, writer) = pipe()?;
    std::io::Write::write_all(&mut &writer, b"some").map_err(crate::kit::text)?;
    let zero = std::fs::File::open("/dev/zero").map_err(crate::kit::text)?;
    let proc = std::fs::File::open("/proc/mounts").map_err(crate::kit::text)?;
    for address in wild() {
        for file in [&reader, &zero, &proc] {
            let number = crate::kit::fd(file);
            same("read", raw(abi::__NR_read, [number, address, 4, 0, 0, 0]), Err(EFAULT)).map_err(told(address))?;
        }
        let number = crate::kit::fd(&writer);
        same("write", raw(abi::__NR_write, [number, address, 4, 0, 0, 0]), Err(EFAULT)).map_err(told(address))?;
    }
    let mut bytes = [0; 4];
    std::io::Read::read_exact(&mut &reader, &mut bytes).map_err(crate::kit::text)?;
    same("still in the pipe", &bytes, b"some")
}

fn paths() -> Outcome {
    let out = Memory::new(PAGE);
    let unended = Memory::new(PAGE);
    unended.set(0, &[b'/'; PAGE]);
    for address in [&wild()[..], &[unended.end() - 3]].concat() {
        for number in
            [abi::__NR_open, abi::__NR_unlink, abi::__NR_mkdir, abi::__NR_rmdir, abi::__NR_chdir, abi::__NR_truncate]
        {
            same("one path", raw(number, [address, 0, 0, 0, 0, 0]), Err(EFAULT)).map_err(told(address))?;
        }
        for number in [abi::__NR_stat, abi::__NR_lstat, abi::__NR_statfs, abi::__NR_readlink] {
            same("path", raw(number, [address, out.addr(0), 100, 0, 0, 0]), Err(EFAULT)).map_err(told(address))?;
        }
        for number in [abi::__NR_rename, abi::__NR_link, abi::__NR_symlink] {
            same("two paths", raw(number, [address, address, 0, 0, 0, 0]), Err(EFAULT)).map_err(told(address))?;
        }
    }
    Ok(())
}

fn results() -> Outcome {
    let file = Scratch::new("hostile.results", b"x")?;
    let (number, path) = (file.fd() as u64, Memory::new(PAGE));
    path.set(0, FOLDER.as_bytes());
    let cwd: u64 = abi::AT_FDCWD as i64 as u64;
    for address in [&wild()[..], &[Memory::new(PAGE).read_only().addr(0)]].concat() {
        let calls: [(&str, u32, [u64; 6]); 12] = [
            ("fstat", abi::__NR_fstat, [number, address, 0, 0, 0, 0]),
            ("stat", abi::__NR_stat, [path.addr(0), address, 0, 0, 0, 0]),
            ("statx", abi::__NR_statx, [cwd, path.addr(0), 0, 0xfff, address, 0]),
            ("fstatfs", abi::__NR_fstatfs, [number, address, 0, 0, 0, 0]),
            ("pipe2", abi::__NR_pipe2, [address, 0, 0, 0, 0, 0]),
            ("getcwd", abi::__NR_getcwd, [address, 100, 0, 0, 0, 0]),
            ("uname", abi::__NR_uname, [address, 0, 0, 0, 0, 0]),
            ("clock_gettime", abi::__NR_clock_gettime, [1, address, 0, 0, 0, 0]),
            ("nanosleep", abi::__NR_nanosleep, [address, 0, 0, 0, 0, 0]),
            ("rt_sigpending", abi::__NR_rt_sigpending, [address, 8, 0, 0, 0, 0]),
            ("getrandom", abi::__NR_getrandom, [address, 16, 0, 0, 0, 0]),
            ("poll", abi::__NR_poll, [address, 1, 0, 0, 0, 0]),
        ];
        for (name, number, arguments) in calls {
            let result = raw(number, arguments);
            // A page that cannot be written can be read: a time of zeros, and no descriptor to poll.
            if name == "nanosleep" && result == Ok(0) {
                continue;
            }
            same(name, result, Err(EFAULT)).map_err(told(address))?;
        }
    }
    Ok(())
}

fn read_only_memory() -> Outcome {
    let (file, memory) = (Scratch::new("locked", &pattern(PAGE, 4))?, Memory::new(PAGE).read_only());
    let (direct, aio) = (file.open(O_DIRECT)?, Aio::new(1)?);
    for opened in [&file.file, &direct] {
        let number = crate::kit::fd(opened);
        same("read", raw(abi::__NR_pread64, [number, memory.addr(0), PAGE as u64, 0, 0, 0]), Err(EFAULT))?;
        same("event", aio.run(Iocb::read(opened, memory, PAGE, 0))?, -i64::from(EFAULT.0))?;
        // As a source it is as good as any.
        same("write", vector(abi::__NR_pwritev2, number, (memory.addr(0), PAGE as u64), 0, WT), Ok(PAGE as u64))?;
    }
    same("untouched", memory.get(0, PAGE), vec![0; PAGE])?;
    file.expect(&[0; PAGE])
}
