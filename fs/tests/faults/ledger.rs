//! What files may hold after a fault: of each its contents so far, from the one that was promised to be durable on.
use std::collections::{BTreeMap, BTreeSet};

/// What a name leads to: nothing, or these bytes.
type Content = Option<Vec<u8>>;

/// The history of one name; before it there was nothing.
struct History {
    /// From the one that is durable on. Any of them may be found, or bytes of several.
    versions: Vec<Content>,
    /// An error was met with this file: what later calls say of it is no promise for all of its bytes (ERR-4).
    tainted: bool,
}

/// The histories of all names.
#[derive(Default)]
pub struct Ledger(BTreeMap<String, History>);

impl Ledger {
    fn of(&mut self, name: &str) -> &mut History {
        self.0.entry(name.into()).or_insert_with(|| History { versions: vec![None], tainted: false })
    }
    /// A call begins that gives `name` this content: from now on it may be found.
    pub fn change(&mut self, name: &str, content: Content) {
        self.of(name).versions.push(content);
    }
    /// What `name` holds now, if all calls have worked.
    pub fn now(&mut self, name: &str) -> Content {
        self.of(name).versions.last().cloned().flatten()
    }
    /// The last content is durable.
    pub fn promise(&mut self, name: &str) {
        let history = self.of(name);
        if !history.tainted {
            history.versions.drain(..history.versions.len() - 1);
        }
    }
    /// The last content of everything is durable.
    pub fn promise_all(&mut self) {
        let names: Vec<String> = self.0.keys().cloned().collect();
        names.iter().for_each(|name| self.promise(name));
    }
    /// A call with `name` has failed.
    pub fn taint(&mut self, name: &str) {
        self.of(name).tainted = true;
    }

    /// Fails the test where a name does not hold what it may. `only_promised`: what was not promised may be anything.
    pub fn check(&self, what: &str, only_promised: bool, read: impl Fn(&str) -> Content) {
        for (name, history) in self.0.iter().filter(|(_, h)| !(only_promised && h.versions.contains(&None))) {
            let found = read(name);
            let wrong = history.wrong(&found);
            assert!(
                wrong.is_none(),
                "{what}: {name}: {}, of {} versions",
                wrong.unwrap_or_default(),
                history.versions.len()
            );
        }
    }
}

impl History {
    /// What is wrong with `found`. A byte is that of some version, or a zero where some version ends before it.
    fn wrong(&self, found: &Content) -> Option<String> {
        let Some(found) = found else {
            let may_be_absent = self.versions.contains(&None);
            return (!may_be_absent).then(|| "it is gone".into());
        };
        let contents: Vec<&Vec<u8>> = self.versions.iter().flatten().collect();
        let longest = contents.iter().map(|c| c.len()).max();
        let shortest = if self.versions.contains(&None) { Some(0) } else { contents.iter().map(|c| c.len()).min() };
        if longest.is_none() || Some(found.len()) > longest || Some(found.len()) < shortest {
            return Some(format!("{} bytes instead of {shortest:?} to {longest:?}", found.len()));
        }
        let at = found.iter().enumerate().position(|(at, byte)| {
            let allowed: BTreeSet<u8> = contents.iter().map(|c| c.get(at).copied().unwrap_or(0)).collect();
            let zero = *byte == 0 && self.versions.contains(&None);
            !allowed.contains(byte) && !zero
        });
        at.map(|at| format!("byte {at} is {:#x}", found[at]))
    }
}
