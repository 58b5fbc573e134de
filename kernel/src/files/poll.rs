//! What files have to tell, in the bits of poll(2).
use fs::vfs::File;
use linux_raw_sys::general as abi;

/// There is something to read.
pub const IN: u16 = (abi::POLLIN | abi::POLLRDNORM) as u16;
/// There is room to write.
pub const OUT: u16 = (abi::POLLOUT | abi::POLLWRNORM) as u16;
/// A write would fail. Told unasked.
pub const ERR: u16 = abi::POLLERR as u16;
/// Nobody will write. Told unasked.
pub const HUP: u16 = abi::POLLHUP as u16;

/// What a file has to tell now, of all that can be asked. No sleep.
pub fn events(file: &File) -> u16 {
    let is = file.ops().readiness(file);
    let bit = |on: bool, bits: u16| if on { bits } else { 0 };
    bit(is.readable, IN) | bit(is.writable, OUT) | bit(is.hung_up, HUP) | bit(is.failed, ERR)
}
