//! The rows: each one way to write, read or call.
use crate::meter::{Meter, Stop, failed};
use crate::setup::{EIGHTH_PAGES, FILE_PAGES, Place, Rng, page};
use crate::{memory, processes};
use std::ffi::{CStr, CString};
use user::sys::{self, AioQueue, Fd, O_CREAT, O_DIRECT, O_DSYNC, O_RDWR, O_TRUNC, PAGE, RWF_DSYNC, RWF_WRITETHROUGH};

/// One row.
pub struct Row {
    pub name: &'static str,
    pub what: &'static str,
    /// Operations where their number is fixed.
    pub ops: u64,
    pub run: Run,
}

pub type RunResult = Result<(), Stop>;
type Run = Box<dyn Fn(&Place, &mut Meter) -> RunResult>;

pub fn row(
    name: &'static str,
    ops: u64,
    what: &'static str,
    run: impl Fn(&Place, &mut Meter) -> RunResult + 'static,
) -> Row {
    Row { name, what, ops, run: Box::new(run) }
}

const WT: u32 = RWF_WRITETHROUGH;
const WT_DSYNC: u32 = RWF_WRITETHROUGH | RWF_DSYNC;

/// Every row, in the order of the table.
pub fn all() -> Vec<Row> {
    let mut rows = calls();
    rows.extend(processes::rows());
    rows.extend(memory::rows());
    rows.extend(sync_writes());
    rows.extend(aio_rows());
    rows.extend(growing_files());
    rows.extend(two_threads());
    rows.extend(eight_threads());
    rows
}

/// Bare system calls and cached I/O.
fn calls() -> Vec<Row> {
    vec![
        row("getppid", 200_000, "the smallest system call", |_, m| {
            m.each(u64::MAX, |_| {
                sys::getppid();
                Ok(())
            })
        }),
        row("pread_1", 50_000, "1 byte from the page cache", |p, m| cached_read(p, m, 1)),
        row("pread_4k", 50_000, "4 KiB from the page cache", |p, m| cached_read(p, m, PAGE)),
        row("pwrite_4k", 20_000, "4 KiB into the page cache, over dirty pages", |p, m| {
            with_file(p, 0, |fd| {
                let (buffer, mut rng) = (page(1), Rng::new(0));
                m.each(u64::MAX, |_| whole(sys::pwrite(fd, &buffer.0, rng.page(1024))))?;
                sys::fsync(fd).map_err(failed)
            })
        }),
        row("open_close", 10_000, "open and close a file", |p, m| {
            let path = p.path("a");
            m.each(u64::MAX, |_| sys::open(&path, O_RDWR).and_then(sys::close))
        }),
        row("stat", 20_000, "stat by name", |p, m| {
            let path = p.path("a");
            m.each(u64::MAX, |_| sys::stat(&path).map(drop))
        }),
        row("fstat", 50_000, "stat of an open file", |p, m| {
            with_file(p, 0, |fd| m.each(u64::MAX, |_| sys::fstat(fd).map(drop)))
        }),
        row("create_unlink", 1_000, "create a file and unlink it", |p, m| {
            let path = p.path("c");
            m.each(u64::MAX, |_| {
                sys::open(&path, O_RDWR | O_CREAT).and_then(sys::close).and_then(|()| sys::unlink(&path))
            })
        }),
    ]
}

/// Synchronous 4 KiB writes at random places of an allocated file, and the direct read.
fn sync_writes() -> Vec<Row> {
    let write = |name, what, open_flags, rwf| {
        row(name, 2_000, what, move |p: &Place, m: &mut Meter| {
            with_file(p, open_flags, |fd| {
                accepted(fd, rwf)?;
                let (buffer, mut rng) = (page(2), Rng::new(0));
                m.each(u64::MAX, |_| whole(sys::pwritev2(fd, &buffer.0, rng.page(FILE_PAGES), rwf)))
            })
        })
    };
    vec![
        row("pwrite_fdatasync", 2_000, "buffered write, then fdatasync", |p, m| {
            with_file(p, 0, |fd| {
                let (buffer, mut rng) = (page(2), Rng::new(0));
                m.each(u64::MAX, |_| {
                    whole(sys::pwrite(fd, &buffer.0, rng.page(FILE_PAGES)))?;
                    sys::fdatasync(fd)
                })
            })
        }),
        write("pwritev2_dsync", "buffered write with RWF_DSYNC", 0, RWF_DSYNC),
        write("pwrite_odsync", "buffered write, O_DSYNC", O_DSYNC, 0),
        write("pwritev2_wt", "write-through", 0, WT),
        write("pwritev2_wt_dsync", "write-through with RWF_DSYNC", 0, WT_DSYNC),
        write("pwrite_direct", "O_DIRECT", O_DIRECT, 0),
        write("pwrite_direct_dsync", "O_DIRECT and O_DSYNC", O_DIRECT | O_DSYNC, 0),
        row("pread_direct", 2_000, "O_DIRECT read", |p, m| {
            with_file(p, O_DIRECT, |fd| {
                let (mut buffer, mut rng) = (page(0), Rng::new(0));
                m.each(u64::MAX, |_| whole(sys::pread(fd, &mut buffer.0, rng.page(FILE_PAGES))))
            })
        }),
    ]
}

