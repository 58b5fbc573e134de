//! A block server: NBD over a Unix socket, for one client, the machine of QEMU.
//!
//! ```text
//!   receiver: read a request -> do it on the medium -> hand the reply on with the time it is due
//!   sender:   wait until the next reply is due -> send it
//! ```
//! Requests overlap as on a real device: none waits for another. What stands behind the server is a [`Medium`]: a file with a fixed
//! latency here; elsewhere a disk that records what happens on it and answers in another order. Protocol:
//! <https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md>, fixed newstyle, simple replies.
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;

const FLAGS_FIXED_NEWSTYLE: u16 = 1;
const OPTION_EXPORT_NAME: u32 = 1;
const OPTION_ABORT: u32 = 2;
const OPTION_INFO: u32 = 6;
const OPTION_GO: u32 = 7;
const REPLY_ACK: u32 = 1;
const REPLY_INFO: u32 = 3;
const REPLY_UNSUPPORTED: u32 = 1 << 31 | 1;
/// Transmission flags: there are flags, and the client may send flushes and trims.
const EXPORT_FLAGS: u16 = 1 | 4 | 32;

const READ: u16 = 0;
const WRITE: u16 = 1;
const DISCONNECT: u16 = 2;
const FLUSH: u16 = 3;
const TRIM: u16 = 4;
/// An error number of the protocol: the medium failed.
pub const EIO: u32 = 5;
/// An error number of the protocol: there is no such place or request.
pub const EINVAL: u32 = 22;
/// Longer requests are refused, as the protocol proposes.
const MAX_LEN: u32 = 32 << 20;

/// What stands behind a server. A request is done when it comes; what it answers goes out after [`Medium::latency`]. Errors are error
/// numbers of the protocol.
pub trait Medium: Send {
    /// Bytes.
    fn size(&self) -> u64;
    /// How long the answer to the next request takes.
    fn latency(&mut self) -> Duration;
    /// Fills `out` from byte `at` on, which lies inside.
    fn read(&mut self, at: u64, out: &mut [u8]) -> std::result::Result<(), u32>;
    /// Writes to byte `at` on, inside.
    fn write(&mut self, at: u64, bytes: &[u8]) -> std::result::Result<(), u32>;
    /// What has been answered before is durable when this is answered.
    fn flush(&mut self) -> std::result::Result<(), u32>;
    /// The bytes are no longer needed.
    fn trim(&mut self, at: u64, len: u32) -> std::result::Result<(), u32>;
    /// The answer to the `n`-th request of the connection, from 0, goes out now.
    fn answered(&mut self, n: usize);
}

/// A file whose requests all take the same time.
struct Slow {
    file: File,
    latency: Duration,
}

impl Medium for Slow {
    fn size(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }
    fn latency(&mut self) -> Duration {
        self.latency
    }
    fn read(&mut self, at: u64, out: &mut [u8]) -> std::result::Result<(), u32> {
        self.file.read_exact_at(out, at).map_err(|_| EIO)
    }
    fn write(&mut self, at: u64, bytes: &[u8]) -> std::result::Result<(), u32> {
        self.file.write_all_at(bytes, at).map_err(|_| EIO)
    }
    fn flush(&mut self) -> std::result::Result<(), u32> {
        // The host's own cache outlives the machine: a flush has nothing to wait for but the latency.
        Ok(())
    }
    fn trim(&mut self, _at: u64, _len: u32) -> std::result::Result<(), u32> {
        Ok(())
    }
    fn answered(&mut self, _n: usize) {}
}

/// Serves the file `image` on a socket at `socket`; each request takes `latency`. As [`serve_medium`].
pub fn serve(image: &Path, socket: PathBuf, latency: Duration) -> Result<()> {
    let file = File::options().read(true).write(true).open(image).with_context(|| image.display().to_string())?;
    serve_medium(Arc::new(Mutex::new(Slow { file, latency })), socket)
}

