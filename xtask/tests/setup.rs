//! `setup.sh` on machines that lack something: one line that says what to type, and a status that is not 0.
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

/// A rustup that has everything.
const RUSTUP: &str = "echo x86_64-unknown-none x86_64-unknown-linux-musl clippy";
const ALL: [&str; 7] = ["rustup", "cc", "apt-get", "qemu-system-x86_64", "mke2fs", "e2fsck", "debugfs"];

/// Runs the script as user `uid` on a machine with `tools`; its status and what it says.
fn setup(uid: u32, tools: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    for real in ["sh", "grep"] {
        let there = ["/bin", "/usr/bin"].map(|dir| Path::new(dir).join(real)).into_iter().find(|p| p.exists());
        symlink(there.expect("every machine has it"), folder.path().join(real)).expect("a link");
    }
    let id = format!("echo {uid}");
    let stubs = tools.iter().map(|tool| (*tool, if *tool == "rustup" { RUSTUP } else { "exit 7" }));
    for (name, body) in stubs.chain([("id", id.as_str())]) {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("a stub");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a stub");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("setup.sh");
    let out = Command::new("/bin/sh").arg(script).env("PATH", folder.path()).env("SBIN", "").output().expect("a shell");
    (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned())
}

fn without(missing: &[&str]) -> Vec<&'static str> {
    ALL.into_iter().filter(|tool| !missing.contains(tool)).collect()
}

#[test]
fn nothing_missing_says_nothing() {
    assert_eq!(setup(1000, &ALL), (Some(0), String::new()));
}

#[test]
fn each_thing_that_is_missing_is_one_line_with_what_to_type() {
    let packages = "apt-get install -y qemu-system-x86 e2fsprogs\n";
    let cases = [
        (
            &["rustup"][..],
            "sluice: rustup is missing; type: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh\n".into(),
        ),
        (&["cc"], "sluice: a C compiler is missing; type as root: apt-get install -y gcc\n".into()),
        (&["qemu-system-x86_64"], format!("sluice: missing: qemu-system-x86_64; type as root: {packages}")),
        (&["mke2fs", "debugfs"], format!("sluice: missing: mke2fs debugfs; type as root: {packages}")),
        (
            &["e2fsck", "apt-get"],
            "sluice: missing: e2fsck; install QEMU for x86_64 and e2fsprogs with the package manager of this system\n"
                .into(),
        ),
    ];
    for (missing, told) in cases {
        assert_eq!(setup(1000, &without(missing)), (Some(1), told), "{missing:?}");
    }
}

#[test]
fn with_sudo_that_asks_for_a_password_the_line_has_it() {
    let tools = [&without(&["mke2fs"])[..], &["sudo"]].concat();
    let told = "sluice: missing: mke2fs; type: sudo apt-get install -y qemu-system-x86 e2fsprogs\n";
    assert_eq!(setup(1000, &tools), (Some(1), told.into()));
}

#[test]
fn root_is_told_when_the_packages_do_not_come() {
    let told = "sluice: missing: mke2fs; type: apt-get install -y qemu-system-x86 e2fsprogs\n";
    assert_eq!(setup(0, &without(&["mke2fs"])), (Some(1), told.into()));
}
