//! FLAG-6 and FLAG-7: positions and vectors.
use crate::aio::{Aio, Iocb, PREADV, PWRITEV};
use crate::kit::{Check, Dump, Outcome, Scratch, WT, call, fd, pipe, same, vector};
use linux_raw_sys::general as abi;
use user::sys::{EFAULT, EINVAL, ESPIPE, Memory, PAGE, raw};

pub const CHECKS: &[Check] = &[
    ("FLAG-6 offset -1 uses and moves the position", position),
    ("FLAG-6 other negative offsets are EINVAL", negative),
    ("FLAG-6 an explicit offset leaves the position alone", explicit),
    ("FLAG-6 a file without positions takes -1 only", streams),
    ("FLAG-7 1024 segments are taken, 1025 are EINVAL", segments),
    ("FLAG-7 a total above the largest ssize is EINVAL", total),
    ("FLAG-7 what is above 0x7ffff000 is cut", cut),
    ("FLAG-7 a bad address of the vector is EFAULT", bad_vector),
];

fn seek(file: &Scratch) -> u64 {
    raw(abi::__NR_lseek, [file.fd() as u64, 0, abi::SEEK_CUR.into(), 0, 0, 0]).unwrap_or(u64::MAX)
}

fn buffer(bytes: &[u8]) -> Memory {
    let memory = Memory::new(bytes.len());
    memory.set(0, bytes);
    memory
}

fn position() -> Outcome {
    let (file, memory) = (Scratch::new("position", b"0123456789")?, buffer(b"abc"));
    let number = file.fd() as u64;
    same("write", vector(abi::__NR_pwritev2, number, (memory.addr(0), 3), -1, WT), Ok(3))?;
    same("position", seek(&file), 3)?;
    same("write", vector(abi::__NR_pwritev2, number, (memory.addr(0), 2), -1, WT), Ok(2))?;
    same("position", seek(&file), 5)?;
    same("read", vector(abi::__NR_preadv2, number, (memory.addr(0), 3), -1, 0), Ok(3))?;
    same("read", memory.get(0, 3), b"567".to_vec())?;
    same("position", seek(&file), 8)?;
    // An append moves it behind what it wrote.
    same("append", vector(abi::__NR_pwritev2, number, (memory.addr(0), 1), -1, WT | abi::RWF_APPEND), Ok(1))?;
    same("position", seek(&file), 11)?;
    file.expect(b"abcab567895")
}

fn negative() -> Outcome {
    let (file, memory) = (Scratch::new("negative", b"x")?, buffer(b"abc"));
    let (number, aio, at) = (file.fd() as u64, Aio::new(1)?, memory.addr(0));
    let before = Dump::settled(&file.file)?;
    for offset in [-2, -4096, i64::MIN] {
        for call in [abi::__NR_pwritev2, abi::__NR_preadv2, abi::__NR_pwritev, abi::__NR_preadv] {
            same("vector", vector(call, number, (at, 3), offset, 0), Err(EINVAL))?;
        }
        for call in [abi::__NR_pwrite64, abi::__NR_pread64] {
            same("buffer", raw(call, [number, at, 3, offset as u64, 0, 0]), Err(EINVAL))?;
        }
    }
    for call in [abi::__NR_pwritev, abi::__NR_preadv] {
        same("-1 without flags", vector(call, number, (at, 3), -1, 0), Err(EINVAL))?;
    }
    for offset in [-1, -2, i64::MIN] {
        let iocb = Iocb { pos: offset, ..Iocb::write(&file.file, memory, 3, 0, WT) };
        same("iocb", aio.submit(&[iocb]), Err(EINVAL))?;
    }
    before.expect_same(&Dump::of(&file.file)?)
}

fn explicit() -> Outcome {
    let (file, memory) = (Scratch::new("explicit", b"0123456789")?, buffer(b"abc"));
    raw(abi::__NR_lseek, [file.fd() as u64, 4, abi::SEEK_SET.into(), 0, 0, 0]).map_err(call("lseek"))?;
    same("write", vector(abi::__NR_pwritev2, file.fd() as u64, (memory.addr(0), 3), 1, WT), Ok(3))?;
    same("append", vector(abi::__NR_pwritev2, file.fd() as u64, (memory.addr(0), 1), 0, WT | 0x10), Ok(1))?;
    same("aio", Aio::new(1)?.run(Iocb::write(&file.file, memory, 3, 7, WT))?, 3)?;
    same("position", seek(&file), 4)?;
    file.expect(b"0abc456abca")
}

