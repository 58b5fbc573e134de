//! What files hold.
use super::program::{Op, Step};

/// The bytes that step `id` writes to `[pos, pos + len)`: different for each step and place, so that a byte tells where it came from.
pub fn bytes_of(id: u64, pos: u64, len: u64) -> Vec<u8> {
    let byte = |at: u64| {
        let mixed = (id.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ at).wrapping_mul(0xff51_afd7_ed55_8ccd);
        // Never 0: that is what holes and new bytes read as.
        (mixed >> 56) as u8 | 1
    };
    (pos..pos + len).map(byte).collect()
}

/// Files as bytes.
#[derive(Clone)]
pub struct Model {
    /// The content of each.
    pub files: Vec<Vec<u8>>,
}

impl Model {
    /// Empty files.
    pub fn new(files: usize) -> Model {
        Model { files: vec![Vec::new(); files] }
    }

    /// Does what a step changes.
    pub fn apply(&mut self, step: &Step) {
        let file = &mut self.files[step.file];
        let size = file.len() as u64;
        match step.op {
            Op::Write { pos, len, .. } => put(file, pos, &bytes_of(step.id, pos, len)),
            Op::Aio { pos, len, count, .. } => put(file, pos, &bytes_of(step.id, pos, len * count)),
            Op::Append { len, .. } => put(file, size, &bytes_of(step.id, size, len)),
            Op::Truncate { size } => file.resize(size as usize, 0),
            Op::Range { range, pos, len } => range.apply(file, pos, len),
            Op::Read { .. } | Op::Fsync { .. } | Op::Drop => {}
        }
    }

    /// What a read must give.
    pub fn read(&self, file: usize, pos: u64, len: u64) -> &[u8] {
        let bytes = &self.files[file];
        let start = bytes.len().min(pos as usize);
        &bytes[start..bytes.len().min((pos + len) as usize)]
    }
}

/// Puts bytes at a place; a gap before them is zeros.
pub fn put(file: &mut Vec<u8>, pos: u64, bytes: &[u8]) {
    let end = pos as usize + bytes.len();
    file.resize(file.len().max(end), 0);
    file[pos as usize..end].copy_from_slice(bytes);
}
