//! What a cut may leave of a workload: the promises of SEMANTICS A25, A18 and A13.
//!
//! *Names.* Changes of names are atomic and become durable in their order, so what is found has to be the names after some number of
//! changes: at least those that were made durable, at most those that had begun.
//!
//! *Contents.* Each byte was written last by a write that no durable write to it came after; or is zero, if no durable write of it came
//! after the file was made or cut. A size lies between the end of what is durable and the end of what was written. A range that is punched
//! or zeroed is a write of zeros, at its edges and in its whole blocks (TRC-6, TRC-7): old or zeros, until it is durable.
//!
//! *Shifts.* A collapse or an insertion (TRC-8) is done or not, as a whole, and not without the ones before it; but see `shifts` for long ones.
//!
//! *Durable* is a write that asked for it and has succeeded; what an fsync, fdatasync or sync covers that has succeeded and began
//! after the write had returned or was accepted (SYN-1); and a truncate before any of those, and a shift of what they have written to.
//! Making a file durable makes durable that it has a name.
//!
//! | file | contents |
//! |---|---|
//! | `span` | when each step began and ended, as seen at a cut |
//! | `names` | the names after each number of changes |
//! | `content` | bytes of a file, and what is allowed of them |
//! | `sizes` | sizes of a file |
//! | `shifts` | where bytes stand when blocks have moved |
//! | `weak` | what is promised without a journal |
mod content;
mod names;
mod shifts;
mod sizes;
mod span;
#[cfg(test)]
mod tests;
mod weak;

pub use span::{History, Seen};

use super::found::{Found, Node};
use content::Content;
use names::{Entry, Names};

/// Whether what was found is allowed. Errors: one sentence on what was promised and what was found.
pub fn judge(seen: &Seen<'_>, found: &Found, block_size: u64) -> Result<(), String> {
    let changes = seen.changes();
    let least = seen.durable_changes(&changes);
    let mut names = Names::default();
    let mut why = None;
    for count in 0..=changes.len() {
        if count > 0 {
            names.apply(seen.op(changes[count - 1]));
        }
        if count < least {
            continue;
        }
        match names.difference(found) {
            None => match contents(seen, &names, found, block_size) {
                Ok(()) => return Ok(()),
                // The contents tell more than that the names are those of another moment.
                Err(error) => why = Some(error),
            },
            Some(difference) => {
                let so_far = || format!("{difference} (after {count} of {} changes, {least} durable)", changes.len());
                why = why.or_else(|| Some(so_far()));
            }
        }
    }
    Err(why.unwrap_or_else(|| "more changes are durable than were made".into()))
}

/// As [`judge`], for what `e2fsck` has left of a file system without a journal.
pub fn judge_repaired(seen: &Seen<'_>, found: &Found, block_size: u64) -> Result<(), String> {
    weak::judge(seen, found, block_size)
}

fn contents(seen: &Seen<'_>, names: &Names, found: &Found, block_size: u64) -> Result<(), String> {
    for (path, entry) in names.iter() {
        if let (Entry::File(id), Some(Node::File(bytes))) = (entry, found.get(path)) {
            Content::of(seen, *id, block_size).check(bytes).map_err(|why| format!("{path}: {why}"))?;
        }
    }
    Ok(())
}
