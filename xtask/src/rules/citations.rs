//! Who cites an id: comments, strings and names of the sources.
//!
//! A line belongs to a test if its file is one (`tests/`, `tests.rs`, the checks of ring 3) or if it stands in a module
//! `#[cfg(test)]`, which is where a file ends in this tree; the checks of ring 3 have a list with their names. What is cited above a function or inside it counts for that function; the
//! words that its name begins with count too: `err1_err2_a_bad_address` covers `ERR-1` and `ERR-2`.
use super::spec::range;
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The folders that are read.
const PACKAGES: [&str; 9] = ["hal", "base", "drivers", "fs", "kernel", "boot", "user", "tests", "fuzz"];

/// For each id the places that cite it.
#[derive(Default)]
pub struct Citations {
    code: BTreeMap<String, BTreeSet<String>>,
    tests: BTreeMap<String, BTreeSet<String>>,
}

impl Citations {
    /// Reads the sources under `root`.
    pub fn collect(root: &Path) -> Result<Citations> {
        let mut citations = Citations::default();
        for package in PACKAGES {
            citations.folder(root, &root.join(package))?;
        }
        Ok(citations)
    }

    /// Files of the code that cite it.
    pub fn code(&self, id: &str) -> Vec<String> {
        self.code.get(id).into_iter().flatten().cloned().collect()
    }

    /// Tests that cite it.
    pub fn tests(&self, id: &str) -> Vec<String> {
        self.tests.get(id).into_iter().flatten().cloned().collect()
    }

    fn folder(&mut self, root: &Path, folder: &Path) -> Result<()> {
        for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                self.folder(root, &path)?;
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
                self.file(&name, &text);
            }
        }
        Ok(())
    }

    fn file(&mut self, name: &str, text: &str) {
        let mut tests = is_test_file(name);
        // Cited above the next function.
        let mut above: Vec<String> = Vec::new();
        let mut function = String::new();
        let mut only_tests = false;
        for line in text.lines() {
            let line = line.trim_start();
            tests |= only_tests && line.starts_with("mod ") && line.ends_with('{');
            only_tests =
                line.starts_with("#[") && (only_tests || line.contains("cfg(test") || line.contains("cfg(all(test"));
            let cited = ids(line);
            if !tests {
                cited.into_iter().for_each(|id| note(&mut self.code, id, link(name, None)));
                continue;
            }
            if let Some(declared) = declared(line) {
                function = declared.to_owned();
                let named = ids_of_name(declared).into_iter().chain(above.drain(..));
                named.for_each(|id| note(&mut self.tests, id, link(name, Some(declared))));
            }
            if let Some(check) = check(line) {
                cited.into_iter().for_each(|id| note(&mut self.tests, id, link(name, Some(check))));
            } else if line.starts_with("///") {
                above.extend(cited);
            } else if !function.is_empty() {
                cited.into_iter().for_each(|id| note(&mut self.tests, id, link(name, Some(&function))));
            }
        }
    }
}

fn note(map: &mut BTreeMap<String, BTreeSet<String>>, id: String, place: String) {
    map.entry(id).or_default().insert(place);
}

/// A link from `docs/`: to the file by its name, or by that of the test in it.
fn link(file: &str, test: Option<&str>) -> String {
    format!("[`{}`](../{file})", test.unwrap_or(file))
}

fn is_test_file(name: &str) -> bool {
    let folders = ["tests/", "fuzz/", "user/src/rulecheck/", "user/src/maptest/"];
    folders.iter().any(|folder| name.starts_with(folder)) || name.contains("/tests/") || name.ends_with("tests.rs")
}

/// The name of a check of ring 3, which stands in a list: `("AIO-1 io_setup makes a context", makes_a_context),`.
fn check(line: &str) -> Option<&str> {
    let (name, rest) = line.strip_prefix("(\"")?.split_once("\", ")?;
    rest.ends_with("),").then_some(name)
}

/// The function that a line declares.
fn declared(line: &str) -> Option<&str> {
    let (before, rest) = line.split_once("fn ")?;
    let visible = before.is_empty() || (before.starts_with("pub") && before.ends_with(' '));
    visible.then(|| rest.split(['(', '<']).next())?
}

/// The ids in a line: `CMP-9`, `R12`, `I5`, and `EXT-2 to EXT-5`. A race that a string names counts: exhibits and switches do.
fn ids(line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').collect();
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        if !is_id(word) {
            continue;
        }
        match (words.get(at + 1), words.get(at + 2)) {
            (Some(&"to"), Some(last)) if is_id(last) => found.extend(range(word, last).unwrap_or_default()),
            _ => found.push((*word).to_owned()),
        }
    }
    // The last of a range stands there once more.
    found.dedup();
    found
}

fn is_id(word: &str) -> bool {
    let at = word.find(|c: char| !c.is_ascii_uppercase()).unwrap_or(word.len());
    let (letters, rest) = word.split_at(at);
    let digits = match letters {
        "R" | "I" => rest.strip_prefix('-').map_or(rest, |_| ""),
        _ => rest.strip_prefix('-').unwrap_or(""),
    };
    (1..=5).contains(&letters.len()) && (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
}

/// The ids that a function's name begins with.
fn ids_of_name(name: &str) -> Vec<String> {
    let id = |word: &str| {
        let at = word.find(|c: char| c.is_ascii_digit())?;
        let (letters, digits) = word.split_at(at);
        let dash = if matches!(letters, "r" | "i") { "" } else { "-" };
        let id = format!("{}{dash}{digits}", letters.to_ascii_uppercase());
        is_id(&id).then_some(id)
    };
    let mut found = Vec::new();
    let mut words = name.split('_').peekable();
    while let Some(word) = words.next() {
        // `aio_9` is written for `aio9` as well.
        let number = words.peek().filter(|next| next.bytes().all(|b| b.is_ascii_digit()));
        match id(word).or_else(|| id(&format!("{word}{}", number?))) {
            Some(id) => found.push(id),
            None if number.is_none() && !word.bytes().all(|b| b.is_ascii_digit()) => break,
            None => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_lines_and_names() {
        assert_eq!(
            ids("/// LOCK-1, R47 (EXT-2 to EXT-4), utf-8, S-8h; I5."),
            ["LOCK-1", "R47", "EXT-2", "EXT-3", "EXT-4", "I5"]
        );
        assert_eq!(ids_of_name("err1_err12_a_bad_1"), ["ERR-1", "ERR-12"]);
        assert_eq!(ids_of_name("r07_collapse"), ["R07"]);
        assert_eq!(ids_of_name("aio_9_events_of_2"), ["AIO-9"]);
        assert!(ids_of_name("a_truncate_r12").is_empty());
    }

    #[test]
    fn citations_belong_to_the_function_they_stand_at() {
        let mut citations = Citations::default();
        citations.file(
            "fs/src/a.rs",
            "// CMP-9\nfn f() {}\n#[cfg(test)]\nmod tests {\n/// CMP-8\n#[test]\nfn g() { // R12\n}}",
        );
        assert_eq!(citations.code("CMP-9"), ["[`fs/src/a.rs`](../fs/src/a.rs)"]);
        assert_eq!(citations.tests("CMP-8"), ["[`g`](../fs/src/a.rs)"]);
        assert_eq!(citations.tests("R12"), ["[`g`](../fs/src/a.rs)"]);
        assert!(citations.tests("CMP-9").is_empty());
    }
}
