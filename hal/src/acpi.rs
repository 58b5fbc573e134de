//! Which CPUs there are, from the firmware's tables (ACPI 6.5, sections 5.2.5 to 5.2.12). Pure: the caller reads memory.
//!
//! ```text
//!   root pointer ("RSD PTR ") ─> root table (RSDT or XSDT) ─> "APIC" table ─> an entry for each CPU
//! ```
//!
//! Nothing in the tables is trusted: lengths are checked, a table with a wrong sum is left out, and no walk is without end.

/// CPUs that are used at most.
pub const MAX_CPUS: usize = 8;
/// Tables that a root table may name.
const MAX_TABLES: u32 = 128;
const HEADER: usize = 36;
/// Where the entries of the "APIC" table begin.
const ENTRIES: u32 = 44;
const LOCAL_APIC: u8 = 0;
const ENABLED: u8 = 1;

/// The ids of the local APICs of CPUs that can be used, in the order of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpus {
    ids: [u8; MAX_CPUS],
    len: usize,
    /// How many CPUs the table has that can be used, those beyond [`MAX_CPUS`] included.
    pub present: usize,
}

impl Cpus {
    /// The ids.
    pub fn ids(&self) -> &[u8] {
        &self.ids[..self.len]
    }
    fn push(&mut self, id: u8) {
        self.present += 1;
        if let Some(slot) = self.ids.get_mut(self.len) {
            *slot = id;
            self.len += 1;
        }
    }
}

/// Physical memory: fills the buffer from an address, or says false.
type Read<'a> = &'a dyn Fn(u64, &mut [u8]) -> bool;

/// The CPUs that the tables behind the root pointer at `root_pointer` list; `None` if there is no such table.
pub fn cpus(root_pointer: u64, read: Read<'_>) -> Option<Cpus> {
    let pointer: [u8; 36] = bytes(root_pointer, read)?;
    if &pointer[..8] != b"RSD PTR " || sum(&pointer[..20]) != 0 {
        return None;
    }
    let revision = pointer[15];
    let (root, width) = match le(&pointer[24..32]) {
        xsdt if revision >= 2 && xsdt != 0 => (xsdt, 8),
        _ => (le(&pointer[16..20]), 4),
    };
    let table = find(root, width, b"APIC", read)?;
    let len = checked_len(table, read)?;
    let mut cpus = Cpus::default();
    let mut at = ENTRIES;
    while at + 8 <= len {
        let entry: [u8; 8] = bytes(table + u64::from(at), read)?;
        if entry[0] == LOCAL_APIC && entry[4] & ENABLED != 0 {
            cpus.push(entry[3]);
        }
        at += u32::from(entry[1]).max(2);
    }
    Some(cpus)
}

/// The table `name` among those that the root table at `root`, with pointers of `width` bytes, names.
fn find(root: u64, width: u32, name: &[u8; 4], read: Read<'_>) -> Option<u64> {
    let count = (checked_len(root, read)?.checked_sub(HEADER as u32)? / width).min(MAX_TABLES);
    (0..count).find_map(|i| {
        let mut pointer = [0; 8];
        let at = root + HEADER as u64 + u64::from(i * width);
        let table = read(at, &mut pointer[..width as usize]).then(|| le(&pointer))?;
        (bytes(table, read) == Some(*name)).then_some(table)
    })
}

/// The length of the table at `at`, if the sum of its bytes is right.
fn checked_len(at: u64, read: Read<'_>) -> Option<u32> {
    let header: [u8; HEADER] = bytes(at, read)?;
    let len = le(&header[4..8]) as u32;
    if !(HEADER as u32..1 << 20).contains(&len) {
        return None;
    }
    let mut total = 0u8;
    for i in 0..len {
        let [byte] = bytes(at + u64::from(i), read)?;
        total = total.wrapping_add(byte);
    }
    (total == 0).then_some(len)
}

fn bytes<const N: usize>(at: u64, read: Read<'_>) -> Option<[u8; N]> {
    let mut buffer = [0; N];
    read(at, &mut buffer).then_some(buffer)
}

fn le(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
}

#[cfg(all(test, not(loom), not(shuttle)))]
mod tests {
    use super::*;

    /// A machine's first kilobyte with a root pointer, a root table and an "APIC" table of `entries`.
    fn machine(entries: &[&[u8]]) -> Vec<u8> {
        let mut memory = vec![0; 1024];
        put(&mut memory, 0, b"RSD PTR ");
        put(&mut memory, 16, &64u32.to_le_bytes());
        memory[8] = 0u8.wrapping_sub(sum(&memory[..20]));
        put(&mut memory, 64, b"RSDT");
        put(&mut memory, 64 + HEADER, &[256u32.to_le_bytes(), 512u32.to_le_bytes()].concat());
        close(&mut memory, 64, HEADER + 8);
        put(&mut memory, 256, b"FACP");
        close(&mut memory, 256, HEADER);
        put(&mut memory, 512, b"APIC");
        let body = entries.concat();
        put(&mut memory, 512 + ENTRIES as usize, &body);
        close(&mut memory, 512, ENTRIES as usize + body.len());
        memory
    }
    fn put(memory: &mut [u8], at: usize, bytes: &[u8]) {
        memory[at..at + bytes.len()].copy_from_slice(bytes);
    }
    /// Sets the length and the sum of a table.
    fn close(memory: &mut [u8], at: usize, len: usize) {
        put(memory, at + 4, &(len as u32).to_le_bytes());
        memory[at + 9] = 0u8.wrapping_sub(sum(&memory[at..at + len]));
    }
    fn find_cpus(memory: &[u8]) -> Option<Cpus> {
        cpus(0, &|at, buffer| {
            let from = memory.get(at as usize..).and_then(|m| m.get(..buffer.len()));
            from.map(|from| buffer.copy_from_slice(from)).is_some()
        })
    }

    #[test]
    fn enabled_cpus_are_listed_and_other_entries_passed_over() {
        let io_apic = [1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0];
        let memory =
            machine(&[&[0, 8, 0, 0, 1, 0, 0, 0], &io_apic, &[0, 8, 1, 4, 0, 0, 0, 0], &[0, 8, 2, 6, 1, 0, 0, 0]]);
        assert_eq!(find_cpus(&memory).unwrap().ids(), [0, 6]);
    }

    #[test]
    fn more_cpus_than_there_is_room_for_are_counted() {
        let entries: Vec<[u8; 8]> = (0..12).map(|id| [0, 8, id, id, 1, 0, 0, 0]).collect();
        let entries: Vec<&[u8]> = entries.iter().map(|e| e.as_slice()).collect();
        let found = find_cpus(&machine(&entries)).unwrap();
        assert_eq!((found.ids().len(), found.present), (MAX_CPUS, 12));
    }

    #[test]
    fn damaged_tables_are_refused_and_never_walked_for_ever() {
        let good = machine(&[&[0, 8, 0, 0, 1, 0, 0, 0]]);
        assert!(find_cpus(&good).is_some());
        for at in [0, 16, 64 + 5, 512, 512 + ENTRIES as usize + 3] {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            assert_eq!(find_cpus(&bad), None, "byte {at}");
        }
        let without_length = machine(&[&[5, 0, 0, 0, 0, 0, 0, 0], &[0, 8, 0, 3, 1, 0, 0, 0]]);
        assert!(find_cpus(&without_length).is_some());
    }
}
