//! A script of `tests/apps` and the lines `# word: value` at its head.
use crate::packages::Contents;
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};

/// What its files share; no check itself.
const SHARED: &str = "check.sh";

/// A script.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub path: PathBuf,
    /// The file's name without its ending.
    pub name: String,
    /// What it is about, in a few words.
    pub does: String,
    /// Debian's.
    pub packages: Contents,
    /// The first argument, one run for each. A script without variants has one, which is empty.
    pub variants: Vec<String>,
    /// Of one run, in seconds.
    pub limit_s: u64,
    pub memory_mib: u32,
    /// Its output must be that of the same script under the same busybox on the host.
    pub compare: bool,
    /// At this line the machine is ended, and booted again.
    pub cut: Option<String>,
}

impl Script {
    /// All scripts of a folder, by name.
    pub fn all(folder: &Path) -> Result<Vec<Script>> {
        let mut scripts = Vec::new();
        for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "sh") && !path.ends_with(SHARED) {
                let text = std::fs::read_to_string(&path)?;
                scripts.push(Script::parse(&path, &text).with_context(|| path.display().to_string())?);
            }
        }
        scripts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(scripts)
    }

    fn parse(path: &Path, text: &str) -> Result<Script> {
        let name = path.file_stem().context("a script has a name")?.to_string_lossy().into_owned();
        let mut script = Script {
            path: path.to_owned(),
            name,
            does: String::new(),
            packages: Contents::default(),
            variants: vec![String::new()],
            limit_s: 60,
            memory_mib: 256,
            compare: false,
            cut: None,
        };
        // Up to the first line that is none of these: what follows is a comment.
        let head = text.lines().map_while(|line| line.strip_prefix("# ")?.split_once(": "));
        for (word, value) in head {
            match word {
                "does" => script.does = value.into(),
                "packages" => script.packages.pkgs = value.into(),
                "variants" => script.variants = value.split(' ').map(String::from).collect(),
                "limit" => script.limit_s = value.parse().context("limit: seconds")?,
                "memory" => script.memory_mib = value.parse().context("memory: MiB")?,
                "compare" => script.compare = value == "yes",
                "cut" => script.cut = Some(value.into()),
                _ => bail!("{word}: no such word"),
            }
        }
        ensure!(!script.does.is_empty(), "a line `# does: ...` is missing");
        Ok(script)
    }

    /// The name of a run.
    pub fn title(&self, variant: &str) -> String {
        if variant.is_empty() { self.name.clone() } else { format!("{}-{variant}", self.name) }
    }

    /// With the variants alone whose names begin in one of these ways; none if there is no such.
    pub fn narrowed(&self, wanted: &[&str]) -> Option<Script> {
        let mut script = self.clone();
        script.variants.retain(|variant| wanted.iter().any(|name| self.title(variant).starts_with(name)));
        (!script.variants.is_empty()).then_some(script)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_read_and_what_is_wrong_is_told() {
        let read = |text: &str| Script::parse(Path::new("/x/prog.sh"), text);
        let script =
            read("# does: a thing\n# packages: fio\n# variants: a b\n# limit: 90\n# cut: done 3\n#\n# no: word\n")
                .unwrap();
        assert_eq!((script.name.as_str(), script.limit_s, script.memory_mib), ("prog", 90, 256));
        assert_eq!(
            (script.variants.as_slice(), script.cut.as_deref()),
            (&["a".into(), "b".into()][..], Some("done 3"))
        );
        assert_eq!((script.title("a"), script.title("")), ("prog-a".into(), "prog".into()));
        assert_eq!(script.narrowed(&["prog-b"]).unwrap().variants, ["b"]);
        assert!(script.narrowed(&["other"]).is_none());
        assert_eq!(read("# does: x\n# speed: 3\n").unwrap_err().to_string(), "speed: no such word");
        assert_eq!(read("# limit: 3\n").unwrap_err().to_string(), "a line `# does: ...` is missing");
    }
}
