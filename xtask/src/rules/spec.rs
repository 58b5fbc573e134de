//! The rules, from the tables of the specification: rows `| id[, id ...] | tag | what must hold |`, of races `| R01 | name | never |`.
use anyhow::{Context, Result, ensure};
use std::path::Path;

/// One rule or race.
pub struct Rule {
    /// `CMP-9`, `R12`, `I5`.
    pub id: String,
    /// `M`, `D`, `O` or `-`; races are `M`.
    pub tag: String,
    /// What must hold; of a race its name and what must never be seen.
    pub text: String,
}

impl Rule {
    /// Whether it is one of the race catalogue.
    pub fn is_race(&self) -> bool {
        self.id.strip_prefix('R').is_some_and(|n| n.chars().all(|c| c.is_ascii_digit()))
    }
    /// Whether it has to be there.
    pub fn is_mandatory(&self) -> bool {
        matches!(self.tag.as_str(), "M" | "D")
    }
}

/// A section of the specification that has rules.
pub struct Section {
    /// Its heading.
    pub title: String,
    /// Its rules in order.
    pub rules: Vec<Rule>,
}

/// Reads the specification. Errors: it cannot be read; a section has a row that is no rule; an id is there twice.
pub fn read(path: &Path) -> Result<Vec<Section>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut sections: Vec<Section> = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            sections.push(Section { title: title.to_owned(), rules: Vec::new() });
        } else if let (Some(section), Some(row)) = (sections.last_mut(), row(line)) {
            section.rules.extend(rules(&row).with_context(|| line.to_owned())?);
        }
    }
    sections.retain(|section| !section.rules.is_empty());
    let mut ids: Vec<_> = sections.iter().flat_map(|section| &section.rules).map(|rule| &rule.id).collect();
    ids.sort();
    if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
        anyhow::bail!("{} is there twice", twice[0]);
    }
    Ok(sections)
}

/// The three cells of a row that is neither a heading nor a line.
fn row(line: &str) -> Option<[String; 3]> {
    let cells: Vec<_> = line.strip_prefix("| ")?.strip_suffix(" |")?.splitn(3, " | ").map(str::to_owned).collect();
    cells.try_into().ok().filter(|[id, ..]: &[String; 3]| id != "id" && !id.is_empty())
}

fn rules([ids, second, third]: &[String; 3]) -> Result<Vec<Rule>> {
    let ids = expand(ids)?;
    let race = ids.iter().all(|id| id.starts_with('R') && !id.contains('-'));
    let (tag, text) = if race { ("M", format!("{second}. Never: {third}")) } else { (second.as_str(), third.clone()) };
    ensure!(matches!(tag, "M" | "D" | "O" | "-"), "{tag} is no tag");
    Ok(ids.into_iter().map(|id| Rule { id, tag: tag.to_owned(), text: text.clone() }).collect())
}

/// `FS-1, FS-2` and `R66 to R70` as single ids.
fn expand(ids: &str) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for part in ids.split(", ") {
        match part.split_once(" to ") {
            None => all.push(part.to_owned()),
            Some((first, last)) => all.extend(range(first, last).with_context(|| format!("{part} is no range"))?),
        }
    }
    Ok(all)
}

/// The ids from `first` to `last`, which have the same letters.
pub fn range(first: &str, last: &str) -> Option<Vec<String>> {
    let at = first.find(|c: char| c.is_ascii_digit())?;
    let (prefix, from) = first.split_at(at);
    let (from, to): (u32, u32) = (from.parse().ok()?, last.strip_prefix(prefix)?.parse().ok()?);
    let width = first.len() - at;
    (from <= to && to - from < 100).then(|| (from..=to).map(|n| format!("{prefix}{n:0width$}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_rules_and_races() {
        let cells = |line| row(line).map(|cells| rules(&cells).unwrap());
        let ids = |line| cells(line).unwrap().into_iter().map(|rule| rule.id).collect::<Vec<_>>();
        assert_eq!(ids("| FS-1, FS-2 | M | wait |"), ["FS-1", "FS-2"]);
        assert_eq!(ids("| R08 to R10 | a name | a hang |"), ["R08", "R09", "R10"]);
        assert!(cells("| id | tag | rule |").is_none());
        assert!(cells("|---|---|---|").is_none());
        assert!(rules(&["X-1".into(), "?".into(), "".into()]).is_err());
    }
}
