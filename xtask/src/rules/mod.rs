//! `cargo xtask rules`: for each rule and race of `docs/SEMANTICS.md` the code that cites it and the tests that cover it, as
//! `docs/RULES.md`. A mandatory rule that has not both, or a race without a test, fails the run.
//!
//! | file | idea |
//! |---|---|
//! | `spec` | the rules, from the tables of the specification |
//! | `citations` | who cites an id, from the sources |
mod citations;
mod spec;

use crate::build;
use anyhow::{Context, Result, ensure};
use citations::Citations;
pub use spec::Rule;
use std::fmt::Write;
use std::process::ExitCode;

const PATH: &str = "docs/RULES.md";
/// Places that a cell shows.
const SHOWN: usize = 4;

/// Writes the document anew and tells what is missing.
pub fn run() -> Result<ExitCode> {
    let (text, missing) = text()?;
    let path = build::root().join(PATH);
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    missing.iter().for_each(|line| println!("{line}"));
    println!("{PATH} is written; {} rules lack code or tests", missing.len());
    Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All rules of the specification.
pub fn all_rules() -> Result<Vec<Rule>> {
    let sections = spec::read(&build::root().join("docs/SEMANTICS.md"))?;
    Ok(sections.into_iter().flat_map(|section| section.rules).collect())
}

/// Fails where the document is not what the sources say.
pub fn check() -> Result<()> {
    let path = build::root().join(PATH);
    let there = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    ensure!(there == text()?.0, "{PATH} is not what the sources say: run cargo run --package xtask -- rules");
    Ok(())
}

/// The document, and a line for each rule that lacks something.
fn text() -> Result<(String, Vec<String>)> {
    let sections = spec::read(&build::root().join("docs/SEMANTICS.md"))?;
    let citations = Citations::collect(&build::root())?;
    let mut missing = Vec::new();
    let mut tables = String::new();
    for section in &sections {
        writeln!(tables, "\n## {}\n\n| id | tag | code | tests |\n|---|---|---|---|", section.title)?;
        for rule in &section.rules {
            let row = Row { rule, code: citations.code(&rule.id), tests: citations.tests(&rule.id) };
            missing.extend(row.missing());
            let (code, tests) = (cell(&row.code), cell(&row.tests));
            writeln!(tables, "| {} | {} | {code} | {tests} |", rule.id, rule.tag)?;
        }
    }
    let rules = sections.iter().flat_map(|section| &section.rules);
    let counted = rules.filter(|rule| rule.is_mandatory()).count();
    let head = format!(
        "# Rules, their code and their tests\n\n\
         Written by `cargo run --package xtask -- rules` from the ids that sources cite; what the rules say stands in\n\
         [SEMANTICS.md](SEMANTICS.md). M and D are mandatory. {counted} rules and races are, of which {} have both a place in\n\
         the code and a test (for a race, the test).\n",
        counted - missing.len()
    );
    Ok((head + &tables, missing))
}

/// What is found of one rule.
struct Row<'a> {
    rule: &'a Rule,
    code: Vec<String>,
    tests: Vec<String>,
}

impl Row<'_> {
    fn missing(&self) -> Option<String> {
        let lacks = match (self.code.is_empty() && !self.rule.is_race(), self.tests.is_empty()) {
            (true, true) => "code and tests",
            (true, false) => "code",
            (false, true) => "tests",
            (false, false) => return None,
        };
        self.rule.is_mandatory().then(|| format!("{}: no {lacks}", self.rule.id))
    }
}

fn cell(places: &[String]) -> String {
    let shown: Vec<_> = places.iter().take(SHOWN).cloned().collect();
    let more = places.len().saturating_sub(SHOWN);
    shown.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
}
