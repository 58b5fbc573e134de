//! Doing a program, and comparing each read with the model.
use super::model::{Model, bytes_of, put};
use super::program::{Aio, Look, Op, Program, Round, Shape, Step, Way};
use crate::range::Range;
use std::fmt::Display;

/// A mounted file system with the files of a program open. Threads share it. Errors are in words: none is expected, but where an operation
/// is not there at all.
pub trait System: Sync {
    /// Writes all bytes.
    fn write(&self, file: usize, pos: u64, bytes: &[u8], way: Way) -> Result<(), String>;
    /// Writes at the end, which is at `size`.
    fn append(&self, file: usize, size: u64, bytes: &[u8], way: Way) -> Result<(), String>;
    /// Starts a write-through for each piece, one behind the other from `pos` on, and waits for all events: how much of each was written,
    /// where `EAGAIN` is nothing.
    fn aio(&self, file: usize, pos: u64, pieces: &[Vec<u8>], how: Aio) -> Result<Vec<usize>, String>;
    /// Reads up to `len` bytes.
    fn read(&self, file: usize, pos: u64, len: usize, look: Look) -> Result<Vec<u8>, String>;
    /// Sets the size.
    fn truncate(&self, file: usize, size: u64) -> Result<(), String>;
    /// fallocate.
    fn range(&self, file: usize, range: Range, pos: u64, len: u64) -> Result<(), String>;
    /// fsync, or fdatasync.
    fn fsync(&self, file: usize, data_only: bool) -> Result<(), String>;
    /// Clean pages of the file leave the cache.
    fn drop_cache(&self, file: usize) -> Result<(), String>;
    /// The size that stat tells.
    fn size(&self, file: usize) -> Result<u64, String>;
}

/// What a [`System`] says of a write of `wanted` bytes that has written `n`: writes are as long as they are said to be.
pub fn all(wanted: usize) -> impl Fn(usize) -> Result<(), String> {
    move |n| if n == wanted { Ok(()) } else { Err(format!("{n} bytes of {wanted}")) }
}

/// Plays a program on empty files; the number of operations. Errors: the first thing that was not as the model says.
pub fn play(program: &Program, system: &dyn System) -> Result<usize, String> {
    let mut model = Model::new(program.shape.files);
    for (number, round) in program.rounds.iter().enumerate() {
        let done = match round.as_slice() {
            [steps] => steps.iter().try_for_each(|step| alone(step, &mut model, system)),
            _ => side_by_side(round, program.shape, &mut model, system),
        };
        done.and_then(|()| sizes(&model, system)).map_err(|why| format!("round {number}: {why}"))?;
    }
    for look in [Look::Buffered, Look::Direct] {
        for file in 0..program.shape.files {
            system.drop_cache(file)?;
            whole(file, look, &model, system).map_err(|why| format!("at the end: {why}"))?;
        }
    }
    Ok(program.steps())
}

/// A step of a round of its own.
fn alone(step: &Step, model: &mut Model, system: &dyn System) -> Result<(), String> {
    let size = model.files[step.file].len() as u64;
    act(step, size, system)?;
    if let Op::Read { pos, len, look } = step.op {
        let found = system.read(step.file, pos, len as usize, look).map_err(|why| told(step, why))?;
        return compare(&found, model.read(step.file, pos, len), pos).map_err(|why| told(step, why));
    }
    model.apply(step);
    Ok(())
}

fn sizes(model: &Model, system: &dyn System) -> Result<(), String> {
    for (file, bytes) in model.files.iter().enumerate() {
        let size = system.size(file)?;
        if size != bytes.len() as u64 {
            return Err(format!("file {file} has {size} bytes, and not {}", bytes.len()));
        }
    }
    Ok(())
}

fn whole(file: usize, look: Look, model: &Model, system: &dyn System) -> Result<(), String> {
    let len = model.files[file].len().next_multiple_of(4096) + 4096;
    let found = system.read(file, 0, len, look)?;
    compare(&found, &model.files[file], 0).map_err(|why| format!("file {file} by {look:?}: {why}"))
}

