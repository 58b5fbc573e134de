//! The calls of the sweeps: each kind of write, each change of names, sync and unmount.
use crate::image::{Kind, judge};
use crate::ledger::Ledger;
use crate::stage::*;
use base::{Errno, Result};
use fs::ext4::Ext4Fs;
use fs::io::SliceSource;
use fs::iomap::DrainKind;
use fs::vfs::{self, File, OpenFlags, SyncKind};
use std::sync::Arc;

const DSYNC: u32 = 0x2;

/// A run of the calls on a stage.
pub struct Workload<'s> {
    stage: &'s Stage,
    pub ledger: Ledger,
    /// The errors that calls have given, in order.
    pub heard: Vec<(&'static str, Errno)>,
    /// Calls that fail are made once more, and must succeed then: the fault is a passing one.
    patient: bool,
}

impl<'s> Workload<'s> {
    pub fn new(stage: &'s Stage, patient: bool) -> Self {
        Workload { stage, ledger: Ledger::default(), heard: Vec::new(), patient }
    }

    /// Makes a call for `file`.
    fn call<R>(&mut self, what: &'static str, file: &str, mut call: impl FnMut() -> Result<R>) -> Result<R> {
        let mut outcome = call();
        if self.patient
            && let Some(error) = outcome.as_ref().err().copied()
        {
            self.heard.push((what, error));
            outcome = call();
            assert!(outcome.is_ok(), "{what}: {error}, and then {:?}", outcome.err());
        }
        if let Err(error) = outcome {
            self.heard.push((what, error));
            self.ledger.taint(file);
        }
        outcome
    }

    /// All calls but unmount.
    pub fn run(&mut self) {
        let _ = self.buffered();
        let _ = self.through();
        let _ = self.replace();
        let _ = self.names();
        let stage = self.stage;
        if self.call("sync", "", || stage.sb.ops().sync()).is_ok() {
            self.ledger.promise_all();
        }
        let _ = self.late();
    }

    fn create(&mut self, name: &'static str) -> Result<Arc<File>> {
        let stage = self.stage;
        self.ledger.change(name, Some(Vec::new()));
        self.call("create", name, || stage.try_open(name, OpenFlags::CREAT | OpenFlags::EXCL))
    }

    /// Writes all of `bytes`, however short the counts are.
    fn put(
        &mut self,
        what: &'static str,
        name: &str,
        pos: u64,
        bytes: &[u8],
        write: &dyn Fn(u64, &[u8]) -> Result<usize>,
    ) -> Result<()> {
        let mut content = self.ledger.now(name).unwrap_or_default();
        content.resize(content.len().max(pos as usize + bytes.len()), 0);
        content[pos as usize..][..bytes.len()].copy_from_slice(bytes);
        self.ledger.change(name, Some(content));
        let mut done = 0;
        while done < bytes.len() {
            done += self.call(what, name, || write(pos + done as u64, &bytes[done..]))?;
        }
        Ok(())
    }

    fn fsync(&mut self, name: &'static str, file: &Arc<File>, kind: SyncKind) -> Result<()> {
        self.call("fsync", name, || vfs::fsync(file, kind))?;
        self.ledger.promise(name);
        Ok(())
    }

    /// Buffered writes and fsync, then an append and fdatasync. With a second description, for the errors.
    fn buffered(&mut self) -> Result<()> {
        let file = self.create("a")?;
        let other = self.stage.try_open("a", OpenFlags::empty());
        let result = self.buffered_to(&file);
        if result == Err(Errno::EIO)
            && let Ok(other) = &other
        {
            self.told_once("a", &file, other);
        }
        result
    }

    fn buffered_to(&mut self, file: &Arc<File>) -> Result<()> {
        self.put("write", "a", 0, &[1; 6000], &|pos, bytes| write(file, pos, bytes))?;
        self.fsync("a", file, SyncKind::All)?;
        self.put("append", "a", 6000, &[2; 3000], &|_, bytes| {
            file.set_flags(file.flags() | OpenFlags::APPEND);
            vfs::write_current(file, 0, &mut SliceSource::new(bytes), &fs::caller::KernelCaller)
        })?;
        self.fsync("a", file, SyncKind::Data)
    }

    /// ERR-6: where the file system goes on after an error, each description hears of it once. Where it doesn't, each fsync does.
    fn told_once(&mut self, name: &str, file: &Arc<File>, other: &Arc<File>) {
        if !self.heard.ends_with(&[("fsync", Errno::EIO)]) {
            return;
        }
        let told = [fsync(file), fsync(other), fsync(other)];
        let expected = if Ext4Fs::of(&self.stage.sb).has_errors() {
            [Err(Errno::EIO); 3]
        } else {
            [Ok(()), Err(Errno::EIO), Ok(())]
        };
        assert_eq!(told, expected, "{name}");
    }

