//! From an iocb in user memory to a request in flight.
use super::AioContext;
use super::iocb::{Iocb, KEY_OFFSET, Opcode};
use super::request::Request;
use crate::files::EventFd;
use crate::mm::{UserSink, UserSource};
use crate::process::Thread;
use base::sync::Arc;
use base::{Errno, Result};
use fs::kiocb::{Completion, IoFlags, Kiocb, Outcome};
use fs::vfs::{self, File, SyncKind};

impl AioContext {
    /// Submits the iocb at `addr` of the active address space. Ok: exactly one event will come, or is there already. Errors:
    /// validation failed, in the order of AIO-3, and no event comes (FLAG-3). Task context; may sleep, but not for the request's own device write.
    pub fn submit(&self, thread: &Thread, addr: u64) -> Result<()> {
        let mm = &thread.mm;
        let iocb: Iocb = mm.read(addr)?;
        iocb.check_fields()?;
        let file = if iocb.needs_file() { Some(thread.process.files.get(iocb.fd)?) } else { None };
        let eventfd = match iocb.eventfd() {
            Some(fd) => Some(EventFd::check(thread.process.files.get(fd)?)?),
            None => None,
        };
        self.completions.reserve()?;
        let request = self.request();
        request.start(iocb.data, addr, eventfd);
        let stored = addr.checked_add(KEY_OFFSET).ok_or(Errno::EFAULT).and_then(|key| mm.write(key, &0u32));
        match stored.and_then(|()| self.start_opcode(thread, &request, file, &iocb, addr)) {
            Ok(Some(result)) => request.finish(result),
            Ok(None) => {}
            Err(e) => {
                request.abandon();
                return Err(e);
            }
        }
        Ok(())
    }
}

impl AioContext {
    /// Does what the iocb at `addr` asks for, or leaves it in flight. Errors: validation failed (FLAG-3).
    fn start_opcode(
        &self,
        thread: &Thread,
        request: &Arc<Request>,
        file: Option<Arc<File>>,
        iocb: &Iocb,
        addr: u64,
    ) -> Result<Submitted> {
        match (iocb.opcode()?, file) {
            (Opcode::Read { vectored }, Some(file)) => read(thread, request, &file, iocb, vectored),
            (Opcode::Write { vectored }, Some(file)) => write(thread, request, &file, iocb, vectored),
            (Opcode::Sync { data_only }, Some(file)) => Ok(sync(thread, request, file, data_only)),
            (Opcode::Poll { asked }, Some(file)) => {
                Ok(self.polls.start(request, addr, file, asked)?.map(|told| Ok(told.into())))
            }
            (_, None) | (Opcode::Noop, _) => Ok(Some(Ok(0))),
        }
    }
}

/// What is known of a request after its submission: `None`, it is in flight.
type Submitted = Option<Result<usize>>;

fn write(thread: &Thread, request: &Arc<Request>, file: &Arc<File>, iocb: &Iocb, vectored: bool) -> Result<Submitted> {
    let mm = &thread.mm;
    let flags = vfs::request_flags(file, iocb.rw_flags, vfs::Request::AioWrite)?;
    let mut source = match vectored {
        false => UserSource::single(mm, iocb.buf, iocb.nbytes)?,
        true => UserSource::import(mm, iocb.buf, iocb.nbytes)?,
    };
    let mut kiocb = start(thread, request, file, iocb, flags);
    let result = vfs::write(&mut kiocb, &mut source);
    Ok(outcome(kiocb.into_result(result)))
}

fn read(thread: &Thread, request: &Arc<Request>, file: &Arc<File>, iocb: &Iocb, vectored: bool) -> Result<Submitted> {
    let mm = &thread.mm;
    let flags = vfs::request_flags(file, iocb.rw_flags, vfs::Request::AioRead)?;
    let mut sink = match vectored {
        false => UserSink::single(mm, iocb.buf, iocb.nbytes)?,
        true => UserSink::import(mm, iocb.buf, iocb.nbytes)?,
    };
    let mut kiocb = start(thread, request, file, iocb, flags);
    let result = vfs::read(&mut kiocb, &mut sink);
    Ok(outcome(kiocb.into_result(result)))
}

/// A sync waits for the device: it runs on the aio worker.
fn sync(thread: &Thread, request: &Arc<Request>, file: Arc<File>, data_only: bool) -> Submitted {
    let kind = if data_only { SyncKind::Data } else { SyncKind::All };
    match thread.process.system.aio_worker() {
        Some(queue) => {
            request.set_sync(file, kind);
            queue.queue(request.clone());
            None
        }
        None => Some(vfs::fsync(&file, kind).map(|()| 0)),
    }
}

fn start<'a>(
    thread: &'a Thread,
    request: &Arc<Request>,
    file: &'a Arc<File>,
    iocb: &Iocb,
    flags: IoFlags,
) -> Kiocb<'a> {
    // HIPRI has no effect: completion is by interrupt (FLAG-5).
    Kiocb::aio(file, iocb.offset as u64, flags - IoFlags::HIPRI, thread, Completion::new(request.clone()))
}

fn outcome(result: Result<Outcome>) -> Submitted {
    match result {
        Ok(Outcome::Queued) => None,
        Ok(Outcome::Done(n)) => Some(Ok(n)),
        Err(e) => Some(Err(e)),
    }
}