/// Asynchronous I/O at random places of an allocated file.
fn aio_rows() -> Vec<Row> {
    let aio_row = |name, what, open_flags, depth, write, rwf| {
        row(name, 4_000, what, move |p: &Place, m: &mut Meter| {
            with_file(p, open_flags, |fd| {
                accepted(fd, rwf)?;
                let mut rng = Rng::new(0);
                aio(m, fd, depth, write, rwf, u64::MAX, || rng.page(FILE_PAGES))?;
                sys::fsync(fd).map_err(failed)
            })
        })
    };
    vec![
        aio_row("aio_w_wt_qd1", "aio write-through, depth 1", 0, 1, true, WT),
        aio_row("aio_w_wt_qd32", "aio write-through, depth 32", 0, 32, true, WT),
        aio_row("aio_w_wt_dsync_qd1", "aio write-through with RWF_DSYNC, depth 1", 0, 1, true, WT_DSYNC),
        aio_row("aio_w_wt_dsync_qd32", "aio write-through with RWF_DSYNC, depth 32", 0, 32, true, WT_DSYNC),
        aio_row("aio_w_direct_qd1", "aio O_DIRECT write, depth 1", O_DIRECT, 1, true, 0),
        aio_row("aio_w_direct_qd32", "aio O_DIRECT write, depth 32", O_DIRECT, 32, true, 0),
        aio_row("aio_r_direct_qd1", "aio O_DIRECT read, depth 1", O_DIRECT, 1, false, 0),
        aio_row("aio_r_direct_qd32", "aio O_DIRECT read, depth 32", O_DIRECT, 32, false, 0),
        aio_row("aio_w_dsync_qd1", "aio buffered write with RWF_DSYNC, depth 1", 0, 1, true, RWF_DSYNC),
        aio_row("aio_w_dsync_qd32", "aio buffered write with RWF_DSYNC, depth 32", 0, 32, true, RWF_DSYNC),
        aio_row("aio_w_buf_qd32", "aio buffered write, depth 32", 0, 32, true, 0),
    ]
}

/// How a growing file gets its blocks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blocks {
    /// By each write.
    Append,
    /// By fallocate, unwritten, inside the size.
    Unwritten,
    /// By fallocate behind the size.
    KeepSize,
}

