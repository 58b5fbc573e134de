//! The kernel command line: `name=value` words, and after ` -- ` what belongs to the program.
//!
//! | from | on which boot path |
//! |---|---|
//! | the loader | PVH |
//! | the option `opt/cmdline` of QEMU's firmware configuration device | any other |
//! | the ramdisk of the disk image, which is a text | any other, where there is no such option |
use crate::words::Words;
use alloc::string::String;
use hal::bare::{self, fw_cfg};
use hal::sync::SpinLock;

static FROM_LOADER: SpinLock<Option<&'static [u8]>> = SpinLock::new(None);

/// Remembers the line that the loader handed over. Before `kernel_main`.
pub fn set(line: &'static [u8]) {
    *FROM_LOADER.lock() = Some(line);
}

/// The command line, if there is one. Bytes that are not UTF-8 are replaced.
pub fn get() -> Option<String> {
    let from_loader = *FROM_LOADER.lock();
    let text = |line: &[u8]| String::from_utf8_lossy(line).trim().into();
    from_loader
        .map(text)
        .or_else(|| fw_cfg::option("opt/cmdline").map(|line| text(&line)))
        .or_else(|| bare::platform().ramdisk.map(text))
}

/// Its words; none if there is no line.
pub fn words() -> Words {
    Words::parse(&get().unwrap_or_default())
}

/// The value of the first word `name=value` before ` -- `.
pub fn value(name: &str) -> Option<String> {
    words().value(name).map(String::from)
}

/// Whether the word `name` stands alone before ` -- `.
pub fn flag(name: &str) -> bool {
    words().flag(name)
}

/// An option of the machine (`-fw_cfg name=opt/NAME,string=...`) or, without it, of the command line (`NAME=...`).
pub fn option(name: &str) -> Option<String> {
    let key = alloc::format!("opt/{name}");
    fw_cfg::option(&key).map(|value| String::from_utf8_lossy(&value).into_owned()).or_else(|| value(name))
}
