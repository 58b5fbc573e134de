//! The dependency law (docs/decisions/0001): calls run downhill, and the crates can be lifted out because they do.
use crate::build;
use anyhow::{Context, Result, bail};
use serde_json::Value;

/// What each crate may depend on, of ours.
const LAW: [(&str, &[&str]); 7] = [
    ("hal", &[]),
    ("base", &["hal"]),
    ("drivers", &["base", "hal"]),
    ("fs", &["base"]),
    ("kernel", &["fs", "drivers", "base", "hal"]),
    ("boot", &["kernel", "hal"]),
    ("user", &[]),
];

/// Reads `cargo metadata` and fails where the law is broken. Dependencies of tests alone are free.
pub fn check() -> Result<()> {
    let out = build::cargo().args(["metadata", "--format-version", "1", "--no-deps"]).output()?;
    let metadata: Value = serde_json::from_slice(&out.stdout).context("cargo metadata is no JSON")?;
    let broken = broken(&metadata);
    if broken.is_empty() { Ok(()) } else { bail!("the dependency law is broken: {}", broken.join(", ")) }
}

fn broken(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ours: Vec<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let mut broken = Vec::new();
    for (name, allowed) in LAW {
        let Some(package) = packages.iter().find(|p| p["name"] == name) else {
            broken.push(format!("{name} is missing"));
            continue;
        };
        for dependency in package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let to = dependency["name"].as_str().unwrap_or_default();
            if dependency["kind"] != "dev" && ours.contains(&to) && !allowed.contains(&to) {
                broken.push(format!("{name} -> {to}"));
            }
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_file_system_that_knows_a_driver_breaks_the_law() {
        let package = |name: &str, to: &str| serde_json::json!({"name": name, "dependencies": [{"name": to, "kind": null}, {"name": "user", "kind": "dev"}]});
        let packages: Vec<_> = super::LAW
            .iter()
            .map(|(name, allowed)| {
                package(name, if *name == "fs" { "drivers" } else { allowed.first().unwrap_or(&"spin") })
            })
            .collect();
        assert_eq!(super::broken(&serde_json::json!({ "packages": packages })), ["fs -> drivers"]);
    }
}
