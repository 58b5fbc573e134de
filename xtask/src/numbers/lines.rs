//! Lines of Rust by crate, without tests.
//!
//! A line counts if there is code on it: neither blank nor only a comment. Tests are `#[cfg(test)] mod`s, files that such a line
//! names (by habit `tests.rs`, `*_tests.rs` and folders `tests`), and the folder `tests` of a crate.
use crate::build;
use crate::table::{Figures, grouped};
use anyhow::{Context, Result};
use std::path::Path;

const CRATES: [&str; 9] = ["hal", "base", "drivers", "fs", "kernel", "boot", "user", "xtask", "tests"];
/// What runs in ring 0.
const KERNEL: usize = 6;

/// Lines and files.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Count {
    files: u64,
    code: u64,
    comments: u64,
    tests: u64,
}

impl Count {
    fn add(&mut self, other: Count) {
        self.files += other.files;
        self.code += other.code;
        self.comments += other.comments;
        self.tests += other.tests;
    }
}

/// The table of all crates.
pub(super) fn table() -> Result<Figures> {
    let mut table = Figures::new(&["crate", "files", "lines of code", "comments", "lines of tests"], 0);
    let mut sum = Count::default();
    for (i, name) in CRATES.into_iter().enumerate() {
        let mut count = Count::default();
        folder(&build::root().join(name), name == "tests", &mut count)?;
        table.row(cells(name, count));
        sum.add(count);
        if i + 1 == KERNEL {
            table.row(cells("(kernel)", sum));
        }
    }
    Ok(table)
}

fn cells(name: &str, count: Count) -> Vec<String> {
    let numbers = [count.files, count.code, count.comments, count.tests];
    std::iter::once(name.to_owned()).chain(numbers.map(grouped)).collect()
}

fn folder(path: &Path, all_tests: bool, count: &mut Count) -> Result<()> {
    for entry in std::fs::read_dir(path).with_context(|| path.display().to_string())? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let tests = all_tests || name == "tests" || name.ends_with("_tests");
        if path.is_dir() {
            folder(&path, tests, count)?;
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            count.add(file(&std::fs::read_to_string(&path)?, tests));
        }
    }
    Ok(())
}

fn file(text: &str, all_tests: bool) -> Count {
    let mut count = Count { files: 1, ..Count::default() };
    let mut in_tests = all_tests;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let line = line.trim();
        // Such a module stands at the end of its file; a `mod name;` is a file of its own.
        in_tests |= is_cfg_test(line) && lines.peek().is_some_and(|next| next.trim().ends_with('{'));
        if line.is_empty() {
            continue;
        }
        *(match (in_tests, line.starts_with("//")) {
            (true, _) => &mut count.tests,
            (false, true) => &mut count.comments,
            (false, false) => &mut count.code,
        }) += 1;
    }
    count
}

fn is_cfg_test(line: &str) -> bool {
    line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_comments_and_tests_are_told_apart() {
        let text = "//! Front.\nuse a;\n\n#[cfg(test)]\nmod other;\n/// Doc.\nfn f() {} // why\n#[cfg(test)]\nmod tests {\n  // x\n}\n";
        assert_eq!(file(text, false), Count { files: 1, code: 4, comments: 2, tests: 4 });
        assert_eq!(file(text, true), Count { files: 1, code: 0, comments: 0, tests: 10 });
    }
}
