//! Device registers on the host: accesses go to a simulated device.
use std::sync::Arc;

/// A simulated device's answer to register accesses. Offsets are bytes from the start of the mapping.
pub trait Registers: Send + Sync {
    /// A read of `width` bytes (1, 2 or 4) at `offset`.
    fn read(&self, offset: usize, width: usize) -> u32;
    /// A write of `width` bytes (1, 2 or 4) at `offset`.
    fn write(&self, offset: usize, width: usize, value: u32);
}

/// A mapping of device registers. Accesses are in order, neither cached nor merged; outside the mapping they panic.
#[derive(Clone)]
pub struct Mmio {
    registers: Arc<dyn Registers>,
    len: usize,
}

impl Mmio {
    /// The registers of a simulated device, `len_bytes` long.
    pub fn simulated(registers: Arc<dyn Registers>, len_bytes: usize) -> Mmio {
        Mmio { registers, len: len_bytes }
    }

    /// Bytes in the mapping.
    pub fn len_bytes(&self) -> usize {
        self.len
    }

    fn check(&self, offset: usize, width: usize) {
        assert!(offset.is_multiple_of(width) && offset < self.len && width <= self.len - offset);
    }

    /// Reads an 8-bit register.
    pub fn read_u8(&self, offset: usize) -> u8 {
        self.check(offset, 1);
        self.registers.read(offset, 1) as u8
    }
    /// Reads a 16-bit register.
    pub fn read_u16(&self, offset: usize) -> u16 {
        self.check(offset, 2);
        self.registers.read(offset, 2) as u16
    }
    /// Reads a 32-bit register.
    pub fn read_u32(&self, offset: usize) -> u32 {
        self.check(offset, 4);
        self.registers.read(offset, 4)
    }
    /// Writes an 8-bit register.
    pub fn write_u8(&self, offset: usize, value: u8) {
        self.check(offset, 1);
        self.registers.write(offset, 1, value.into());
    }
    /// Writes a 16-bit register.
    pub fn write_u16(&self, offset: usize, value: u16) {
        self.check(offset, 2);
        self.registers.write(offset, 2, value.into());
    }
    /// Writes a 32-bit register.
    pub fn write_u32(&self, offset: usize, value: u32) {
        self.check(offset, 4);
        self.registers.write(offset, 4, value);
    }
}
