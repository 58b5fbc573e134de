//! The device gate (HK-2): a disk in front of a disk, where a test holds, reorders and fails single requests and reads the
//! log of all of them.
//!
//! A request that comes to the gate is noted in the log. It is held, or fails, if a rule says so; else a copy of it is sent
//! to the real disk, and the end of the copy ends the original, which a rule may hold back too: then the disk has done the
//! work and nobody knows yet.
use super::{
    Bio, BioEnd, BioOp, BlockDevice, Durability, Limits, Promise, Sector, SubmittedBio, complete_as_interrupt,
};
use crate::errno::{Errno, Result};
use crate::sync::{Arc, IrqLock, SpinLock, WaitQueue};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

/// Which requests a rule is about.
#[derive(Clone, Debug)]
pub struct Filter {
    op: Option<BioOp>,
    sectors: Range<u64>,
    skip: u64,
    times: u64,
}

impl Filter {
    /// All requests.
    pub fn any() -> Filter {
        Filter { op: None, sectors: 0..u64::MAX, skip: 0, times: u64::MAX }
    }
    /// Only requests of this kind.
    pub fn op(self, op: BioOp) -> Filter {
        Filter { op: Some(op), ..self }
    }
    /// Only requests that touch these sectors (of 512 bytes). A flush touches none and fits only without this.
    pub fn sectors(self, sectors: Range<u64>) -> Filter {
        Filter { sectors, ..self }
    }
    /// Only the `n`-th that fits, from 1.
    pub fn nth(self, n: u64) -> Filter {
        Filter { skip: n.saturating_sub(1), times: 1, ..self }
    }
    /// Only the first `n` that fit.
    pub fn times(self, n: u64) -> Filter {
        Filter { times: n, ..self }
    }

    fn fits(&self, request: &Request) -> bool {
        let everywhere = self.sectors == (0..u64::MAX);
        let touches = request.sector.0 < self.sectors.end && self.sectors.start < request.end_sector().0;
        self.op.is_none_or(|op| op == request.op) && (everywhere || touches)
    }

    /// Counts a request that fits; whether it is one of those meant.
    fn take(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        let meant = self.times > 0;
        self.times = self.times.saturating_sub(1);
        meant
    }
}

/// One line of the log.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its place in the order of submission, from 0: the name by which a test releases or fails it.
    pub number: usize,
    /// What was asked.
    pub op: BioOp,
    /// First sector.
    pub sector: Sector,
    /// Bytes on the device.
    pub len_bytes: u64,
    /// The task that submitted it.
    pub task: u64,
    /// Its place in the order of completion, from 0, and how it ended.
    pub completion: Option<(usize, Result<()>)>,
}

impl Request {
    /// The sector after the last.
    pub fn end_sector(&self) -> Sector {
        Sector(self.sector.0.saturating_add(self.len_bytes.div_ceil(super::SECTOR_SIZE)))
    }
}

#[derive(Clone, Copy)]
enum Action {
    Hold,
    HoldCompletion,
    Fail(Errno),
}

/// A disk in front of a disk. Dropping it ends what it holds with `EIO`.
pub struct Gate(Arc<Shared>);

struct Shared {
    disk: Arc<dyn BlockDevice>,
    rules: SpinLock<Vec<(Filter, Action)>>,
    state: IrqLock<State>,
    changed: WaitQueue,
    /// Ends of copies. They are let go in a task, never by the interrupt that uses them last.
    copies: SpinLock<Vec<Arc<CopyEnd>>>,
}

#[derive(Default)]
struct State {
    log: Vec<Request>,
    completed: usize,
    held: Vec<(usize, Held)>,
    /// Copies that have ended, until a task frees them.
    ended: Option<Box<Bio>>,
}

enum Held {
    /// The disk doesn't know of it.
    Request(SubmittedBio),
    /// The disk has answered.
    Completion(SubmittedBio, Result<()>),
    /// To fail at the next kick.
    Failure(SubmittedBio, Errno),
}

impl Gate {
    /// An open gate in front of `disk`.
    pub fn new(disk: Arc<dyn BlockDevice>) -> Arc<Gate> {
        Arc::new(Gate(Arc::new(Shared {
            disk,
            rules: SpinLock::new(Vec::new()),
            state: IrqLock::new(State::default()),
            changed: WaitQueue::new(),
            copies: SpinLock::new(Vec::new()),
        })))
    }

