//! Names for the raw return addresses of a panic, from the kernel's ELF.
use std::path::Path;
use std::process::Command;

/// Resolves the addresses in the panic lines of `lines` (`  at 0xffffffff80...`), one readable line each. Empty where
/// `addr2line` is not installed: the raw addresses are on the console in any case.
pub fn resolve(kernel: &Path, lines: &[String]) -> Vec<String> {
    let addresses: Vec<&str> = lines.iter().filter_map(|l| l.trim().strip_prefix("at 0x")).collect();
    if addresses.is_empty() {
        return Vec::new();
    }
    let out = Command::new("addr2line").args(["-C", "-f", "-p", "-i", "-e"]).arg(kernel).args(&addresses).output();
    match out {
        Ok(out) if out.status.success() => {
            String::from_utf8_lossy(&out.stdout).lines().map(|l| format!("    {l}")).collect()
        }
        _ => Vec::new(),
    }
}
