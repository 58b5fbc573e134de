//! The names of a file system after a number of changes.
use crate::powercut::found::{Found, Node};
use crate::powercut::op::{FileId, Op};
use std::collections::BTreeMap;

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// A directory.
    Dir,
    /// A file.
    File(FileId),
}

/// Names as they should be.
#[derive(Clone, Default)]
pub struct Names(BTreeMap<String, Entry>);

impl Names {
    /// Makes one change.
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Create { path, file } => _ = self.0.insert(path.clone(), Entry::File(*file)),
            Op::Link { file, to } => _ = self.0.insert(to.clone(), Entry::File(*file)),
            Op::Mkdir { path } => _ = self.0.insert(path.clone(), Entry::Dir),
            Op::Unlink { path } | Op::Rmdir { path } => _ = self.0.remove(path),
            Op::Rename { from, to } => self.rename(from, to),
            _ => {}
        }
    }

    fn rename(&mut self, from: &str, to: &str) {
        let below = format!("{from}/");
        let moved: Vec<String> = self.0.keys().filter(|path| path.starts_with(&below)).cloned().collect();
        for path in moved {
            if let Some(entry) = self.0.remove(&path) {
                self.0.insert(format!("{to}/{}", &path[below.len()..]), entry);
            }
        }
        if let Some(entry) = self.0.remove(from) {
            self.0.insert(to.to_owned(), entry);
        }
    }

    /// All names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.0.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// The first difference to what was found, in words.
    pub fn difference(&self, found: &Found) -> Option<String> {
        if self.0.len() == found.len() && self.iter().all(|(path, entry)| fits(entry, found.get(path))) {
            return None;
        }
        let wrong = self.iter().find(|(path, entry)| !fits(entry, found.get(path)));
        Some(match wrong {
            Some((path, entry)) if found.get(path).is_none() => format!("{path} ({entry:?}) is missing"),
            Some((path, entry)) => format!("{path} is not the {entry:?} it was"),
            None => {
                let more = found.iter().find(|(path, _)| !self.0.contains_key(*path)).map_or("?", |(path, _)| path);
                format!("{more} should not be there")
            }
        })
    }
}

fn fits(entry: &Entry, found: Option<&Node>) -> bool {
    matches!((entry, found), (Entry::Dir, Some(Node::Dir)) | (Entry::File(_), Some(Node::File(_))))
}