/// Appends and writes into unwritten extents.
fn growing_files() -> Vec<Row> {
    let grow = |name, what, open_flags, blocks, depth: usize, sync, rwf| {
        row(name, 1_000, what, move |p: &Place, m: &mut Meter| {
            growing(p, m, open_flags, blocks, |m, fd, limit| {
                accepted(fd, rwf)?;
                sys::ftruncate(fd, if blocks == Blocks::Unwritten { limit * PAGE as u64 } else { 0 })
                    .map_err(failed)?;
                if depth > 0 {
                    let mut next = 0;
                    return aio(m, fd, depth, true, rwf, limit, || {
                        next += PAGE as u64;
                        next - PAGE as u64
                    });
                }
                let buffer = page(3);
                m.each(limit, |i| {
                    whole(sys::pwrite(fd, &buffer.0, i * PAGE as u64))?;
                    if sync { sys::fdatasync(fd) } else { Ok(()) }
                })
            })
        })
    };
    use Blocks::{Append, KeepSize, Unwritten};
    vec![
        grow("unwritten_wt_qd32", "aio write-through into unwritten extents", 0, Unwritten, 32, false, WT),
        grow("unwritten_direct_qd1", "aio O_DIRECT into unwritten extents, depth 1", O_DIRECT, Unwritten, 1, false, 0),
        grow("unwritten_direct_qd32", "aio O_DIRECT into unwritten extents", O_DIRECT, Unwritten, 32, false, 0),
        grow("append_wt_qd32", "aio write-through appends", 0, Append, 32, false, WT),
        grow("append_wt_dsync_qd32", "aio write-through appends with RWF_DSYNC", 0, Append, 32, false, WT_DSYNC),
        grow("append_direct_qd32", "aio O_DIRECT appends", O_DIRECT, Append, 32, false, 0),
        grow("append_keepsize_direct_qd32", "the same, preallocated", O_DIRECT, KeepSize, 32, false, 0),
        grow("append_buf", "buffered appends", 0, Append, 0, false, 0),
        grow("append_buf_fdatasync", "buffered appends, each with fdatasync", 0, Append, 0, true, 0),
        grow("append_keepsize_buf_fdatasync", "the same, preallocated", 0, KeepSize, 0, true, 0),
        row("ftruncate_sparse", 4_000, "change of the size, no blocks", |p, m| {
            growing(p, m, 0, Append, |m, fd, _| m.each(u64::MAX, |i| sys::ftruncate(fd, (1 + i % 2) * 65536)))
        }),
    ]
}

/// Two threads on one file and on two.
fn two_threads() -> Vec<Row> {
    let pair = |name, what, open_flags, same: bool, rwf| {
        row(name, 4_000, what, move |p: &Place, m: &mut Meter| {
            p.need_b().map_err(Stop::Failed)?;
            with_file(p, open_flags, |fd| accepted(fd, rwf))?;
            let paths = [p.path("a"), p.path(if same { "a" } else { "b" })];
            threads(m, &paths, FILE_PAGES, open_flags, rwf)
        })
    };
    vec![
        pair("mt2_wt_same", "write-through, two threads, one file", 0, true, WT),
        pair("mt2_wt_sep", "write-through, two threads, two files", 0, false, WT),
        pair("mt2_odsync_same", "O_DSYNC, two threads, one file", O_DSYNC, true, 0),
        pair("mt2_odsync_sep", "O_DSYNC, two threads, two files", O_DSYNC, false, 0),
        pair("mt2_direct_same", "O_DIRECT, two threads, one file", O_DIRECT, true, 0),
        pair("mt2_direct_sep", "O_DIRECT, two threads, two files", O_DIRECT, false, 0),
        pair("mt2_buf_same", "buffered, two threads, one file", 0, true, 0),
        pair("mt2_buf_sep", "buffered, two threads, two files", 0, false, 0),
    ]
}

/// Eight threads on one file and on eight: whether one file is as good as many (PERF-1).
fn eight_threads() -> Vec<Row> {
    let eight = |name, what, same: bool| {
        row(name, 4_000, what, move |p: &Place, m: &mut Meter| {
            with_file(p, 0, |fd| accepted(fd, WT))?;
            if same {
                return threads(m, &vec![p.path("a"); 8], FILE_PAGES, 0, WT);
            }
            let paths = p.make_eight().map_err(Stop::Failed)?;
            let result = threads(m, &paths, EIGHTH_PAGES, 0, WT);
            paths.iter().try_for_each(|path| sys::unlink(path)).map_err(failed)?;
            result
        })
    };
    vec![
        eight("mt8_wt_same", "write-through, eight threads, one file", true),
        eight("mt8_wt_sep", "write-through, eight threads, eight files", false),
    ]
}

pub fn with_file(p: &Place, flags: u32, work: impl FnOnce(Fd) -> RunResult) -> RunResult {
    let fd = sys::open(&p.path("a"), O_RDWR | flags).map_err(unsupported_or_failed)?;
    let result = sys::fsync(fd).map_err(failed).and_then(|()| work(fd));
    sys::close(fd).map_err(failed)?;
    result
}