    /// Requests that fit are held before the disk.
    pub fn hold(&self, filter: Filter) {
        self.0.rules.lock().push((filter, Action::Hold));
    }
    /// Requests that fit are done by the disk, but their completion is held.
    pub fn hold_completions(&self, filter: Filter) {
        self.0.rules.lock().push((filter, Action::HoldCompletion));
    }
    /// Requests that fit end with `status` after the next kick; the disk doesn't see them.
    pub fn fail(&self, filter: Filter, status: Errno) {
        self.0.rules.lock().push((filter, Action::Fail(status)));
    }
    /// Takes all rules back; what is held stays held.
    pub fn clear_rules(&self) {
        self.0.rules.lock().clear();
    }
    /// Takes all rules back and releases what is held, in order of submission.
    pub fn open(&self) {
        self.clear_rules();
        self.held().iter().for_each(|r| self.release(r.number));
    }

    /// Sleeps until `n` requests are held, before the disk or after it.
    pub fn wait_held(&self, n: usize) {
        self.0.changed.wait_until(|| self.0.state.lock().held.len() >= n);
    }
    /// Sleeps until the disk has answered `n` requests whose completion is held, or [`crate::time::now_ns`] reaches
    /// `deadline_ns`; whether it did.
    pub fn wait_done(&self, n: usize, deadline_ns: u64) -> bool {
        self.0.changed.wait_until_deadline(deadline_ns, || self.count_held(true) >= n)
    }
    /// As [`Gate::wait_held`], but no longer than until [`crate::time::now_ns`] reaches `deadline_ns`; whether they are held.
    pub fn wait_held_until(&self, n: usize, deadline_ns: u64) -> bool {
        self.0.changed.wait_until_deadline(deadline_ns, || self.count_held(false) >= n)
    }
    /// Sleeps until `n` requests have come since the gate was made.
    pub fn wait_submitted(&self, n: usize) {
        self.0.changed.wait_until(|| self.0.state.lock().log.len() >= n);
    }
    /// Sleeps until `n` requests have ended since the gate was made.
    pub fn wait_completed(&self, n: usize) {
        self.0.changed.wait_until(|| self.0.state.lock().completed >= n);
    }

    /// The requests that are held, in order of submission.
    pub fn held(&self) -> Vec<Request> {
        let state = self.0.state.lock();
        let mut numbers: Vec<usize> = state.held.iter().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers.iter().map(|&n| state.log[n].clone()).collect()
    }
    /// The numbers of the requests that the disk has answered and whose completion is held, in order of submission.
    pub fn held_completions(&self) -> Vec<usize> {
        self.numbers(|held| matches!(held, Held::Completion(..)))
    }
    /// Every request since the gate was made, in order of submission.
    pub fn log(&self) -> Vec<Request> {
        self.0.state.lock().log.clone()
    }

    /// Frees the copies that have ended, and with them their handles to the pages. Task context. Otherwise that waits for the
    /// next request.
    pub fn settle(&self) {
        self.0.free_ended();
    }

    /// Lets a held request go on: to the disk, or to its submitter. Panics if `number` is not held.
    pub fn release(&self, number: usize) {
        match self.0.take_held(number) {
            Held::Request(bio) => {
                self.0.forward(number, bio, false, None);
                self.0.disk.kick();
            }
            Held::Completion(bio, status) => self.0.complete(number, bio, status),
            Held::Failure(bio, status) => self.0.complete(number, bio, Err(status)),
        }
    }
    /// Sends the requests that are held before the disk to it, in order of submission, and holds their completions.
    pub fn pass(&self) {
        for number in self.numbers(|held| matches!(held, Held::Request(_))) {
            // Somebody else may have released it meanwhile.
            if let Some(bio) = self.0.take_request(number) {
                self.0.forward(number, bio, true, None);
            }
        }
        self.0.disk.kick();
    }

    fn numbers(&self, wanted: impl Fn(&Held) -> bool) -> Vec<usize> {
        let state = self.0.state.lock();
        let mut numbers: Vec<usize> = state.held.iter().filter(|(_, held)| wanted(held)).map(|(n, _)| *n).collect();
        numbers.sort_unstable();
        numbers
    }
    /// How many are held; or how many of those the disk has answered.
    fn count_held(&self, answered: bool) -> usize {
        let state = self.0.state.lock();
        state.held.iter().filter(|(_, held)| !answered || matches!(held, Held::Completion(..))).count()
    }

    /// Ends a held request with `status`, whatever the disk said. Panics if `number` is not held.
    pub fn fail_held(&self, number: usize, status: Errno) {
        let (Held::Request(bio) | Held::Completion(bio, _) | Held::Failure(bio, _)) = self.0.take_held(number);
        self.0.complete(number, bio, Err(status));
    }
}