/// Serves `medium` on a socket at `socket`, to one client, in threads that end with the connection.
pub fn serve_medium<M: Medium + 'static>(medium: Arc<Mutex<M>>, socket: PathBuf) -> Result<()> {
    let listener = UnixListener::bind(&socket).with_context(|| socket.display().to_string())?;
    std::thread::spawn(move || {
        // A client that breaks off is QEMU at its end; what it did wrong shows in its own messages.
        let _ = listener.accept().map(|(stream, _)| Session { stream, medium }.run());
    });
    Ok(())
}

struct Session<M> {
    stream: UnixStream,
    medium: Arc<Mutex<M>>,
}

/// An answer on its way.
struct Reply {
    due: Instant,
    bytes: Vec<u8>,
}

impl<M: Medium + 'static> Session<M> {
    fn run(mut self) -> Result<()> {
        if !self.handshake()? {
            return Ok(());
        }
        let (send, replies) = mpsc::channel::<Reply>();
        let (stream, medium) = (self.stream.try_clone()?, self.medium.clone());
        let sender = std::thread::spawn(move || answer(stream, &medium, &replies));
        while let Some(reply) = self.request()? {
            if send.send(reply).is_err() {
                break;
            }
        }
        drop(send);
        sender.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??;
        Ok(())
    }

    fn medium(&self) -> MutexGuard<'_, M> {
        self.medium.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the client wants to go on to requests.
    fn handshake(&mut self) -> Result<bool> {
        let greeting = [b"NBDMAGIC", &OPTION_MAGIC.to_be_bytes()[..], &FLAGS_FIXED_NEWSTYLE.to_be_bytes()].concat();
        self.stream.write_all(&greeting)?;
        self.u32()?; // the client's flags: nothing depends on them
        loop {
            if self.u64()? != OPTION_MAGIC {
                bail!("not an NBD option");
            }
            let (option, len) = (self.u32()?, self.u32()?);
            self.bytes(len)?;
            match option {
                OPTION_EXPORT_NAME => {
                    let export = [&self.export()?[2..], &[0; 124]].concat();
                    self.stream.write_all(&export)?;
                    return Ok(true);
                }
                OPTION_INFO | OPTION_GO => {
                    let export = self.export()?;
                    self.option_reply(option, REPLY_INFO, &export)?;
                    self.option_reply(option, REPLY_ACK, &[])?;
                    if option == OPTION_GO {
                        return Ok(true);
                    }
                }
                OPTION_ABORT => {
                    self.option_reply(option, REPLY_ACK, &[])?;
                    return Ok(false);
                }
                _ => self.option_reply(option, REPLY_UNSUPPORTED, &[])?,
            }
        }
    }

    /// The record `NBD_INFO_EXPORT`: its number, the size, the flags.
    fn export(&self) -> Result<Vec<u8>> {
        let size = self.medium().size();
        Ok([&0u16.to_be_bytes()[..], &size.to_be_bytes(), &EXPORT_FLAGS.to_be_bytes()].concat())
    }

    fn option_reply(&mut self, option: u32, kind: u32, data: &[u8]) -> Result<()> {
        let mut reply = OPTION_REPLY_MAGIC.to_be_bytes().to_vec();
        for field in [option, kind, data.len() as u32] {
            reply.extend(field.to_be_bytes());
        }
        reply.extend(data);
        Ok(self.stream.write_all(&reply)?)
    }

    /// Takes one request and does it; `None` when the client says good-bye.
    fn request(&mut self) -> Result<Option<Reply>> {
        if self.u32()? != REQUEST_MAGIC {
            bail!("not an NBD request");
        }
        let (_flags, kind, handle) = (self.u16()?, self.u16()?, self.u64()?);
        let (at, len) = (self.u64()?, self.u32()?);
        if kind == DISCONNECT {
            return Ok(None);
        }
        let payload = if kind == WRITE { self.bytes(len)? } else { Vec::new() };
        let (due, done) = {
            let mut medium = self.medium();
            let due = Instant::now() + medium.latency();
            (due, perform(&mut *medium, kind, at, len, &payload))
        };
        let error = *done.as_ref().err().unwrap_or(&0);
        let head = [&REPLY_MAGIC.to_be_bytes()[..], &error.to_be_bytes(), &handle.to_be_bytes()].concat();
        Ok(Some(Reply { due, bytes: [head, done.unwrap_or_default()].concat() }))
    }

    fn bytes(&mut self, len: u32) -> Result<Vec<u8>> {
        if len > MAX_LEN {
            bail!("{len} bytes are too many");
        }
        let mut bytes = vec![0; len as usize];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
    fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array()?))
    }
    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }
    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_be_bytes(self.array()?))
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// What a read has read, or an error number.
fn perform(medium: &mut dyn Medium, kind: u16, at: u64, len: u32, payload: &[u8]) -> std::result::Result<Vec<u8>, u32> {
    let inside = at.checked_add(len.into()).is_some_and(|end| end <= medium.size());
    match kind {
        READ if inside && len <= MAX_LEN => {
            let mut data = vec![0; len as usize];
            medium.read(at, &mut data).map(|()| data)
        }
        WRITE if inside => medium.write(at, payload).map(|()| Vec::new()),
        FLUSH => medium.flush().map(|()| Vec::new()),
        TRIM if inside => medium.trim(at, len).map(|()| Vec::new()),
        _ => Err(EINVAL),
    }
}

