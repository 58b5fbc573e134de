//! QEMU's firmware configuration device: options given to the virtual machine from outside (`-fw_cfg`).
use super::sync::SpinLock;
use alloc::vec::Vec;
use x86_64::instructions::port::Port;

const SELECT: u16 = 0x510;
const DATA: u16 = 0x511;
const SIGNATURE: u16 = 0x00;
const DIRECTORY: u16 = 0x19;
const NAME_LEN: usize = 56;
/// Options longer than this are cut off.
const MAX_LEN: usize = 64 * 1024;

/// The select and data ports form one stream.
static DEVICE: SpinLock<Device> = SpinLock::new(Device);

struct Device;

impl Device {
    fn select(&mut self, key: u16) {
        // SAFETY: the device's select port; without the device the write goes nowhere.
        unsafe { Port::new(SELECT).write(key) }
    }
    fn read<const N: usize>(&mut self) -> [u8; N] {
        // SAFETY: as above; reading advances the device's own position only.
        [0; N].map(|_: u8| unsafe { Port::new(DATA).read() })
    }
    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len.min(MAX_LEN)).map(|_| self.read::<1>()[0]).collect()
    }
    fn present(&mut self) -> bool {
        self.select(SIGNATURE);
        self.read() == *b"QEMU"
    }
}

/// The option of this name, such as `opt/test`, if the machine has it. Task context.
pub fn option(name: &str) -> Option<Vec<u8>> {
    let mut device = DEVICE.lock();
    if !device.present() {
        return None;
    }
    device.select(DIRECTORY);
    let files = u32::from_be_bytes(device.read());
    for _ in 0..files {
        let size = u32::from_be_bytes(device.read());
        let key = u16::from_be_bytes(device.read());
        let _reserved: [u8; 2] = device.read();
        let entry: [u8; NAME_LEN] = device.read();
        if entry.split(|&byte| byte == 0).next() == Some(name.as_bytes()) {
            device.select(key);
            return Some(device.bytes(size as usize));
        }
    }
    None
}