fn streams() -> Outcome {
    let (reader, writer) = pipe()?;
    let memory = buffer(b"abc");
    same("-1", vector(abi::__NR_pwritev2, fd(&writer), (memory.addr(0), 3), -1, 0), Ok(3))?;
    same("0", vector(abi::__NR_pwritev2, fd(&writer), (memory.addr(0), 3), 0, 0), Err(ESPIPE))?;
    same("read at 0", vector(abi::__NR_preadv2, fd(&reader), (memory.addr(0), 3), 0, 0), Err(ESPIPE))?;
    same("read", vector(abi::__NR_preadv2, fd(&reader), (memory.addr(0), 3), -1, 0), Ok(3))
}

fn segments() -> Outcome {
    let (file, memory) = (Scratch::new("segments", &[])?, buffer(b"abc"));
    let iov = Memory::new(1025 * 16);
    (0..1025).for_each(|i| iov.set_words(i * 16, &[memory.addr(i % 3), 1]));
    let write = |count: u64| raw(abi::__NR_pwritev2, [file.fd() as u64, iov.addr(0), count, 0, 0, WT.into()]);
    let read = |count: u64| raw(abi::__NR_preadv2, [file.fd() as u64, iov.addr(0), count, 0, 0, 0]);
    same("1024", write(1024), Ok(1024))?;
    file.expect(&(0..1024).map(|i| b"abc"[i % 3]).collect::<Vec<_>>())?;
    for count in [1025, 1 << 32, u64::MAX] {
        same("too many", write(count), Err(EINVAL))?;
        same("too many to read", read(count), Err(EINVAL))?;
    }
    same("none", write(0), Ok(0))?;
    let aio = Aio::new(1)?;
    for (opcode, buffer) in [(PWRITEV, iov.addr(0)), (PREADV, iov.addr(0))] {
        let iocb = Iocb { opcode, buffer, len: 1025, ..Iocb::write(&file.file, memory, 0, 0, 0) };
        same("iocb", aio.submit(&[iocb]), Err(EINVAL))?;
        same("iocb", aio.run(Iocb { len: 3, ..iocb })?, 3)?;
    }
    Ok(())
}

fn total() -> Outcome {
    let (file, memory) = (Scratch::new("total", b"x")?, buffer(b"abc"));
    let iov = Memory::new(PAGE);
    let aio = Aio::new(1)?;
    let before = Dump::settled(&file.file)?;
    for (a, b) in [(i64::MAX as u64, 1), (1 << 63, 0), (u64::MAX, 1), (u64::MAX, u64::MAX)] {
        iov.set_words(0, &[memory.addr(0), a, memory.addr(0), b]);
        for number in [abi::__NR_pwritev2, abi::__NR_preadv2] {
            same("call", raw(number, [file.fd() as u64, iov.addr(0), 2, 0, 0, 0]), Err(EINVAL))?;
        }
        let iocb = Iocb { opcode: PWRITEV, buffer: iov.addr(0), len: 2, ..Iocb::write(&file.file, memory, 0, 0, WT) };
        same("iocb", aio.submit(&[iocb]), Err(EINVAL))?;
    }
    before.expect_same(&Dump::of(&file.file)?)
}

/// A read of nearly everything there is ends at the end of the file: the count was cut, not refused.
fn cut() -> Outcome {
    let (file, free) = (Scratch::new("cut", b"abc")?, abi::MAP_FIXED | abi::MAP_PRIVATE | abi::MAP_ANONYMOUS);
    // Far below the end of user memory, so that what the cut leaves is inside.
    let (at, prot) = (0x10_0000_0000, abi::PROT_READ | abi::PROT_WRITE);
    raw(abi::__NR_mmap, [at, PAGE as u64, prot.into(), free.into(), u64::MAX, 0]).map_err(call("mmap"))?;
    let memory = Memory::of_kernel(at, PAGE);
    for len in [0x7fff_f000u64, 0x7fff_f001, 1 << 46, i64::MAX as u64] {
        same("read", vector(abi::__NR_preadv2, file.fd() as u64, (memory.addr(0), len), 0, 0), Ok(3))?;
        // What can be read of the source is written, up to the page behind it.
        same("write", vector(abi::__NR_pwritev2, file.fd() as u64, (memory.addr(PAGE - 3), len), 0, WT), Ok(3))?;
    }
    Ok(())
}

fn bad_vector() -> Outcome {
    let (file, memory) = (Scratch::new("bad", b"x")?, buffer(b"abc"));
    let aio = Aio::new(1)?;
    let before = Dump::settled(&file.file)?;
    for bad in crate::kit::wild() {
        for number in [abi::__NR_pwritev2, abi::__NR_preadv2, abi::__NR_pwritev, abi::__NR_preadv] {
            same("call", raw(number, [file.fd() as u64, bad, 1, 0, 0, 0]), Err(EFAULT))?;
        }
        let iocb = Iocb { opcode: PWRITEV, buffer: bad, len: 1, ..Iocb::write(&file.file, memory, 0, 0, WT) };
        same("iocb", aio.submit(&[iocb]), Err(EFAULT))?;
    }
    before.expect_same(&Dump::of(&file.file)?)
}
