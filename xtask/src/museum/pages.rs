//! `docs/museum/`: a page for each guard, made from what is there anyway: the specification, the guard's line with its comment, and
//! the test with its own.
use super::exhibits::{Binary, EXHIBITS, Exhibit};
use super::kernel_sources;
use crate::build;
use crate::rules::{Rule, all_rules};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

const FOLDER: &str = "docs/museum";

/// Writes all pages anew; a page of a guard that is gone goes.
pub fn write() -> Result<()> {
    let folder = build::root().join(FOLDER);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    for (name, text) in pages()? {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}

/// Fails where the pages are not what the sources say.
pub fn check() -> Result<()> {
    let mut there = BTreeMap::new();
    let folder = build::root().join(FOLDER);
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        there.insert(entry.file_name().to_string_lossy().into_owned(), std::fs::read_to_string(entry.path())?);
    }
    ensure!(there == pages()?, "{FOLDER} is not what the sources say: run cargo run --package xtask -- museum --pages");
    Ok(())
}

/// File names and texts.
fn pages() -> Result<BTreeMap<String, String>> {
    let rules = all_rules()?;
    let guards = guards()?;
    let mut pages = BTreeMap::new();
    let mut index = String::from(
        "# The bug museum\n\nEach page is a mistake that can be switched on in one build (`--features museum`), and the test that then\n\
         fails. `make museum` goes through all of them. The pages are written by `cargo run --package xtask -- museum --pages`.\n\n\
         | guard | hazard |\n|---|---|\n",
    );
    for (name, places) in &guards {
        let exhibits: Vec<_> = EXHIBITS.iter().filter(|exhibit| exhibit.guard == name).collect();
        let rule = rules.iter().find(|rule| rule.id == *name);
        let hazard = rule.map_or_else(|| places[0].comment.clone(), |rule| rule.text.clone());
        writeln!(index, "| [{name}]({name}.md) | {hazard} |")?;
        pages.insert(format!("{name}.md"), page(name, rule, places, &exhibits)?);
    }
    pages.insert("README.md".to_owned(), index);
    Ok(pages)
}

fn page(name: &str, rule: Option<&Rule>, places: &[Place], exhibits: &[&Exhibit]) -> Result<String> {
    let mut text = format!("# {name}\n\n");
    match rule {
        Some(rule) if rule.is_race() => writeln!(text, "{}.", rule.text)?,
        Some(rule) => writeln!(text, "The rule that is broken: {}.", rule.text)?,
        None => {}
    }
    writeln!(text, "\n## The guard\n")?;
    for place in places {
        let kind =
            if place.mistake { "With it switched off this is done" } else { "With it switched off this is not asked" };
        writeln!(text, "{kind}, in [`{0}`](../../{0}):\n\n    {1}\n", place.file, place.line)?;
        if !place.comment.is_empty() {
            writeln!(text, "> {}\n", place.comment)?;
        }
    }
    for exhibit in exhibits {
        let test = Test::find(exhibit)?;
        writeln!(text, "## The test\n\n`{}` in [`{1}`](../../{1})\n", exhibit.test, test.file)?;
        if !test.comment.is_empty() {
            writeln!(text, "> {}\n", test.comment)?;
        }
        if exhibit.deadlock {
            writeln!(text, "With the guard off it does not end: the bug is a deadlock.\n")?;
        }
        writeln!(text, "```rust\n{}\n```\n", test.body)?;
    }
    writeln!(
        text,
        "See it fail: `make museum GUARDS={name}`. The words are in [GLOSSARY.md](../GLOSSARY.md), the rules in\n[SEMANTICS.md](../SEMANTICS.md)."
    )?;
    Ok(text)
}

/// A line with a guard.
struct Place {
    file: String,
    line: String,
    comment: String,
    mistake: bool,
}

/// All guards of the kernel's crates with where they stand.
fn guards() -> Result<BTreeMap<String, Vec<Place>>> {
    let mut guards: BTreeMap<String, Vec<Place>> = BTreeMap::new();
    for path in kernel_sources()? {
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (at, line) in lines.iter().enumerate() {
            for name in super::names_in(line, &super::GUARDS) {
                let comment = explanation(&lines, at);
                let place = Place {
                    file: relative(&path),
                    line: (*line).to_owned(),
                    comment,
                    mistake: line.contains("mistake!("),
                };
                guards.entry(name).or_default().push(place);
            }
        }
    }
    Ok(guards)
}

fn relative(path: &Path) -> String {
    path.strip_prefix(build::root()).unwrap_or(path).to_string_lossy().into_owned()
}

/// The comment above line `at`, or else that of the function around it.
fn explanation(lines: &[&str], at: usize) -> String {
    let comment = comment_above(lines, at, "// ");
    if !comment.is_empty() {
        return comment;
    }
    let is_function = |line: &&str| line.starts_with("fn ") || line.starts_with("pub") && line.contains(" fn ");
    let function = (0..at).rev().find(|&i| is_function(&lines[i]));
    function.map_or_else(String::new, |i| comment_above(lines, i, "/// "))
}

/// The comment that ends above line `at`, as one paragraph; lines of attributes between are passed over.
fn comment_above(lines: &[&str], at: usize, mark: &str) -> String {
    let above = lines[..at].iter().rev().skip_while(|line| line.starts_with("#["));
    let mut words: Vec<&str> = above.map_while(|line| line.strip_prefix(mark)).collect();
    words.reverse();
    words.join(" ")
}

/// A test with its comment and its text.
struct Test {
    file: String,
    comment: String,
    body: String,
}

impl Test {
    fn find(exhibit: &Exhibit) -> Result<Test> {
        let name = exhibit.test.rsplit("::").next().unwrap_or(exhibit.test);
        let declaration = format!("fn {name}()");
        for path in sources(exhibit.binary)? {
            let text = std::fs::read_to_string(&path)?;
            let raw: Vec<&str> = text.lines().collect();
            let lines: Vec<&str> = raw.iter().map(|line| line.trim()).collect();
            if let Some(at) = lines.iter().position(|line| line.starts_with(&declaration)) {
                let indent = raw[at].len() - lines[at].len();
                let end = (at..raw.len()).find(|&i| raw[i].trim_end() == format!("{}}}", " ".repeat(indent)));
                let body = raw[at..=end.unwrap_or(at)].iter().map(|line| line.get(indent..).unwrap_or(""));
                let body = body.collect::<Vec<_>>().join("\n");
                return Ok(Test { file: relative(&path), comment: comment_above(&lines, at, "/// "), body });
            }
        }
        anyhow::bail!("{}: there is no such test", exhibit.test)
    }
}

/// The sources of a test program.
fn sources(binary: Binary) -> Result<Vec<PathBuf>> {
    let folder = build::root().join(binary.package());
    let mut all = Vec::new();
    for part in ["src", "tests"] {
        super::rust_files(&folder.join(part), &mut all)?;
    }
    all.sort();
    Ok(all)
}
