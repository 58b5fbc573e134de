//! `cargo xtask syscalls`: `docs/SYSCALLS.md` from the kernel's own table.
use crate::build;
use anyhow::{Context, Result, ensure};

const PATH: &str = "docs/SYSCALLS.md";

/// Writes the document anew.
pub fn write() -> Result<()> {
    let path = build::root().join(PATH);
    std::fs::write(&path, text()?).with_context(|| path.display().to_string())
}

/// Fails where the document is not what the table says.
pub fn check() -> Result<()> {
    let path = build::root().join(PATH);
    let there = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    ensure!(there == text()?, "{PATH} is not what the table says: run cargo run --package xtask -- syscalls");
    Ok(())
}

fn text() -> Result<String> {
    let mut text = String::new();
    kernel::syscall::describe(&mut text)?;
    Ok(text)
}
