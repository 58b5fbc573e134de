//! Machines whose firmware starts a disk image.
use anyhow::{Context, Result};
use std::path::Path;

/// Code and variables of UEFI, where distributions put them: Debian, Fedora, Arch.
const OVMF: [[&str; 2]; 4] = [
    ["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"],
    ["/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"],
    ["/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"],
    ["/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"],
];

/// QEMU's arguments for `image` under the firmware of a PC.
pub(super) fn bios(image: &Path, command_line: &str) -> Vec<String> {
    let mut args = image_args(image);
    // The image has a command line of its own; this one comes first. A comma would end the value.
    if !command_line.is_empty() {
        args.extend(["-fw_cfg".into(), format!("name=opt/cmdline,string={}", command_line.replace(',', ",,"))]);
    }
    // The first stages ask the firmware for a mode of the screen, and stop where there is none.
    args.extend(["-vga".into(), "std".into()]);
    args
}

/// The same under UEFI. Nothing is written to its variables.
pub(super) fn uefi(image: &Path, command_line: &str) -> Result<Vec<String>> {
    let found = OVMF.into_iter().find(|files| files.iter().all(|file| Path::new(file).exists()));
    let [code, variables] = found.context("UEFI for QEMU is missing; type: apt-get install -y ovmf")?;
    let mut args = bios(image, command_line);
    args.extend(["-drive".into(), format!("if=pflash,format=raw,unit=0,readonly=on,file={code}")]);
    args.extend(["-drive".into(), format!("if=pflash,format=raw,unit=1,snapshot=on,file={variables}")]);
    Ok(args)
}

/// A SATA disk, so that disks for the kernel keep their names: it has no driver for this one.
fn image_args(image: &Path) -> Vec<String> {
    let drive = format!("file={},if=none,id=boot,format=raw,snapshot=on", image.display());
    ["-drive", &drive, "-device", "ide-hd,drive=boot,bootindex=0"].map(String::from).to_vec()
}

#[cfg(test)]
mod tests {
    #[test]
    fn commas_of_the_command_line_stay_in_its_value() {
        let args = super::bios(std::path::Path::new("x.img"), "skip=a,b init=/x");
        assert!(args.contains(&"name=opt/cmdline,string=skip=a,,b init=/x".to_string()));
    }
}
