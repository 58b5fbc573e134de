//! null, zero, full, random.
use crate::io::{IoSink, IoSource};
use crate::kiocb::{Kiocb, Outcome};
use crate::vfs::{FileOps, makedev};
use alloc::sync::Arc;
use base::{Errno, Result};

/// Where `/dev/random` and `/dev/urandom` get their bytes.
pub trait RandomBytes: Send + Sync {
    /// Fills `bytes`. Any task; does not block.
    fn fill(&self, bytes: &mut [u8]);
}

/// The memory devices: name, number, operations.
pub(super) fn all(random: Arc<dyn RandomBytes>) -> [(&'static str, u64, Arc<dyn FileOps>); 5] {
    let random = Arc::new(Random(random));
    [
        ("null", makedev(1, 3), Arc::new(Null)),
        ("zero", makedev(1, 5), Arc::new(Zero)),
        ("full", makedev(1, 7), Arc::new(Full)),
        ("random", makedev(1, 8), random.clone()),
        ("urandom", makedev(1, 9), random),
    ]
}

/// Swallows everything there is.
fn swallow(source: &mut dyn IoSource) -> Result<Outcome> {
    // The bytes are not looked at, so a bad pointer goes unnoticed, as on Linux.
    Ok(Outcome::Done(source.remaining()))
}

/// Fills the sink in steps by `fill(sink, at most)`; faults in what stops it. Errors: `EFAULT` if nothing could be stored.
fn fill_all(
    sink: &mut dyn IoSink,
    kiocb: &Kiocb<'_>,
    mut step: impl FnMut(&mut dyn IoSink) -> usize,
) -> Result<Outcome> {
    let mut done = 0;
    while sink.remaining() > 0 {
        let n = step(sink);
        done += n;
        if n == 0 && sink.fault_in(1) == 0 {
            return if done == 0 { Err(Errno::EFAULT) } else { Ok(Outcome::Done(done)) };
        }
        if kiocb.caller.fatal_signal_pending() {
            break;
        }
    }
    Ok(Outcome::Done(done))
}

struct Null;
impl FileOps for Null {
    fn read(&self, _: &mut Kiocb<'_>, _: &mut dyn IoSink) -> Result<Outcome> {
        Ok(Outcome::Done(0))
    }
    fn write(&self, _: &mut Kiocb<'_>, source: &mut dyn IoSource) -> Result<Outcome> {
        swallow(source)
    }
}

fn read_zeros(kiocb: &Kiocb<'_>, sink: &mut dyn IoSink) -> Result<Outcome> {
    fill_all(sink, kiocb, |sink| sink.zero(sink.remaining().min(1 << 20)))
}

struct Zero;
impl FileOps for Zero {
    fn read(&self, kiocb: &mut Kiocb<'_>, sink: &mut dyn IoSink) -> Result<Outcome> {
        read_zeros(kiocb, sink)
    }
    fn write(&self, _: &mut Kiocb<'_>, source: &mut dyn IoSource) -> Result<Outcome> {
        swallow(source)
    }
}

struct Full;
impl FileOps for Full {
    fn read(&self, kiocb: &mut Kiocb<'_>, sink: &mut dyn IoSink) -> Result<Outcome> {
        read_zeros(kiocb, sink)
    }
    fn write(&self, _: &mut Kiocb<'_>, _: &mut dyn IoSource) -> Result<Outcome> {
        Err(Errno::ENOSPC)
    }
}

struct Random(Arc<dyn RandomBytes>);
impl FileOps for Random {
    fn read(&self, kiocb: &mut Kiocb<'_>, sink: &mut dyn IoSink) -> Result<Outcome> {
        fill_all(sink, kiocb, |sink| {
            let mut bytes = [0; 256];
            let n = sink.remaining().min(bytes.len());
            self.0.fill(&mut bytes[..n]);
            sink.copy_from_slice(&bytes[..n])
        })
    }
    /// Accepted and not mixed in: the generator of the kernel has its own sources.
    fn write(&self, _: &mut Kiocb<'_>, source: &mut dyn IoSource) -> Result<Outcome> {
        swallow(source)
    }
}
