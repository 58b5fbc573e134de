//! The block server of the power cuts against an independent witness: QEMU's `blklogwrites` stands between the machine and the server
//! and writes down every write and flush. Both must tell the same, and what either tells must be what the disk holds.
use anyhow::{Context, Result, ensure};
use base::block::BioOp;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tests::TestDisk;
use tests::powercut::server::Served;
use tests::powercut::store::Store;
use xtask::image::Spec;
use xtask::nbd::serve_medium;
use xtask::qemu::{End, Machine};

const SECTOR: usize = 512;
const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;

/// An entry of the log: where, its flags, and what a write brought.
struct Entry {
    at: usize,
    flags: u64,
    data: Vec<u8>,
}

fn word(bytes: &[u8], index: usize) -> Result<u64> {
    let field = bytes.get(index * 8..index * 8 + 8).context("the log ends")?;
    Ok(u64::from_le_bytes(field.try_into()?))
}

/// Reads a log with sectors of 512 bytes: a superblock, then entries of a sector, each followed by its data.
fn parse(log: &[u8]) -> Result<Vec<Entry>> {
    ensure!(word(log, 0)? == MAGIC, "not a log of blklogwrites");
    let (count, mut at, mut entries) = (word(log, 2)?, SECTOR, Vec::new());
    for _ in 0..count {
        let head = log.get(at..at + SECTOR).context("the log ends")?;
        let (sector, sectors, flags) = (word(head, 0)? as usize, word(head, 1)? as usize, word(head, 2)?);
        let data = log.get(at + SECTOR..at + SECTOR * (1 + sectors)).context("the log ends")?.to_vec();
        at += SECTOR * (1 + sectors);
        entries.push(Entry { at: sector * SECTOR, flags, data });
    }
    Ok(entries)
}

#[test]
fn the_server_records_what_an_independent_witness_saw() -> Result<()> {
    let disk = TestDisk::new(&Spec { size_mib: 64, ..Spec::default() }, &["bench"])?;
    let base = Arc::new(std::fs::read(&disk.path)?);
    let folder = tempfile::tempdir()?;
    let (socket, log) = (folder.path().join("nbd"), folder.path().join("log"));
    std::fs::File::create(&log)?.set_len(256 << 20)?;
    let served = Arc::new(Mutex::new(Served::new(Store::new(base.clone()), base.len())));
    serve_medium(served.clone(), socket.clone())?;
    let init = "/bin/bench --ops 1 --only pwrite_fdatasync,pwritev2_wt*,aio_w_wt*,append_wt*,create_unlink";
    let mut machine = Machine::with_program(tests::kernel(), init).limit(120);
    let nodes = [
        format!("driver=nbd,node-name=n0,server.type=unix,server.path={}", socket.display()),
        format!("driver=file,node-name=l0,filename={}", log.display()),
        "driver=blklogwrites,node-name=w0,file=n0,log=l0,log-sector-size=512,log-super-update-interval=1".into(),
    ];
    machine.extra = nodes.into_iter().flat_map(|node| ["-blockdev".into(), node]).collect();
    let device = "virtio-blk-pci,drive=w0,disable-legacy=on,request-merging=off";
    machine.extra.extend(["-device".into(), device.into()]);
    let outcome = machine.run(&mut xtask::console::nowhere)?;
    let lines = &outcome.console.lines;
    assert_eq!((&outcome.end, outcome.console.init_status()), (&End::Clean, Some(0)), "{lines:#?}");

    let entries = parse(&std::fs::read(&log)?)?;
    let (store, record) = served.lock().expect("the server lives").change(Store::new(base.clone()));
    let mut counts: BTreeMap<(usize, &[u8]), i64> = BTreeMap::new();
    let mut replayed = base.to_vec();
    for entry in entries.iter().filter(|entry| !entry.data.is_empty()) {
        *counts.entry((entry.at, &entry.data)).or_default() += 1;
        replayed[entry.at..entry.at + entry.data.len()].copy_from_slice(&entry.data);
    }
    for request in record.requests.iter().filter(|request| request.op == BioOp::Write) {
        *counts.entry((request.at, &request.data)).or_default() -= 1;
    }
    let differ: Vec<_> = counts.iter().filter(|(_, n)| **n != 0).map(|((at, data), n)| (*at, data.len(), *n)).collect();
    assert_eq!(differ, [], "writes that one of the two has seen and the other not: place, bytes, surplus");
    let flushes = record.requests.iter().filter(|request| request.op == BioOp::Flush).count();
    // The witness hands each flush on, and QEMU's block layer behind it once more.
    let logged = entries.iter().filter(|entry| entry.flags & FLUSH != 0).count();
    assert!(flushes >= logged, "{flushes} flushes came, {logged} were logged");
    assert!(entries.len() > 100 && logged > 10, "{} entries, {logged} flushes", entries.len());
    assert!(replayed == store.to_vec(), "the log, played again, is not the disk");
    Ok(())
}
