//! From argument registers to typed arguments.

/// An address that user code gave: nothing is known of it.
pub type UserAddr = u64;

/// A type that a handler may take as an argument. As in the ABI, narrow arguments are the low bits of their register.
pub trait FromRegister {
    /// The argument in `register`.
    fn from_register(register: u64) -> Self;
}

impl FromRegister for u64 {
    fn from_register(register: u64) -> u64 {
        register
    }
}
impl FromRegister for i64 {
    fn from_register(register: u64) -> i64 {
        register as i64
    }
}
impl FromRegister for usize {
    fn from_register(register: u64) -> usize {
        register as usize
    }
}
impl FromRegister for u32 {
    fn from_register(register: u64) -> u32 {
        register as u32
    }
}
impl FromRegister for i32 {
    fn from_register(register: u64) -> i32 {
        register as i32
    }
}
