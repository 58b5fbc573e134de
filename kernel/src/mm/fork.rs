//! A copy of an address space for fork: the same areas, and the pages shared until one of the two stores to them.
//!
//! # What a device stores meanwhile
//!
//! A direct read that is in flight stores to frames of the parent. If such a frame became copy on write, the parent's next store would
//! go to a copy and the device's bytes be lost to it. So a frame that anybody but the page table holds is not shared: the child gets a
//! copy of its content of now, and the parent keeps the frame (`Resident::share_with`).
use super::address_space::{AddressSpace, Map};
use super::file_map::FileArea;
use super::vma::{Backing, Vma, VmaTree};
use base::Result;

impl AddressSpace {
    /// An address space with the content of this one. Task context; may sleep. Errors: `ENOMEM`.
    pub fn fork(&self) -> Result<AddressSpace> {
        let mut child = AddressSpace::new()?;
        // What a failed copy has made so far goes with the lock dropped (MM-9).
        self.copy_into(&mut child)?;
        Ok(child)
    }

    fn copy_into(&self, child: &mut AddressSpace) -> Result<()> {
        let map = self.lock();
        let mut vmas = VmaTree::default();
        for vma in map.vmas.iter() {
            let file_area = match &vma.backing {
                // Before a page is there, as always.
                Backing::File { file, offset } => {
                    FileArea::register(child.resident(), vma.range.clone(), file, *offset)
                }
                Backing::Anonymous | Backing::Pages { .. } => None,
            };
            vmas.insert(Vma { file_area, ..vma.clone() });
            if !vma.shared {
                self.resident().share_with(child.resident(), vma.range.clone(), vma.prot)?;
            }
        }
        child.set_map(Map { vmas, brk_start: map.brk_start, brk: map.brk, mmap_top: map.mmap_top });
        Ok(())
    }
}
