//! Contexts on the host, over a file whose writes end when the test says.
use super::*;
use crate::files::EventFd;
use crate::process::tests::{MEMORY, process};
use crate::process::{Process, Thread};
use alloc::vec::Vec;
use base::sync::{Arc, SpinLock};
use base::{Errno, Result, time};
use fs::io::{IoSink, IoSource};
use fs::kiocb::{Completion, Kiocb, Outcome};
use fs::vfs::{File, FileOps, OpenFlags, SyncKind};

/// Where the tests keep iocbs, the array of pointers, and events.
const IOCB: u64 = MEMORY + 0x100;
const EVENTS: u64 = MEMORY + 0x1000;

/// Keeps every write in flight until [`Gate::end`] or [`Gate::end_last`].
struct Gate(SpinLock<Vec<(Completion, usize)>>);

impl Gate {
    fn held(&self) -> usize {
        self.0.lock().len()
    }
    /// Ends the write submitted first; an error instead of its length if one is given.
    fn end(&self, error: Option<Errno>) {
        let (completion, len) = self.0.lock().remove(0);
        completion.complete(error.map_or(Ok(len), Err));
    }
}

impl Gate {
    /// Ends the write submitted last.
    fn end_last(&self) {
        let (completion, len) = self.0.lock().pop().expect("a write is held");
        completion.complete(Ok(len));
    }
}

struct Gated(Arc<Gate>);

impl FileOps for Gated {
    fn write(&self, kiocb: &mut Kiocb<'_>, src: &mut dyn IoSource) -> Result<Outcome> {
        if src.remaining() == 0 {
            return Ok(Outcome::Done(0));
        }
        let completion = kiocb.take_completion().expect("these tests write asynchronously");
        self.0.0.lock().push((completion, src.remaining()));
        Ok(Outcome::Queued)
    }
    fn read(&self, _kiocb: &mut Kiocb<'_>, _dst: &mut dyn IoSink) -> Result<Outcome> {
        Err(Errno::EIO)
    }
    fn fsync(&self, _file: &File, _kind: SyncKind) -> Result<()> {
        Ok(())
    }
}

struct Fixture {
    process: Arc<Process>,
    thread: Arc<Thread>,
    gate: Arc<Gate>,
    fd: u32,
}

impl Fixture {
    fn new() -> Fixture {
        let (process, thread) = process();
        let gate = Arc::new(Gate(SpinLock::new(Vec::new())));
        let file = File::new(None, OpenFlags::RDWR, Arc::new(Gated(gate.clone())));
        let fd = process.install(file, false).unwrap();
        Fixture { process, thread, gate, fd }
    }
    fn context(&self, count: u32) -> (u64, Arc<AioContext>) {
        let id = self.thread.mm.aio.create(&self.thread.mm, count).unwrap();
        (id, self.thread.mm.aio.get(id).unwrap())
    }
    fn write(&self, data: u64) -> Iocb {
        Iocb { data, opcode: 1, fd: self.fd, buf: MEMORY, nbytes: 512, ..Iocb::default() }
    }
    fn submit(&self, context: &AioContext, iocb: Iocb) -> Result<()> {
        self.thread.mm.write(IOCB, &iocb).unwrap();
        context.submit(&self.thread, IOCB)
    }
    /// Polls for up to `most` events.
    fn poll(&self, context: &AioContext, most: usize) -> Vec<Event> {
        let n = context.get_events(&self.thread, (0, most), EVENTS, Some(time::now_ns())).unwrap();
        self.thread.mm.read_array(EVENTS, n).unwrap()
    }
}

#[test]
fn aio_5_an_event_carries_what_the_iocb_said_at_submission() {
    let f = Fixture::new();
    let (_, context) = f.context(4);
    f.submit(&context, f.write(77)).unwrap();
    f.thread.mm.write(IOCB, &Iocb::default()).unwrap();
    assert!(f.poll(&context, 4).is_empty());
    f.gate.end(None);
    assert_eq!(f.poll(&context, 4), [Event { data: 77, obj: IOCB, res: 512, res2: 0 }]);
    f.submit(&context, f.write(78)).unwrap();
    f.gate.end(Some(Errno::EIO));
    assert_eq!(f.poll(&context, 4)[0].res, Errno::EIO.to_ret());
}