impl BlockDevice for Gate {
    fn name(&self) -> &str {
        self.0.disk.name()
    }
    fn limits(&self) -> Limits {
        self.0.disk.limits()
    }
    fn durability(&self) -> Durability {
        self.0.disk.durability()
    }
    fn submit(&self, bio: SubmittedBio) {
        self.0.take(bio, None);
    }
    fn reserve(&self) -> Option<Promise> {
        self.0.disk.reserve()
    }
    fn submit_reserved(&self, bio: SubmittedBio, promise: Promise) {
        self.0.take(bio, Some(promise));
    }
    fn unreserve(&self, promise: Promise) {
        self.0.disk.unreserve(promise);
    }
    fn kick(&self) {
        self.0.disk.kick();
        while let Some((number, bio, status)) = self.0.next_failure() {
            self.0.complete(number, bio, Err(status));
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.clear_rules();
        self.held().iter().for_each(|r| self.fail_held(r.number, Errno::EIO));
        self.0.free_ended();
        // A copy still in flight ends into the gate's state; only its reference keeps that alive from now on.
        let copies = core::mem::take(&mut *self.0.copies.lock());
        drop(copies);
    }
}

impl Shared {
    fn note(&self, bio: &SubmittedBio) -> Request {
        let mut state = self.state.lock();
        let request = Request {
            number: state.log.len(),
            op: bio.op(),
            sector: bio.sector(),
            len_bytes: bio.len_bytes(),
            task: crate::sched::current_id(),
            completion: None,
        };
        // Room for the case that all of them are held by interrupts, which must not allocate.
        let held_at_most = state.log.len() + 1;
        let more = held_at_most.saturating_sub(state.held.len());
        state.held.reserve(more);
        state.log.push(request.clone());
        request
    }

    fn rule_for(&self, request: &Request) -> Option<Action> {
        let mut rules = self.rules.lock();
        rules.iter_mut().find_map(|(filter, action)| (filter.fits(request) && filter.take()).then_some(*action))
    }

    fn hold(&self, number: usize, held: Held) {
        self.state.lock().held.push((number, held));
        self.changed.wake_all();
    }

    fn take_held(&self, number: usize) -> Held {
        let mut state = self.state.lock();
        let at = state.held.iter().position(|(n, _)| *n == number);
        state.held.swap_remove(at.expect("the request is held")).1
    }

    fn take_request(&self, number: usize) -> Option<SubmittedBio> {
        let mut state = self.state.lock();
        let at = state.held.iter().position(|(n, held)| *n == number && matches!(held, Held::Request(_)))?;
        match state.held.swap_remove(at) {
            (_, Held::Request(bio)) => Some(bio),
            _ => None,
        }
    }

    fn next_failure(&self) -> Option<(usize, SubmittedBio, Errno)> {
        let mut state = self.state.lock();
        let at = state.held.iter().position(|(_, held)| matches!(held, Held::Failure(..)))?;
        match state.held.swap_remove(at) {
            (number, Held::Failure(bio, status)) => Some((number, bio, status)),
            _ => None,
        }
    }

    /// Notes a request and does with it what the rules say. What is held goes on later, without the room that was `reserved` for it.
    fn take(self: &Arc<Self>, bio: SubmittedBio, reserved: Option<Promise>) {
        self.free_ended();
        let request = self.note(&bio);
        let held = match self.rule_for(&request) {
            None => return self.forward(request.number, bio, false, reserved),
            Some(Action::HoldCompletion) => return self.forward(request.number, bio, true, reserved),
            Some(Action::Hold) => Held::Request(bio),
            Some(Action::Fail(status)) => Held::Failure(bio, status),
        };
        if let Some(promise) = reserved {
            self.disk.unreserve(promise);
        }
        self.hold(request.number, held);
    }

    /// Sends a copy to the disk.
    fn forward(self: &Arc<Self>, number: usize, bio: SubmittedBio, hold_completion: bool, reserved: Option<Promise>) {
        let mut copy = Bio::for_wait(bio.op(), bio.sector());
        bio.segments().iter().for_each(|s| copy.push(s.clone()));
        copy.set_len_bytes(bio.len_bytes());
        let original = IrqLock::new(Some(bio));
        let end = Arc::new(CopyEnd { gate: self.clone(), number, hold_completion, original });
        copy.set_end(end.clone());
        self.copies.lock().push(end);
        copy.forward_to(&*self.disk, reserved);
        self.changed.wake_all();
    }

    /// Notes the end and tells the submitter.
    fn complete(&self, number: usize, bio: SubmittedBio, status: Result<()>) {
        let mut state = self.state.lock();
        let place = state.completed;
        state.completed += 1;
        state.log[number].completion = Some((place, status));
        drop(state);
        complete_as_interrupt(bio, status);
        self.changed.wake_all();
    }

