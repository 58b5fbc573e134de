//! `setup.sh` on machines that lack something: one line that says what to type, and a status that is not 0.
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

/// A rustup that has everything.
const RUSTUP: &str = "echo x86_64-unknown-none x86_64-unknown-linux-musl clippy rust-src llvm-tools";
/// One that lacks what disk images need, and gets nothing.
const POOR_RUSTUP: &str = "[ $1 = toolchain ] && exit 1; echo x86_64-unknown-none x86_64-unknown-linux-musl clippy";
const ALL: [&str; 7] = ["rustup", "cc", "apt-get", "qemu-system-x86_64", "mke2fs", "e2fsck", "debugfs"];

/// Runs the script as user `uid` on a machine with `tools`; its status and what it says.
fn setup(uid: u32, tools: &[&str]) -> (Option<i32>, String) {
    setup_with(uid, tools, RUSTUP, &[], "")
}

/// The same with this rustup, these arguments, and OVMF at this path.
fn setup_with(uid: u32, tools: &[&str], rustup: &str, args: &[&str], ovmf: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    for real in ["sh", "grep"] {
        let there = ["/bin", "/usr/bin"].map(|dir| Path::new(dir).join(real)).into_iter().find(|p| p.exists());
        symlink(there.expect("every machine has it"), folder.path().join(real)).expect("a link");
    }
    let id = format!("echo {uid}");
    let stubs = tools.iter().map(|tool| (*tool, if *tool == "rustup" { rustup } else { "exit 7" }));
    for (name, body) in stubs.chain([("id", id.as_str())]) {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("a stub");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a stub");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("setup.sh");
    let mut shell = Command::new("/bin/sh");
    shell.arg(script).args(args).env("PATH", folder.path()).env("SBIN", "").env("OVMF", ovmf);
    let out = shell.output().expect("a shell");
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
fn disk_images_need_a_toolchain_and_ovmf() {
    let images = |rustup, ovmf| setup_with(1000, &ALL, rustup, &["images"], ovmf);
    assert_eq!(images(RUSTUP, "/dev/null"), (Some(0), String::new()));
    let told = "sluice: missing: ovmf; type as root: apt-get install -y qemu-system-x86 e2fsprogs ovmf\n";
    assert_eq!(images(RUSTUP, "/nowhere"), (Some(1), told.into()));
    let told = "sluice: the toolchain of boot/image is missing; type: cd boot/image && rustup toolchain install\n";
    assert_eq!(images(POOR_RUSTUP, "/dev/null"), (Some(1), told.into()));
    assert_eq!(setup_with(1000, &ALL, POOR_RUSTUP, &[], ""), (Some(0), String::new()), "only for images");
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
