//! Hands the linker script to the linker, for the bare target only.

fn main() {
    println!("cargo:rerun-if-changed=kernel.ld");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let dir = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
        println!("cargo:rustc-link-arg-bins=-T{dir}/kernel.ld");
        // The target's default is a position-independent executable; the script's addresses are final.
        println!("cargo:rustc-link-arg-bins=--no-pie");
    }
}