    fn free_ended(&self) {
        let ended = self.state.lock().ended.take();
        drop(ended);
        let mut copies = self.copies.lock();
        let gone: Vec<_> = copies.extract_if(.., |end| Arc::strong_count(end) == 1).collect();
        drop(copies);
        drop(gone);
    }
}

/// The end of a copy: ends the original.
struct CopyEnd {
    gate: Arc<Shared>,
    number: usize,
    hold_completion: bool,
    original: IrqLock<Option<SubmittedBio>>,
}

impl BioEnd for CopyEnd {
    fn bio_end(self: Arc<Self>, copy: Box<Bio>) {
        let status = copy.status();
        copy.chain(&mut self.gate.state.lock().ended);
        let original = self.original.lock().take();
        let Some(original) = original else { return };
        if self.hold_completion {
            self.gate.hold(self.number, Held::Completion(original, status));
        } else {
            self.gate.complete(self.number, original, status);
        }
    }
}

#[cfg(all(test, feature = "testing", not(loom), not(shuttle)))]
mod tests {
    use super::*;
    use crate::block::{RamDisk, flush_and_wait, submit_and_wait};
    use crate::sched::{self, Task};

    fn setup() -> (Arc<RamDisk>, Arc<Gate>) {
        let disk = RamDisk::new(64);
        let gate = Gate::new(disk.clone());
        (disk, gate)
    }
    /// A task that writes zeros over sector `sector` and panics unless it ends with `want`.
    fn writer(gate: &Arc<Gate>, sector: u64, want: Result<()>) -> Task {
        let gate: Arc<dyn BlockDevice> = gate.clone();
        let body = move || {
            let mut bio = Bio::for_wait(BioOp::WriteZeroes, Sector(sector));
            bio.set_len_bytes(512);
            assert_eq!(submit_and_wait(&gate, bio).map(drop), want);
        };
        sched::spawn("writer", Box::new(body)).unwrap()
    }

    #[test]
    fn held_requests_are_released_in_another_order() {
        let (disk, gate) = setup();
        disk.poke(0, &[1; 1024]);
        gate.hold(Filter::any().op(BioOp::WriteZeroes));
        let a = writer(&gate, 0, Ok(()));
        gate.wait_held(1);
        let b = writer(&gate, 1, Ok(()));
        gate.wait_held(2);
        assert_eq!(disk.peek(0, 1024), [1; 1024]);
        gate.release(1);
        b.join();
        assert!(!a.has_exited() && disk.peek(512, 1) == [0] && disk.peek(0, 1) == [1]);
        gate.release(0);
        a.join();
        let places: Vec<_> = gate.log().iter().map(|r| r.completion.unwrap().0).collect();
        assert_eq!(places, [1, 0]);
    }

    #[test]
    fn a_held_completion_is_done_work_that_nobody_knows_of() {
        let (disk, gate) = setup();
        disk.poke(0, &[1; 512]);
        gate.hold_completions(Filter::any().sectors(0..1));
        let a = writer(&gate, 0, Err(Errno::EIO));
        gate.wait_held(1);
        assert!(!a.has_exited() && disk.peek(0, 1) == [0]);
        gate.fail_held(0, Errno::EIO);
        a.join();
        assert_eq!(gate.log()[0].completion, Some((0, Err(Errno::EIO))));
    }

    #[test]
    fn a_request_is_held_on_both_sides_of_the_disk() {
        let (disk, gate) = setup();
        disk.poke(0, &[1; 512]);
        gate.hold(Filter::any().times(1));
        let a = writer(&gate, 0, Ok(()));
        gate.wait_held(1);
        assert!(!gate.wait_done(1, 0) && disk.peek(0, 1) == [1]);
        gate.pass();
        assert!(gate.wait_done(1, crate::time::now_ns() + 10_000_000_000) && gate.held_completions() == [0]);
        assert!(!a.has_exited() && disk.peek(0, 1) == [0]);
        gate.open();
        a.join();
    }

    #[test]
    fn the_nth_fitting_request_fails() {
        let (disk, gate) = setup();
        disk.poke(0, &[1; 1024]);
        gate.fail(Filter::any().sectors(1..2).nth(2), Errno::ENOSPC);
        writer(&gate, 1, Ok(())).join();
        writer(&gate, 0, Ok(())).join();
        disk.poke(512, &[2; 512]);
        writer(&gate, 1, Err(Errno::ENOSPC)).join();
        assert_eq!(disk.peek(512, 1), [2]);
        let device: Arc<dyn BlockDevice> = gate.clone();
        flush_and_wait(&device).unwrap();
        assert_eq!(gate.log().len(), 4);
        gate.wait_completed(4);
    }

    #[test]
    fn a_held_request_fails_and_the_disk_never_saw_it() {
        let (disk, gate) = setup();
        disk.poke(0, &[1; 512]);
        gate.hold(Filter::any());
        let a = writer(&gate, 0, Err(Errno::ENXIO));
        gate.wait_held(1);
        gate.fail_held(gate.held()[0].number, Errno::ENXIO);
        a.join();
        assert_eq!(disk.peek(0, 1), [1]);
    }
}