/// A new file `c`, with its blocks made beforehand if so wanted; removed afterwards.
fn growing(
    p: &Place,
    m: &mut Meter,
    flags: u32,
    blocks: Blocks,
    work: impl FnOnce(&mut Meter, Fd, u64) -> RunResult,
) -> RunResult {
    let path = p.path("c");
    let limit = m.at_most(4_000);
    let _ = sys::unlink(&path);
    let fd = sys::open(&path, O_RDWR | O_CREAT | O_TRUNC | flags).map_err(unsupported_or_failed)?;
    let ready = match blocks {
        Blocks::Append => Ok(()),
        _ => sys::fallocate(fd, blocks == Blocks::KeepSize, limit * PAGE as u64).map_err(unsupported_or_failed),
    };
    let result = ready.and_then(|()| sys::fsync(fd).map_err(failed)).and_then(|()| work(m, fd, limit));
    sys::close(fd).and_then(|()| sys::unlink(&path)).map_err(failed)?;
    result
}

/// Three passes first: the rows see the steady state of the cache, not the first use of a page.
fn cached_read(p: &Place, m: &mut Meter, len: usize) -> RunResult {
    with_file(p, 0, |fd| {
        let (mut buffer, mut rng) = (page(0), Rng::new(0));
        for i in 0..3 * FILE_PAGES {
            whole(sys::pread(fd, &mut buffer.0, i % FILE_PAGES * PAGE as u64)).map_err(failed)?;
        }
        m.each(u64::MAX, |_| match sys::pread(fd, &mut buffer.0[..len], rng.page(FILE_PAGES))? {
            n if n == len => Ok(()),
            _ => Err(sys::EINVAL),
        })
    })
}

/// Keeps `depth` requests in flight.
fn aio(
    m: &mut Meter,
    fd: Fd,
    depth: usize,
    write: bool,
    rwf: u32,
    limit: u64,
    mut place: impl FnMut() -> u64,
) -> RunResult {
    let mut queue = AioQueue::new(depth).map_err(unsupported_or_failed)?;
    let (mut prepared, mut done) = (0, 0);
    m.start();
    loop {
        while queue.has_room() && m.goes_on(prepared, limit) {
            queue.prepare(fd, write, place(), rwf);
            prepared += 1;
        }
        let start = sys::tsc();
        queue.submit().map_err(failed)?;
        m.submitting(sys::tsc() - start);
        if queue.in_flight() == 0 {
            break;
        }
        done += queue.reap().map_err(failed)? as u64;
        m.latency(sys::tsc() - start);
    }
    m.stop();
    m.did(done);
    Ok(())
}

/// A thread for each path, which writes at random among the first `pages` of its file.
fn threads(m: &mut Meter, paths: &[CString], pages: u64, open_flags: u32, rwf: u32) -> RunResult {
    m.start();
    let counts: Vec<Result<u64, Stop>> = {
        let m = &*m;
        std::thread::scope(|scope| {
            let handles: Vec<_> = paths
                .iter()
                .enumerate()
                .map(|(i, path)| {
                    scope.spawn(move || writer(m, path, i as u64, paths.len() as u64, pages, open_flags, rwf))
                })
                .collect();
            handles.into_iter().map(|h| h.join().unwrap_or(Err(Stop::Failed("a thread panicked".into())))).collect()
        })
    };
    m.stop();
    let mut ops = 0;
    for count in counts {
        ops += count?;
    }
    m.did(ops);
    Ok(())
}

fn writer(
    m: &Meter,
    path: &CStr,
    number: u64,
    threads: u64,
    pages: u64,
    open_flags: u32,
    rwf: u32,
) -> Result<u64, Stop> {
    let fd = sys::open(path, O_RDWR | open_flags).map_err(failed)?;
    let (buffer, mut rng) = (page(4), Rng::new(number));
    let mut done = 0;
    // All threads together do a fixed number.
    while m.goes_on(done * threads, u64::MAX) {
        whole(sys::pwritev2(fd, &buffer.0, rng.page(pages), rwf)).map_err(failed)?;
        done += 1;
    }
    sys::close(fd).map_err(failed)?;
    Ok(done)
}

/// Whether the kernel takes a write with these flags on `fd`.
fn accepted(fd: Fd, rwf: u32) -> RunResult {
    if rwf == 0 {
        return Ok(());
    }
    whole(sys::pwritev2(fd, &page(2).0, 0, rwf)).map_err(unsupported_or_failed)
}

fn unsupported_or_failed(error: sys::Errno) -> Stop {
    if error == sys::EOPNOTSUPP || error == sys::ENOSYS { Stop::Unsupported } else { failed(error) }
}

/// A transfer must be a whole page.
fn whole(result: sys::Result<usize>) -> sys::Result<()> {
    if result? == PAGE { Ok(()) } else { Err(sys::EINVAL) }
}
