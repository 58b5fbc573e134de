//! From argument registers to typed arguments.

/// An address that user code gave: nothing is known of it.
pub type UserAddr = u64;

/// The content of an argument register. It becomes whatever a handler takes; as in the ABI, a narrow argument is the low bits.
#[derive(Clone, Copy, Debug)]
pub struct Register(pub u64);

impl From<Register> for u64 {
    fn from(register: Register) -> u64 {
        register.0
    }
}
impl From<Register> for i64 {
    fn from(register: Register) -> i64 {
        register.0 as i64
    }
}
impl From<Register> for usize {
    fn from(register: Register) -> usize {
        register.0 as usize
    }
}
impl From<Register> for u32 {
    fn from(register: Register) -> u32 {
        register.0 as u32
    }
}
impl From<Register> for i32 {
    fn from(register: Register) -> i32 {
        register.0 as i32
    }
}
