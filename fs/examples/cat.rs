//! Prints a file of an ext4 image: `cargo run -p fs --example cat -- disk.img /path`, or lists a directory.
//!
//! It is the whole of what it takes to use `base` and `fs` in a program of one's own: a block device, a mount, a walk.
use base::block::{BioOp, BlockDevice, Durability, Limits, SECTOR_SIZE, SubmittedBio};
use base::sync::Arc;
use base::{Errno, Result};
use fs::caller::KernelCaller;
use fs::ext4::{self, MountOptions, ROOT_INO};
use fs::io::SliceSink;
use fs::vfs::{self, File, FileType, OpenFlags, Site, Vfs};
use std::io::{Error, Write};
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{self, Sender};

/// An image file as a disk, read only. A thread of its own completes the requests, as an interrupt would.
struct ImageDisk {
    sectors: u64,
    requests: Sender<SubmittedBio>,
}

impl ImageDisk {
    fn open(path: &str) -> std::io::Result<ImageDisk> {
        let image = std::fs::File::open(path)?;
        let sectors = image.metadata()?.len() / SECTOR_SIZE;
        let (requests, incoming) = mpsc::channel::<SubmittedBio>();
        std::thread::spawn(move || {
            for bio in incoming {
                let status = serve(&image, &bio);
                bio.complete(status);
            }
        });
        Ok(ImageDisk { sectors, requests })
    }
}

fn serve(image: &std::fs::File, bio: &SubmittedBio) -> Result<()> {
    if bio.op() != BioOp::Read {
        return Err(Errno::EROFS);
    }
    let mut at = bio.sector().0 * SECTOR_SIZE;
    for segment in bio.segments() {
        let mut bytes = vec![0; segment.len as usize];
        image.read_exact_at(&mut bytes, at).map_err(|_| Errno::EIO)?;
        segment.page.write_from(segment.offset as usize, &bytes);
        at += u64::from(segment.len);
    }
    Ok(())
}

impl BlockDevice for ImageDisk {
    fn name(&self) -> &str {
        "image"
    }
    fn limits(&self) -> Limits {
        Limits {
            capacity_sectors: self.sectors,
            logical_block_size: 512,
            max_segments: 64,
            max_bytes: 256 * 1024,
            read_only: true,
            discard: false,
            write_zeroes: false,
        }
    }
    fn durability(&self) -> Durability {
        Durability::OnCompletion
    }
    fn submit(&self, bio: SubmittedBio) {
        if let Err(refused) = self.requests.send(bio) {
            refused.0.complete(Err(Errno::EIO));
        }
    }
    fn kick(&self) {}
}

fn print_file(file: &Arc<File>, out: &mut impl Write) -> std::io::Result<()> {
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let mut sink = SliceSink::new(&mut buffer);
        match vfs::read_current(file, 0, &mut sink, &KernelCaller).map_err(to_io)? {
            0 => return Ok(()),
            n => out.write_all(&buffer[..n])?,
        }
    }
}

fn print_directory(dir: &File, out: &mut impl Write) -> std::io::Result<()> {
    let mut lines = Vec::new();
    vfs::readdir(dir, &mut |entry| {
        lines.extend_from_slice(entry.name);
        lines.push(b'\n');
        true
    })
    .map_err(to_io)?;
    out.write_all(&lines)
}

fn to_io(error: Errno) -> Error {
    Error::from_raw_os_error(i32::from(error.number()))
}

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [image, path] = arguments.as_slice() else {
        eprintln!("usage: cat IMAGE PATH");
        std::process::exit(2);
    };
    let disk = Arc::new(ImageDisk::open(image)?);
    let options = MountOptions { read_only: true, ..MountOptions::default() };
    let sb = ext4::mount(disk, vfs::makedev(254, 0), options).map_err(to_io)?;
    let root = ext4::iget(&sb, ROOT_INO).map_err(to_io)?;
    let tree = Vfs::new(root.clone(), image.as_bytes(), None).map_err(to_io)?;
    let site = Site { cwd: &root, caller: &KernelCaller };
    let file = tree.open(site, path.as_bytes(), OpenFlags::empty(), 0).map_err(to_io)?;
    let mut out = std::io::stdout().lock();
    match file.inode.as_ref().map(|inode| inode.kind) {
        Some(FileType::Directory) => print_directory(&file, &mut out),
        _ => print_file(&file, &mut out),
    }
}
