//! Frames, heap, page-table rights, guards.
use crate::bare::frames::FrameRun;
use crate::bare::stack::{STACK_SIZE, Stack};
use crate::bare::{image, paging, uaccess};
use crate::mem::{Page, stats};
use crate::{PAGE_SIZE, ktest};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use x86_64::structures::paging::PageTableFlags as Flags;

/// The physical pages of what the image maps read-only.
fn protected_pages() -> BTreeSet<u64> {
    let protected = image::text().start..image::rodata().end;
    protected.step_by(PAGE_SIZE).filter_map(|virt| paging::virt_to_phys(virt as *const u8)).collect()
}

ktest! {
    fn write_xor_execute() {
        let protected = protected_pages();
        let mut executable = 0;
        paging::for_each_page(&mut |virt, phys, bytes, flags| {
            let (write, execute) = (flags.contains(Flags::WRITABLE), !flags.contains(Flags::NO_EXECUTE));
            assert!(!(write && execute), "{virt:#x} is writable and executable");
            assert!(!flags.contains(Flags::USER_ACCESSIBLE), "{virt:#x} is open to user mode");
            executable += u64::from(execute) * bytes;
            // Every alias counts, the physical map's above all.
            let alias = protected.range(phys..phys + bytes).next();
            assert!(!write || alias.is_none(), "{virt:#x} is a writable alias of the text or of constants");
        });
        let text = image::text();
        assert_eq!(executable, text.end - text.start, "only the text is executable");
    }

    fn stacks_have_unmapped_guards() {
        let stack = Stack::new().expect("memory");
        let bottom = stack.top() - STACK_SIZE as u64;
        assert!(uaccess::probe(bottom).is_some() && uaccess::probe(stack.top() - 8).is_some());
        assert_eq!(uaccess::probe(bottom - 8), None, "just below the stack");
        assert!(crate::bare::stack::is_guard(bottom - 8) && !crate::bare::stack::is_guard(bottom));
        let here = 0u64;
        assert!(crate::bare::stack::top_of(&raw const here as u64).is_some(), "this test runs on a guarded stack");
    }

    fn null_and_low_memory_are_unmapped() {
        assert_eq!(uaccess::probe(0), None);
        assert_eq!(uaccess::probe(0x20_0000), None, "the loader's identity map is gone");
    }

    fn pages_are_counted_and_come_back() {
        let before = stats().free_frames;
        let page = Page::alloc_zeroed().expect("memory");
        let other = page.clone();
        assert_eq!((page.ref_count(), other.phys()), (2, page.phys()));
        assert_eq!(stats().free_frames, before - 1);
        drop(page);
        assert_eq!((other.ref_count(), stats().free_frames), (1, before - 1));
        drop(other);
        assert_eq!(stats().free_frames, before);
    }

    fn page_bytes_keep_their_place() {
        let page = Page::alloc_zeroed().expect("memory");
        page.write_from(4090, b"sluice");
        let mut seen = [0xffu8; 8];
        page.read_into(4088, &mut seen);
        assert_eq!(&seen, b"\0\0sluice");
        let copy = Page::alloc_zeroed().expect("memory");
        copy.copy_from(0, &page, 4090, 6);
        copy.read_into(0, &mut seen);
        assert_eq!(&seen, b"sluice\0\0");
    }

    fn runs_are_contiguous_aligned_and_merge_again() {
        let before = stats().free_frames;
        let run = FrameRun::alloc(5).expect("memory");
        assert_eq!((run.phys() % (8 * PAGE_SIZE as u64), run.pages()), (0, 5));
        assert_eq!(stats().free_frames, before - 5);
        drop(run);
        assert_eq!(stats().free_frames, before);
        // As many single frames as there may be in a large block, freed in a scattered order, make a large block again.
        let mut pages: Vec<Page> = (0..1024).filter_map(|_| Page::alloc()).collect();
        while pages.len() > 1 {
            pages.swap_remove(pages.len() / 2);
        }
        drop(pages);
        drop(FrameRun::alloc(1024).expect("frames merge"));
        assert!(FrameRun::alloc(0).is_none() && FrameRun::alloc(1025).is_none());
    }

    fn heap_serves_all_sizes_and_alignments() {
        let before = stats();
        let mut kept = Vec::new();
        for size in [1usize, 16, 17, 100, 384, 2048, 2049, 5000, 70_000, 300_000] {
            let block: Vec<u8> = core::iter::repeat_n(size as u8, size).collect();
            kept.push(block);
        }
        for block in &kept {
            assert!(block.iter().all(|&byte| byte == block.len() as u8));
        }
        #[repr(align(256))]
        struct Aligned([u8; 300]);
        let aligned = alloc::boxed::Box::new(Aligned([7; 300]));
        assert!((&raw const *aligned as usize).is_multiple_of(256) && aligned.0[299] == 7);
        let during = stats();
        assert!(during.heap_allocs >= before.heap_allocs + 11);
        drop((kept, aligned));
        let after = stats();
        assert!(after.heap_frees >= before.heap_frees + 11);
        assert_eq!((after.irq_allocs, after.irq_frees), (0, 0), "no handler allocates");
    }

    fn heap_gives_the_frames_of_small_objects_back() {
        let mut kept: Vec<Option<alloc::boxed::Box<[u8; 90]>>> = Vec::with_capacity(5000);
        let before = stats().free_frames;
        kept.extend((0..5000).map(|n| Some(alloc::boxed::Box::new([n as u8; 90]))));
        let during = stats().free_frames;
        assert!(during + 100 <= before, "{before} frames before, {during} with all objects");
        // Every second one first, so that frames are half empty before they are empty.
        for (n, object) in kept.iter_mut().enumerate().filter(|(n, _)| n % 2 == 0) {
            assert!(object.take().is_some_and(|object| object.iter().all(|&byte| byte == n as u8)));
        }
        assert!(kept.iter().enumerate().all(|(n, object)| object.as_ref().is_none_or(|object| object[89] == n as u8)));
        kept.clear();
        let after = stats().free_frames;
        assert!(after + 4 >= before, "{before} frames before, {after} after");
    }

    fn heap_answers_an_impossible_request() {
        let mut vec: Vec<u8> = Vec::new();
        assert!(vec.try_reserve(1 << 40).is_err());
        assert!(vec.try_reserve(100_000).is_ok());
    }
}
