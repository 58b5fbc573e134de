//! Puts a kernel ELF into a disk image for BIOS and one for UEFI: `image KERNEL BIOS.img UEFI.img [RAMDISK]`.
//!
//! The bootloader crate hands no command line over. The kernel takes the text of the ramdisk for one, where nothing else gives it one.
use anyhow::{Context, Result, bail};
use bootloader::{BootConfig, DiskImageBuilder};
use std::path::Path;

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let (kernel, bios, uefi, ramdisk) = match arguments.as_slice() {
        [kernel, bios, uefi] => (kernel, bios, uefi, None),
        [kernel, bios, uefi, ramdisk] => (kernel, bios, uefi, Some(ramdisk)),
        _ => bail!("usage: image KERNEL BIOS.img UEFI.img [RAMDISK]"),
    };
    let mut images = DiskImageBuilder::new(kernel.into());
    let mut config = BootConfig::default();
    // The kernel has the serial line to itself, and draws nothing.
    (config.serial_logging, config.frame_buffer_logging) = (false, false);
    images.set_boot_config(&config);
    if let Some(ramdisk) = ramdisk {
        images.set_ramdisk(ramdisk.into());
    }
    images.create_bios_image(Path::new(bios)).context("cannot make the image for BIOS")?;
    images.create_uefi_image(Path::new(uefi)).context("cannot make the image for UEFI")
}
