//! The test programs, built once with the feature `museum`: guards are switched off when they run.
use super::exhibits::{Binary, Exhibit};
use crate::{build, progress};
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Test programs by what they are.
pub(super) struct Binaries(HashMap<Binary, PathBuf>);

impl Binaries {
    /// Builds what the exhibits need: ordinary tests and the models of each checker in one run of cargo, in folders of their own.
    pub fn build(exhibits: &[&Exhibit]) -> Result<Binaries> {
        let mut found = HashMap::new();
        for checker in [None, Some("loom"), Some("shuttle")] {
            let wanted: Vec<Binary> = exhibits.iter().map(|e| e.binary).filter(|b| b.checker() == checker).collect();
            if !wanted.is_empty() {
                let messages = compile(&wanted, checker)?;
                found.extend(wanted.into_iter().filter_map(|binary| Some((binary, executable(&messages, binary)?))));
            }
        }
        Ok(Binaries(found))
    }

    /// The path of a test program.
    pub fn get(&self, binary: Binary) -> Result<&Path> {
        let (package, target) = (binary.package(), binary.target());
        self.0.get(&binary).map(PathBuf::as_path).with_context(|| format!("{package}: there are no tests {target}"))
    }
}

/// Cargo's messages, one JSON object a line.
fn compile(wanted: &[Binary], checker: Option<&str>) -> Result<String> {
    let folder = build::target().join(checker.map_or("museum".into(), |checker| format!("museum-{checker}")));
    std::fs::create_dir_all(&folder)?;
    let mut cargo = build::cargo();
    cargo.args(["test", "--no-run", "--message-format", "json-render-diagnostics", "--target-dir"]).arg(&folder);
    if let Some(checker) = checker {
        cargo.env("RUSTFLAGS", format!("--cfg {checker}")).arg("--release");
    }
    for package in wanted.iter().map(|b| b.package()).collect::<BTreeSet<_>>() {
        cargo.args(["--package", package, "--features", &format!("{package}/museum")]);
    }
    if wanted.iter().any(|binary| matches!(binary, Binary::Unit(_))) {
        cargo.arg("--lib");
    }
    for target in wanted.iter().filter(|b| !matches!(b, Binary::Unit(_))).map(|b| b.target()).collect::<BTreeSet<_>>() {
        cargo.args(["--test", target]);
    }
    let log = folder.join("cargo.json");
    cargo.stdout(File::create(&log)?);
    progress::build(
        &mut cargo,
        if checker.is_some() { "the models of the museum" } else { "the tests of the museum" },
    )?;
    Ok(std::fs::read_to_string(&log)?)
}

/// The program that cargo says it has built for `binary`.
fn executable(messages: &str, binary: Binary) -> Option<PathBuf> {
    let kind = if matches!(binary, Binary::Unit(_)) { "lib" } else { "test" };
    messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find_map(|message| {
        let target = &message["target"];
        let folder = Path::new(message["manifest_path"].as_str()?).parent()?.file_name()?;
        let fits = target["name"] == binary.target() && target["kind"][0] == kind && folder == binary.package();
        if fits && message["profile"]["test"] == true {
            message["executable"].as_str().map(PathBuf::from)
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_of_a_target_is_found_in_cargos_messages() {
        let message = |name: &str, kind: &str, test: bool, path: &str| {
            serde_json::json!({"reason": "compiler-artifact", "manifest_path": "/x/fs/Cargo.toml", "executable": path,
                "target": {"name": name, "kind": [kind]}, "profile": {"test": test}})
            .to_string()
        };
        let messages = [
            message("fs", "lib", false, "/library"),
            message("fs", "lib", true, "/unit"),
            message("races", "test", true, "/races"),
            "no JSON".to_owned(),
        ]
        .join("\n");
        assert_eq!(executable(&messages, Binary::Unit("fs")), Some("/unit".into()));
        assert_eq!(executable(&messages, Binary::Integration("fs", "races")), Some("/races".into()));
        assert_eq!(executable(&messages, Binary::Unit("base")), None);
    }
}
