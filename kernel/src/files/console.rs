//! Standard input, output and error: a terminal in raw mode over whatever device there is.
use base::Result;
use base::sync::{Arc, PollQueue};
use fs::io::{IoSink, IoSource};
use fs::kiocb::{Kiocb, Outcome};
use fs::vfs::{File, FileOps, OpenFlags, Readiness};

/// A device that shows characters and gives the ones that are typed. The serial driver implements it.
pub trait Console: Send + Sync {
    /// Shows `bytes`. Task context; may sleep while the device's buffer is full.
    fn write(&self, bytes: &[u8]);
    /// Waits for characters and takes what is there, at most `dst.len()`; 0: there will be none. Errors: `EINTR`.
    fn read(&self, dst: &mut [u8]) -> Result<usize>;
    /// Whether a read would not wait.
    fn readable(&self) -> bool;
    /// Who is told when that has changed; `None` where it never does.
    fn poll_queue(&self) -> Option<&PollQueue> {
        None
    }
}

/// The files of a console.
pub struct Tty(Arc<dyn Console>);

impl Tty {
    /// The operations of a device node that is this console.
    pub fn device(console: Arc<dyn Console>) -> Arc<dyn FileOps> {
        Arc::new(Tty(console))
    }
    /// An open file on `console` for reading and writing.
    pub fn open(console: Arc<dyn Console>) -> Arc<File> {
        File::new(None, OpenFlags::RDWR, Arc::new(Tty(console)))
    }
}

impl FileOps for Tty {
    fn as_any(&self) -> Option<&dyn core::any::Any> {
        Some(self)
    }
    fn read(&self, _kiocb: &mut Kiocb<'_>, dst: &mut dyn IoSink) -> Result<Outcome> {
        let mut chunk = [0; 256];
        let room = dst.remaining().min(chunk.len());
        let n = self.0.read(&mut chunk[..room])?;
        super::copy_out(dst, &chunk[..n.min(room)]).map(Outcome::Done)
    }
    /// A chunk at a time; carriage returns before line feeds are added on the way.
    fn write(&self, _kiocb: &mut Kiocb<'_>, src: &mut dyn IoSource) -> Result<Outcome> {
        let mut done = 0;
        let mut chunk = [0; 256];
        while src.remaining() > 0 {
            let room = src.remaining().min(chunk.len());
            match super::copy_in(src, &mut chunk[..room]) {
                Err(e) if done == 0 => return Err(e),
                Err(_) => break,
                Ok(()) => {}
            }
            self.0.write(&chunk[..room]);
            done += room;
        }
        Ok(Outcome::Done(done))
    }
    fn readiness(&self, _file: &File) -> Readiness {
        Readiness { readable: self.0.readable(), writable: true, hung_up: false, failed: false }
    }
    fn poll_queue(&self) -> Option<&PollQueue> {
        self.0.poll_queue()
    }
    /// `TCGETS` and `TIOCGWINSZ` are answered by the caller's `ENOTTY`: programs then write whole blocks, which is faster.
    fn seekable(&self) -> bool {
        false
    }
}