/// Sends each reply when it is due, those that are due at once in the order of their requests.
fn answer<M: Medium>(
    mut stream: UnixStream,
    medium: &Mutex<M>,
    replies: &mpsc::Receiver<Reply>,
) -> std::io::Result<()> {
    let mut waiting: BTreeMap<(Instant, usize), Vec<u8>> = BTreeMap::new();
    let mut count = 0;
    let mut open = true;
    while open || !waiting.is_empty() {
        let next = waiting.first_key_value().map(|((due, _), _)| due.saturating_duration_since(Instant::now()));
        let more = match next {
            Some(Duration::ZERO) => Err(mpsc::RecvTimeoutError::Timeout),
            Some(wait) if open => replies.recv_timeout(wait),
            Some(wait) => {
                std::thread::sleep(wait);
                Err(mpsc::RecvTimeoutError::Timeout)
            }
            None => replies.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
        };
        match more {
            Ok(reply) => {
                waiting.insert((reply.due, count), reply.bytes);
                count += 1;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => open = false,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                if let Some(((_, number), bytes)) = waiting.pop_first() {
                    medium.lock().unwrap_or_else(PoisonError::into_inner).answered(number);
                    stream.write_all(&bytes)?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 1 << 20;

    /// A client after the handshake, with the image's path.
    fn client(latency: Duration) -> (UnixStream, PathBuf, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let (image, socket) = (folder.path().join("disk.img"), folder.path().join("nbd"));
        File::create(&image).unwrap().set_len(SIZE).unwrap();
        serve(&image, socket.clone(), latency).unwrap();
        let mut stream = UnixStream::connect(socket).unwrap();
        let mut greeting = [0; 18];
        stream.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting[..8], b"NBDMAGIC");
        stream.write_all(&1u32.to_be_bytes()).unwrap();
        // An option that the server lacks, then GO with no name and no wishes.
        option(&mut stream, 8, &[]);
        assert_eq!(option_reply(&mut stream), (8, REPLY_UNSUPPORTED, vec![]));
        option(&mut stream, OPTION_GO, &[0; 6]);
        let (_, kind, export) = option_reply(&mut stream);
        assert_eq!((kind, &export[2..10]), (REPLY_INFO, &SIZE.to_be_bytes()[..]));
        assert_eq!(option_reply(&mut stream), (OPTION_GO, REPLY_ACK, vec![]));
        (stream, image, folder)
    }

    fn option(stream: &mut UnixStream, option: u32, data: &[u8]) {
        let len = data.len() as u32;
        let head = [&OPTION_MAGIC.to_be_bytes()[..], &option.to_be_bytes(), &len.to_be_bytes()].concat();
        stream.write_all(&[&head, data].concat()).unwrap();
    }

    fn option_reply(stream: &mut UnixStream) -> (u32, u32, Vec<u8>) {
        let mut head = [0; 20];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(head[..8], OPTION_REPLY_MAGIC.to_be_bytes());
        let field = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap());
        let mut data = vec![0; field(16) as usize];
        stream.read_exact(&mut data).unwrap();
        (field(8), field(12), data)
    }

    fn request(stream: &mut UnixStream, kind: u16, handle: u64, at: u64, len: u32, data: &[u8]) {
        let mut bytes = [&REQUEST_MAGIC.to_be_bytes()[..], &[0; 2], &kind.to_be_bytes()].concat();
        bytes.extend(handle.to_be_bytes());
        bytes.extend(at.to_be_bytes());
        bytes.extend(len.to_be_bytes());
        stream.write_all(&[&bytes, data].concat()).unwrap();
    }

    /// Error, handle and data of the next reply.
    fn reply(stream: &mut UnixStream, len: usize) -> (u32, u64, Vec<u8>) {
        let mut head = [0; 16];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(head[..4], REPLY_MAGIC.to_be_bytes());
        let mut data = vec![0; len];
        stream.read_exact(&mut data).unwrap();
        (u32::from_be_bytes(head[4..8].try_into().unwrap()), u64::from_be_bytes(head[8..].try_into().unwrap()), data)
    }

    #[test]
    fn what_is_written_is_read_and_is_in_the_image() {
        let (mut stream, image, _folder) = client(Duration::ZERO);
        request(&mut stream, WRITE, 1, 4096, 4, b"abcd");
        assert_eq!(reply(&mut stream, 0), (0, 1, vec![]));
        request(&mut stream, FLUSH, 2, 0, 0, &[]);
        assert_eq!(reply(&mut stream, 0), (0, 2, vec![]));
        request(&mut stream, READ, 3, 4094, 8, &[]);
        assert_eq!(reply(&mut stream, 8), (0, 3, b"\0\0abcd\0\0".to_vec()));
        assert_eq!(&std::fs::read(image).unwrap()[4096..4100], b"abcd");
    }

    #[test]
    fn requests_past_the_end_and_unknown_ones_are_refused() {
        let (mut stream, image, _folder) = client(Duration::ZERO);
        request(&mut stream, WRITE, 1, SIZE - 1, 4, b"abcd");
        assert_eq!(reply(&mut stream, 0).0, EINVAL);
        request(&mut stream, READ, 2, u64::MAX, 4, &[]);
        assert_eq!(reply(&mut stream, 0).0, EINVAL);
        request(&mut stream, 99, 3, 0, 0, &[]);
        assert_eq!(reply(&mut stream, 0).0, EINVAL);
        assert_eq!(std::fs::metadata(image).unwrap().len(), SIZE);
    }

    #[test]
    fn each_request_takes_the_latency_and_none_waits_for_another() {
        const COUNT: u64 = 16;
        let latency = Duration::from_millis(100);
        let (mut stream, _, _folder) = client(latency);
        let start = Instant::now();
        for handle in 0..COUNT {
            request(&mut stream, WRITE, handle, handle * 8, 4, b"abcd");
        }
        for handle in 0..COUNT {
            assert_eq!(reply(&mut stream, 0), (0, handle, vec![]));
            assert!(start.elapsed() >= latency);
        }
        assert!(start.elapsed() < latency * COUNT as u32, "one after the other");
    }
}