#[test]
fn aio_9_events_come_in_the_order_of_completion() {
    let f = Fixture::new();
    let (_, context) = f.context(4);
    for data in 1..=3 {
        f.submit(&context, f.write(data)).unwrap();
    }
    f.gate.end_last();
    f.gate.end(None);
    f.gate.end(None);
    assert_eq!(f.poll(&context, 4).iter().map(|event| event.data).collect::<Vec<_>>(), [3, 1, 2]);
}

#[test]
fn flag_3_a_failed_validation_gives_an_error_and_no_event_and_no_slot_is_lost() {
    let f = Fixture::new();
    let (_, context) = f.context(1);
    let bad = [
        (Iocb { opcode: 99, ..f.write(0) }, Errno::EINVAL),
        (Iocb { fd: 1000, ..f.write(0) }, Errno::EBADF),
        (Iocb { rw_flags: 0x200, ..f.write(0) }, Errno::EOPNOTSUPP),
        (Iocb { buf: u64::MAX - 8, ..f.write(0) }, Errno::EFAULT),
        (Iocb { flags: 1, eventfd: f.fd, ..f.write(0) }, Errno::EINVAL),
        (Iocb { opcode: 5, ..f.write(0) }, Errno::EINVAL),
    ];
    for (iocb, errno) in bad {
        assert_eq!(f.submit(&context, iocb), Err(errno), "{iocb:?}");
    }
    assert_eq!(context.submit(&f.thread, 0x10), Err(Errno::EFAULT));
    assert!(f.poll(&context, 4).is_empty());
    f.submit(&context, f.write(1)).unwrap();
    assert_eq!(f.submit(&context, f.write(2)), Err(Errno::EAGAIN));
    f.gate.end(None);
    assert_eq!(f.poll(&context, 4).len(), 1);
    // An error after the validation is an event.
    f.submit(&context, Iocb { opcode: 0, ..f.write(3) }).unwrap();
    assert_eq!(f.poll(&context, 4)[0].res, Errno::EIO.to_ret());
}

#[test]
fn r72_depth_collapse() {
    let f = Fixture::new();
    let (_, context) = f.context(32);
    for n in 0..32 {
        f.submit(&context, f.write(n)).unwrap();
    }
    assert_eq!(f.gate.held(), 32);
    for _ in 0..32 {
        f.gate.end(None);
    }
    assert_eq!(f.poll(&context, 64).len(), 32);
}

#[test]
fn aio_7_events_of_a_failed_copy_stay_in_the_ring() {
    let f = Fixture::new();
    let (_, context) = f.context(4);
    f.submit(&context, f.write(5)).unwrap();
    f.gate.end(None);
    let nowhere = context.get_events(&f.thread, (1, 1), 0x10, None);
    assert_eq!(nowhere, Err(Errno::EFAULT));
    assert_eq!(f.poll(&context, 4)[0].data, 5);
}

#[test]
fn aio_11_the_eventfd_is_signalled_once_an_event() {
    let f = Fixture::new();
    let (_, context) = f.context(4);
    let eventfd = EventFd::open(0, false, true);
    let fd = f.process.install(eventfd.clone(), false).unwrap();
    for n in 0..2 {
        f.submit(&context, Iocb { flags: 1, eventfd: fd, ..f.write(n) }).unwrap();
    }
    f.gate.end(None);
    f.gate.end(Some(Errno::EIO));
    let mut sink = crate::mm::UserSink::single(&f.thread.mm, EVENTS, 8).unwrap();
    let mut kiocb = Kiocb::sync(&eventfd, 0, fs::kiocb::IoFlags::empty(), &*f.thread);
    assert_eq!(eventfd.ops().read(&mut kiocb, &mut sink), Ok(Outcome::Done(8)));
    assert_eq!(f.thread.mm.read::<u64>(EVENTS), Ok(2));
}

#[test]
fn aio_1_and_12_setup_and_destroy() {
    let f = Fixture::new();
    let mm = &f.thread.mm;
    assert_eq!(f.thread.mm.aio.create(mm, 0), Err(Errno::EINVAL));
    assert_eq!(f.thread.mm.aio.create(mm, u32::MAX), Err(Errno::EINVAL));
    assert_eq!(f.thread.mm.aio.create(mm, 100_000), Err(Errno::EAGAIN));
    let (id, _context) = f.context(8);
    assert_eq!(mm.read::<[u32; 2]>(id), Ok([0, 127]), "the id is the address of a ring of the program");
    assert_eq!(f.thread.mm.aio.destroy(mm, id), Ok(()));
    assert_eq!(f.thread.mm.aio.destroy(mm, id), Err(Errno::EINVAL));
    assert!(f.thread.mm.aio.get(id).is_err());
    assert_eq!(mm.read::<u32>(id), Err(Errno::EFAULT));
}