/// Changes what the step changes; a read does nothing here.
fn act(step: &Step, size: u64, system: &dyn System) -> Result<(), String> {
    let (id, file) = (step.id, step.file);
    match step.op {
        Op::Write { pos, len, way } => system.write(file, pos, &bytes_of(id, pos, len), way),
        Op::Aio { pos, len, count, how } => {
            let pieces: Vec<_> = (0..count).map(|n| bytes_of(id, pos + n * len, len)).collect();
            aio(file, pos, &pieces, how, system)
        }
        Op::Append { len, way } => system.append(file, size, &bytes_of(id, size, len), way),
        Op::Truncate { size } => system.truncate(file, size),
        Op::Range { range, pos, len } => system.range(file, range, pos, len),
        Op::Fsync { data_only } => system.fsync(file, data_only),
        Op::Drop => system.drop_cache(file),
        Op::Read { .. } => Ok(()),
    }
    .map_err(|why| told(step, why))
}

/// Asynchronous writes. Those that must not sleep have written what they say, and nothing else has changed; what is left follows.
fn aio(file: usize, pos: u64, pieces: &[Vec<u8>], how: Aio, system: &dyn System) -> Result<(), String> {
    let total = pieces.iter().map(Vec::len).sum();
    let mut known = system.read(file, pos, total, Look::Buffered)?;
    let counts = system.aio(file, pos, pieces, how)?;
    if how != Aio::Nowait {
        return all(total)(counts.iter().sum());
    }
    // Others may make the file longer: zeros then. These never do.
    known.resize(total, 0);
    let starts = pieces.iter().scan(0, |at, piece| Some(std::mem::replace(at, *at + piece.len())));
    let parts: Vec<_> = starts.zip(pieces).zip(counts).map(|((at, piece), n)| (at, piece, n)).collect();
    for &(at, piece, n) in &parts {
        known[at..at + n].copy_from_slice(piece.get(..n).ok_or("more bytes than there are")?);
    }
    let found = system.read(file, pos, total, Look::Buffered)?;
    compare(&found, &known[..found.len()], pos).map_err(|why| format!("after {parts:?}: {why}"))?;
    let mut rest = parts.iter().filter(|(_, piece, n)| *n < piece.len());
    rest.try_for_each(|(at, piece, n)| system.write(file, pos + (at + n) as u64, &piece[*n..], Way::Through))
}

/// A round of threads; the model gets each thread's lane.
fn side_by_side(round: &Round, shape: Shape, model: &mut Model, system: &dyn System) -> Result<(), String> {
    let before = &*model;
    let after: Vec<Result<Model, String>> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            round.iter().map(|steps| scope.spawn(move || lane(steps, before.clone(), system))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".to_owned())))
            .collect()
    });
    for (thread, after) in after.into_iter().enumerate() {
        let start = thread * shape.lane as usize;
        for (mine, theirs) in model.files.iter_mut().zip(after?.files) {
            let end = theirs.len().min(start + shape.lane as usize);
            if theirs.len() > mine.len() {
                mine.resize(theirs.len(), 0);
            }
            if start < end {
                put(mine, start as u64, &theirs[start..end]);
            }
        }
    }
    Ok(())
}

/// The steps of one thread, on a model of its own, of which only its lane counts.
fn lane(steps: &[Step], mut model: Model, system: &dyn System) -> Result<Model, String> {
    for step in steps {
        act(step, 0, system)?;
        model.apply(step);
        if let Op::Read { pos, len, look } = step.op {
            let found = system.read(step.file, pos, len as usize, look).map_err(|why| told(step, why))?;
            // Others may make the file longer: zeros then.
            let known = model.read(step.file, pos, len);
            let (there, more) = found.split_at_checked(known.len()).unwrap_or((&found, &[]));
            compare(there, known, pos).map_err(|why| told(step, why))?;
            compare(more, &vec![0; more.len()], pos + known.len() as u64).map_err(|why| told(step, why))?;
        }
    }
    Ok(model)
}

fn compare(found: &[u8], known: &[u8], pos: u64) -> Result<(), String> {
    if found == known {
        return Ok(());
    }
    let at = found.iter().zip(known).position(|(a, b)| a != b);
    Err(match at {
        Some(at) => format!("byte {} is {:#04x}, and not {:#04x}", pos + at as u64, found[at], known[at]),
        None => format!("{} bytes from {pos} on, and not {}", found.len(), known.len()),
    })
}

fn told(step: &Step, why: impl Display) -> String {
    format!("step {} ({:?} of file {}): {why}", step.id, step.op, step.file)
}