    /// Write-through, and an asynchronous one that is durable at its event.
    fn through(&mut self) -> Result<()> {
        let file = self.create("b")?;
        self.fsync("b", &file, SyncKind::All)?;
        self.put("write-through", "b", 0, &[3; 3000], &|pos, bytes| sync_wt(&file, pos, bytes))?;
        self.put("aio dsync", "b", 2048, &[4; 4096], &|pos, bytes| aio_write(&file, pos, bytes, WT | DSYNC).wait())?;
        if self.heard.is_empty() {
            self.ledger.promise("b");
        }
        self.put("aio dsync", "b", 0, &[5; 1024], &|pos, bytes| aio_write(&file, pos, bytes, WT | DSYNC).wait())?;
        if self.heard.is_empty() {
            self.ledger.promise("b");
        }
        Ok(())
    }

    /// The way to replace a file: write another one, make it durable, rename it over the old one.
    fn replace(&mut self) -> Result<()> {
        let file = self.create("c")?;
        self.put("write", "c", 0, &[6; 2500], &|pos, bytes| write(&file, pos, bytes))?;
        self.fsync("c", &file, SyncKind::All)?;
        let (stage, content) = (self.stage, self.ledger.now("c"));
        self.ledger.change("a", content);
        self.ledger.change("c", None);
        let result =
            self.call("rename", "c", || stage.with_names(|vfs, site| vfs.rename(site, b"c", site, b"a", false)));
        if result.is_err() {
            self.ledger.taint("a");
        }
        result
    }

    /// mkdir, rmdir, truncate, unlink.
    fn names(&mut self) -> Result<()> {
        let stage = self.stage;
        for name in ["d", "e"] {
            self.ledger.change(name, Some(Vec::new()));
            self.call("mkdir", name, || stage.with_names(|vfs, site| vfs.mkdir(site, name.as_bytes(), 0o755)))?;
        }
        self.ledger.change("d", None);
        self.call("rmdir", "d", || stage.with_names(|vfs, site| vfs.rmdir(site, b"d")))?;
        let file = self.create("t")?;
        self.put("write", "t", 0, &[7; 9000], &|pos, bytes| sync_wt(&file, pos, bytes))?;
        self.ledger.change("t", Some(vec![7; 1500]));
        self.call("truncate", "t", || truncate(&file, 1500))?;
        self.fsync("t", &file, SyncKind::All)?;
        vfs::fput(file);
        self.ledger.change("u", None);
        let file = self.create("u")?;
        self.put("write", "u", 0, &[8; 5000], &|pos, bytes| write(&file, pos, bytes))?;
        vfs::fput(file);
        self.ledger.change("u", None);
        self.call("unlink", "u", || stage.with_names(|vfs, site| vfs.unlink(site, b"u")))
    }

    /// Something for unmount to do.
    fn late(&mut self) -> Result<()> {
        let file = self.create("late")?;
        self.put("write", "late", 0, &[9; 2000], &|pos, bytes| write(&file, pos, bytes))
    }
}

/// What a whole run came to.
pub struct Outcome {
    pub heard: Vec<(&'static str, Errno)>,
    /// The file system has ended all changes.
    pub failed: bool,
    pub stage: Stage,
    pub ledger: Ledger,
}

/// Runs all calls and unmounts. Nothing is in flight then (CTX-9), and unmount works, or says why not and then works.
pub fn run(stage: Stage, patient: bool) -> Outcome {
    let mut workload = Workload::new(&stage, patient);
    workload.run();
    let Workload { mut ledger, mut heard, .. } = workload;
    stage.wait_quiet();
    // A request holds its protection until just after its event; one that leaked would hang here.
    stage.until(|| stage.sb.freeze_holders() == 0);
    for inode in stage.sb.inodes().all() {
        let drain = &inode.drain;
        assert_eq!(drain.count(DrainKind::Direct) + drain.count(DrainKind::Writethrough), 0, "drain count leaked (I1)");
    }
    let mut ended = stage.vfs.unmount_all();
    let failed = Ext4Fs::of(&stage.sb).has_errors();
    if let Err(error) = ended {
        heard.push(("unmount", error));
        if !stage.sb.is_shut_down() {
            ended = stage.vfs.unmount_all();
            assert_eq!(ended, Ok(()), "unmount, after {heard:?}");
        }
    }
    assert!(stage.sb.is_shut_down(), "unmounted");
    if heard.is_empty() || patient {
        ledger.promise_all();
    }
    Outcome { heard, failed, stage, ledger }
}

impl Outcome {
    /// Judges what the disk holds now.
    pub fn judge(&self, what: &str, kind: Kind) {
        let what = format!("{what}, heard {:?}", self.heard);
        judge(&what, kind, self.stage.disk.image(), self.failed, &self.ledger);
    }
}