/// The program moves the head, as libaio does: the events are gone for the kernel, and their slots are free.
#[test]
fn aio_15_events_taken_in_user_space_free_their_slots() {
    let f = Fixture::new();
    let (id, context) = f.context(2);
    let mm = &f.thread.mm;
    let words = || mm.read::<[u32; 8]>(id).unwrap();
    for round in 0..200 {
        for n in 0..2 {
            f.submit(&context, f.write(round * 2 + n)).unwrap();
            f.gate.end(None);
        }
        assert_eq!(f.submit(&context, f.write(9)), Err(Errno::EAGAIN));
        let [_, slots, head, tail, ..] = words();
        assert_eq!((head + 2) % slots, tail);
        let event: Event = mm.read(id + 32 + u64::from(head) * 32).unwrap();
        assert_eq!(event.data, round * 2);
        mm.write(id + 8, &((head + 1) % slots)).unwrap();
        // One is left for the kernel to hand out, and one slot is free.
        f.submit(&context, f.write(7)).unwrap();
        f.gate.end(None);
        let left: Vec<u64> = f.poll(&context, 4).iter().map(|event| event.data).collect();
        assert_eq!(left, [round * 2 + 1, 7]);
        assert_eq!(words()[2], words()[3], "the kernel has moved the head");
    }
}

#[test]
fn r66_destroy_vs_complete() {
    let f = Fixture::new();
    let (id, context) = f.context(8);
    f.submit(&context, f.write(1)).unwrap();
    let memory = f.thread.mm.clone();
    let destroyer = std::thread::spawn(move || memory.aio.destroy(&memory, id));
    // The waiter in getevents learns of the end, not of an event.
    let waited = context.get_events(&f.thread, (1, 1), EVENTS, None);
    assert_eq!(waited, Err(Errno::EINVAL));
    assert_eq!(f.submit(&context, f.write(2)), Err(Errno::EINVAL));
    assert!(!destroyer.is_finished(), "a request is in flight");
    f.gate.end(None);
    assert_eq!(destroyer.join().unwrap(), Ok(()));
}

#[test]
fn r65_exit_waits_for_requests_in_flight() {
    let f = Fixture::new();
    let (_, context) = f.context(64);
    for n in 0..64 {
        f.submit(&context, f.write(n)).unwrap();
    }
    drop(context);
    let (process, gate) = (f.process.clone(), f.gate.clone());
    f.process.send_signal(crate::process::Signal::SIGKILL);
    let thread = f.thread.clone();
    let runner = std::thread::spawn(move || {
        crate::process::run_thread(&thread, hal::user::UserContext::new(0, 0).unwrap());
    });
    while gate.held() > 0 {
        assert!(process.system.process(process.pid).is_some(), "reaped with requests in flight");
        gate.end(None);
    }
    runner.join().unwrap();
    assert_eq!(process.wait().to_code(), 128 + 9);
}

#[test]
fn r69_getevents_min() {
    let f = Fixture::new();
    let (_, context) = f.context(8);
    let waiter = |tid, min: usize, at: u64| {
        let (process, context) = (f.process.clone(), context.clone());
        std::thread::spawn(move || {
            process.memory().unwrap().activate();
            let thread = Thread::new(&process, tid, crate::process::SigSet::default()).unwrap();
            context.get_events(&thread, (min, min), at, None)
        })
    };
    let one = waiter(91, 1, EVENTS);
    let three = waiter(93, 3, EVENTS + 0x200);
    for n in 0..4 {
        f.submit(&context, f.write(n)).unwrap();
    }
    for _ in 0..4 {
        f.gate.end(None);
    }
    assert_eq!((one.join().unwrap(), three.join().unwrap()), (Ok(1), Ok(3)));
    let mut seen: Vec<u64> = f.thread.mm.read_array::<Event>(EVENTS, 1).unwrap().iter().map(|e| e.data).collect();
    seen.extend(f.thread.mm.read_array::<Event>(EVENTS + 0x200, 3).unwrap().iter().map(|e| e.data));
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3], "each event to one waiter");
}
