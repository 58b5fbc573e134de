//! Typed access to user memory: copy, and where a page is missing fault it in and go on.
//!
//! The address space must be the active one of the current task. Pages may come and go while a copy runs: each round makes
//! progress or fails.
use super::PAGE;
use super::address_space::AddressSpace;
use super::fault::{Access, FaultError};
use alloc::vec::Vec;
use base::{Errno, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

impl AddressSpace {
    /// Reads a value. Task context; may sleep. Errors: `EFAULT`, `ENOMEM`.
    pub fn read<T: FromBytes + IntoBytes>(&self, addr: u64) -> Result<T> {
        let mut value = T::new_zeroed();
        self.read_bytes(addr, value.as_mut_bytes())?;
        Ok(value)
    }

    /// Writes a value. Task context; may sleep. Errors: `EFAULT` (a part may have been written), `ENOMEM`.
    pub fn write<T: IntoBytes + Immutable + ?Sized>(&self, addr: u64, value: &T) -> Result<()> {
        self.write_bytes(addr, value.as_bytes())
    }

    /// Fills `dst` from user memory. Task context; may sleep. Errors: `EFAULT`, `ENOMEM`.
    pub fn read_bytes(&self, addr: u64, dst: &mut [u8]) -> Result<()> {
        let len = dst.len();
        self.copy(addr, len, Access::Read, |done, at| {
            dst.get_mut(done..).map_or(0, |rest| hal::user::copy_from_user(rest, at))
        })
    }

    /// Copies `src` to user memory. Task context; may sleep. Errors: `EFAULT` (a part may have been written), `ENOMEM`.
    pub fn write_bytes(&self, addr: u64, src: &[u8]) -> Result<()> {
        self.copy(addr, src.len(), Access::Write, |done, at| {
            src.get(done..).map_or(0, |rest| hal::user::copy_to_user(at, rest))
        })
    }

    /// Zeroes user memory. Task context; may sleep. Errors: `EFAULT`, `ENOMEM`.
    pub fn zero_bytes(&self, addr: u64, len: usize) -> Result<()> {
        self.copy(addr, len, Access::Write, |done, at| hal::user::zero_user(at, len - done))
    }

    /// Reads an array of `count` values. The caller has limited `count`. Errors: `EFAULT`, `ENOMEM`.
    pub fn read_array<T: FromBytes + IntoBytes + Clone>(&self, addr: u64, count: usize) -> Result<Vec<T>> {
        let mut values = Vec::new();
        values.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        values.resize(count, T::new_zeroed());
        self.read_bytes(addr, values.as_mut_slice().as_mut_bytes())?;
        Ok(values)
    }

    /// Reads a string up to its NUL, which is not part of the result. Errors: `EFAULT`, `ENAMETOOLONG` when no NUL is found in
    /// the first `limit` bytes, `ENOMEM`.
    pub fn read_cstr(&self, addr: u64, limit: usize) -> Result<Vec<u8>> {
        let mut string = Vec::new();
        let mut chunk = [0; 256];
        while string.len() < limit {
            let at = addr.checked_add(string.len() as u64).ok_or(Errno::EFAULT)?;
            // Never across a page: the string may end just before an unmapped one.
            let in_page = (PAGE - at % PAGE) as usize;
            let n = chunk.len().min(in_page).min(limit - string.len());
            let chunk = chunk.get_mut(..n).ok_or(Errno::EFAULT)?;
            self.read_bytes(at, chunk)?;
            let end = chunk.iter().position(|&b| b == 0);
            string.try_reserve(n).map_err(|_| Errno::ENOMEM)?;
            string.extend_from_slice(chunk.get(..end.unwrap_or(n)).unwrap_or_default());
            if end.is_some() {
                return Ok(string);
            }
        }
        Err(Errno::ENAMETOOLONG)
    }

    /// Reads an aligned word atomically. Errors: `EFAULT`, `EINVAL` (not aligned).
    pub fn load_u32(&self, addr: u64) -> Result<u32> {
        if !addr.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        loop {
            if let Some(word) = hal::user::load_u32(addr) {
                return Ok(word);
            }
            self.fault(addr, Access::Read).map_err(FaultError::errno)?;
        }
    }

    /// Runs `step(done, address)` until `len` bytes are copied, faulting in where it stops.
    fn copy(&self, addr: u64, len: usize, access: Access, mut step: impl FnMut(usize, u64) -> usize) -> Result<()> {
        let mut done = 0;
        loop {
            let at = addr.checked_add(done as u64).ok_or(Errno::EFAULT)?;
            done += step(done, at);
            if done >= len {
                return Ok(());
            }
            let at = addr.checked_add(done as u64).ok_or(Errno::EFAULT)?;
            self.fault(at, access).map_err(FaultError::errno)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::{Backing, MapRequest, Placement};
    use hal::user::Prot;

    fn one_page() -> (AddressSpace, u64) {
        let mm = AddressSpace::new().unwrap();
        mm.activate();
        let prot = Prot { read: true, write: true, exec: false };
        let backing = Backing::Anonymous;
        let at = mm.map(MapRequest { placement: Placement::Fixed(0x40_0000), len: PAGE, prot, shared: false, backing });
        (mm, at.unwrap())
    }

    #[test]
    fn a_string_may_end_at_the_last_mapped_byte() {
        let (mm, at) = one_page();
        mm.write_bytes(at + PAGE - 4, b"abc\0").unwrap();
        assert_eq!(mm.read_cstr(at + PAGE - 4, 4096).unwrap(), b"abc");
        mm.write_bytes(at + PAGE - 4, b"abcd").unwrap();
        assert_eq!(mm.read_cstr(at + PAGE - 4, 4096), Err(Errno::EFAULT));
        assert_eq!(mm.read_cstr(at + PAGE - 4, 3), Err(Errno::ENAMETOOLONG));
    }

    #[test]
    fn hostile_addresses_fault_cleanly() {
        let (mm, at) = one_page();
        for bad in [0, 8, at + PAGE, hal::user::USER_END - 1, u64::MAX, u64::MAX - 7, 0xffff_8000_0000_0000] {
            assert_eq!(mm.read::<u64>(bad), Err(Errno::EFAULT), "{bad:#x}");
            assert_eq!(mm.write(bad, &0u64), Err(Errno::EFAULT), "{bad:#x}");
        }
        assert_eq!(mm.read::<u64>(at + PAGE - 4), Err(Errno::EFAULT));
        assert_eq!(mm.load_u32(at + 2), Err(Errno::EINVAL));
    }
}
