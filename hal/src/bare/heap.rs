//! The kernel heap: caches of small sizes over a growing list-allocated heap.
//!
//! A request of up to 2 KiB is rounded up to a size class. The objects that were freed last are at hand: a handful of instructions, and
//! no walk. Some are taken at a time from a frame of the class with free objects, and given back to their frames. A class without such
//! a frame takes one and cuts it up; a frame whose objects are all free goes back, so that what a peak has taken is not lost for
//! other uses, but for the frames of the few objects at hand. Larger
//! requests go to `linked_list_allocator`, whose heap grows in a window of its own, frame by frame, and never shrinks.
//!
//! The lists are locked with interrupts off. A handler must not allocate or free; if one does, it is counted, and
//! [`super::mem::stats`] shows it.
use super::frames::{NONE, frame};
use super::sync::IrqLock;
use super::{frames, irq, paging};
use crate::PAGE_SIZE;
use core::alloc::{GlobalAlloc, Layout};
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use linked_list_allocator::Heap;

/// Object sizes. Objects of a power of two are aligned to their size, all others to 16.
const CLASSES: [usize; 12] = [16, 32, 48, 64, 96, 128, 192, 256, 512, 768, 1024, 2048];
const LARGEST: usize = CLASSES[CLASSES.len() - 1];
const GRANULE: usize = 16;
/// The class of each size, in granules.
const CLASS_OF: [u8; LARGEST / GRANULE + 1] = class_table();
/// Objects of each class that are at hand at most: about a page of them, so that a batch of requests finds what the last one left. Half of
/// them move at a time.
const HOT: [usize; CLASSES.len()] = hot_table();
/// The least by which the list-allocated heap grows.
const GROWTH: usize = 64 * 1024;

struct KernelHeap {
    small: [IrqLock<Class>; CLASSES.len()],
    large: IrqLock<Large>,
}

#[global_allocator]
static HEAP: KernelHeap = KernelHeap {
    small: [const { IrqLock::new(Class::new()) }; CLASSES.len()],
    large: IrqLock::new(Large { heap: Heap::empty(), end: paging::HEAP_WINDOW.start }),
};

static ALLOCS: AtomicU64 = AtomicU64::new(0);
static FREES: AtomicU64 = AtomicU64::new(0);
static IRQ_ALLOCS: AtomicU64 = AtomicU64::new(0);
static IRQ_FREES: AtomicU64 = AtomicU64::new(0);

/// (allocations, frees, of these in hard interrupts: allocations, frees) since boot.
pub(super) fn counts() -> [u64; 4] {
    [&ALLOCS, &FREES, &IRQ_ALLOCS, &IRQ_FREES].map(|counter| counter.load(Relaxed))
}

const fn class_table() -> [u8; LARGEST / GRANULE + 1] {
    let mut table = [0; LARGEST / GRANULE + 1];
    let (mut granules, mut class) = (0, 0);
    while granules < table.len() {
        if granules * GRANULE > CLASSES[class] {
            class += 1;
        }
        table[granules] = class as u8;
        granules += 1;
    }
    table
}

const fn hot_table() -> [usize; CLASSES.len()] {
    let mut table = [0; CLASSES.len()];
    let mut class = 0;
    while class < CLASSES.len() {
        let fit = PAGE_SIZE / CLASSES[class];
        table[class] = if fit < 8 {
            8
        } else if fit > 32 {
            32
        } else {
            fit
        };
        class += 1;
    }
    table
}

/// The class that serves `layout`, or `None` if it is too large for all.
#[inline]
fn class_of(layout: Layout) -> Option<usize> {
    let mut size = layout.size();
    if layout.align() > GRANULE {
        size = size.max(layout.align()).next_power_of_two();
    }
    CLASS_OF.get(size.div_ceil(GRANULE)).map(|&class| class as usize)
}

// SAFETY: an object is handed out by one of the two allocators below and only goes back to the same one, since
// `class_of` depends on the layout alone; the lists hold free objects only.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCS.fetch_add(1, Relaxed);
        if irq::in_interrupt() {
            IRQ_ALLOCS.fetch_add(1, Relaxed);
        }
        match class_of(layout) {
            Some(class) => self.small[class].lock().alloc(class),
            None => self.large.lock().alloc(layout),
        }
    }

    unsafe fn dealloc(&self, object: *mut u8, layout: Layout) {
        FREES.fetch_add(1, Relaxed);
        if irq::in_interrupt() {
            IRQ_FREES.fetch_add(1, Relaxed);
        }
        match class_of(layout) {
            // SAFETY: the caller gives back an object of this class, which it doesn't use any more.
            Some(class) => unsafe { self.small[class].lock().free(object, class) },
            None => {
                let Some(object) = NonNull::new(object) else { return };
                // SAFETY: the object came from `Large::alloc` with this layout.
                unsafe { self.large.lock().heap.deallocate(object, layout) }
            }
        }
    }

    unsafe fn realloc(&self, object: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller guarantees a valid layout.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        if class_of(layout).is_some() && class_of(layout) == class_of(new_layout) {
            return object;
        }
        // SAFETY: the new object is distinct, and both are as large as the copy; the old one is not used afterwards.
        unsafe {
            let new = self.alloc(new_layout);
            if !new.is_null() {
                ptr::copy_nonoverlapping(object, new, layout.size().min(new_size));
                self.dealloc(object, layout);
            }
            new
        }
    }
}

/// The free objects of one size. Those at hand are a list through their first words. The others stay with their frames: of these, the ones
/// that have any are a list through the frame table, and in a frame the first word of each is the offset of the next.
///
/// # Invariants
///
/// * A frame is in the list exactly if it has a free object that is not at hand; `refs` counts its objects in use or at hand.
/// * Free objects belong to the class, and nobody else looks at them.
struct Class {
    hot: *mut u8,
    hot_len: usize,
    first: u32,
}

// SAFETY: the class owns the objects at hand, wherever it is used from.
unsafe impl Send for Class {}

/// The end of a frame's list of free objects.
const NOTHING: u16 = u16::MAX;

impl Class {
    const fn new() -> Class {
        Class { hot: ptr::null_mut(), hot_len: 0, first: NONE }
    }

    #[inline]
    fn alloc(&mut self, class: usize) -> *mut u8 {
        if self.hot_len == 0 {
            self.fetch(class);
        }
        self.pop()
    }

    /// Takes an object back.
    ///
    /// # Safety
    ///
    /// `object` came from [`Class::alloc`] of this class, and nobody uses it any more.
    #[inline]
    unsafe fn free(&mut self, object: *mut u8, class: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.push(object) };
        if self.hot_len > HOT[class] {
            self.give_back(HOT[class] / 2);
        }
    }

    /// Puts an object at hand.
    ///
    /// # Safety
    ///
    /// `object` is one of this class, and nobody uses it.
    #[inline]
    unsafe fn push(&mut self, object: *mut u8) {
        // SAFETY: the caller's promise; objects are 16 bytes at least, and aligned.
        unsafe { object.cast::<*mut u8>().write(self.hot) };
        self.hot = object;
        self.hot_len += 1;
    }

    /// Takes an object from those at hand; null if there is none.
    #[inline]
    fn pop(&mut self) -> *mut u8 {
        let object = self.hot;
        if !object.is_null() {
            // SAFETY: an object at hand, whose first word is the next one.
            self.hot = unsafe { object.cast::<*mut u8>().read() };
            self.hot_len -= 1;
        }
        object
    }

    /// Moves objects of frames to those at hand: some, or none if there is no memory.
    #[cold]
    #[inline(never)]
    fn fetch(&mut self, class: usize) {
        let more = |this: &mut Class| this.first != NONE || (this.hot_len == 0 && this.refill(CLASSES[class]));
        while self.hot_len < HOT[class] / 2 && more(self) {
            let object = self.take();
            // SAFETY: it was free, and is in no other list any more.
            unsafe { self.push(object) };
        }
    }

    /// Moves objects at hand back to their frames; `rest` stay.
    #[cold]
    #[inline(never)]
    fn give_back(&mut self, rest: usize) {
        while self.hot_len > rest {
            let object = self.pop();
            // SAFETY: it was at hand, so it is the class's, and free.
            unsafe { self.put(object) };
        }
    }

    /// Takes a free object of the first frame; there is one.
    fn take(&mut self) -> *mut u8 {
        let number = self.first;
        let known = frame(number);
        let object = address(number, known.free_object.load(Relaxed));
        // SAFETY: a free object of a frame of the class, whose first word is the offset of the next.
        let next = unsafe { object.cast::<u16>().read() };
        known.free_object.store(next, Relaxed);
        known.refs.store(known.refs.load(Relaxed) + 1, Relaxed);
        if next == NOTHING {
            self.unlink(number);
        }
        object
    }

    /// Gives an object back to its frame. A frame without objects in use is free again, unless it is the last one with free objects: a
    /// program that takes and gives a few objects again and again must not move a frame each time.
    ///
    /// # Safety
    ///
    /// `object` is one of this class, and nobody uses it.
    unsafe fn put(&mut self, object: *mut u8) {
        let phys = object as u64 - paging::PHYSMAP_BASE;
        let number = frames::number(phys);
        let known = frame(number);
        let first = known.free_object.swap((phys % PAGE_SIZE as u64) as u16, Relaxed);
        // SAFETY: the caller's promise; objects are 16 bytes at least, and aligned.
        unsafe { object.cast::<u16>().write(first) };
        let used = known.refs.load(Relaxed) - 1;
        known.refs.store(used, Relaxed);
        if first == NOTHING {
            self.link(number);
        }
        let alone = self.first == number && known.next.load(Relaxed) == NONE;
        if used == 0 && !alone {
            self.unlink(number);
            // SAFETY: it came from the allocator, and no object of it is in use or in a list.
            unsafe { frames::free_one(u64::from(number) * PAGE_SIZE as u64) };
        }
    }

    /// Cuts a frame into objects.
    fn refill(&mut self, size: usize) -> bool {
        let Some(phys) = frames::alloc_one() else { return false };
        let number = frames::number(phys);
        let mut next = NOTHING;
        for index in (0..PAGE_SIZE / size).rev() {
            let offset = (index * size) as u16;
            // SAFETY: inside the frame, which is the class's now; sizes are multiples of 16.
            unsafe { address(number, offset).cast::<u16>().write(next) };
            next = offset;
        }
        frame(number).free_object.store(next, Relaxed);
        frame(number).refs.store(0, Relaxed);
        self.link(number);
        true
    }

    fn link(&mut self, number: u32) {
        frame(number).prev.store(NONE, Relaxed);
        frame(number).next.store(self.first, Relaxed);
        if self.first != NONE {
            frame(self.first).prev.store(number, Relaxed);
        }
        self.first = number;
    }

    fn unlink(&mut self, number: u32) {
        let (next, prev) = (frame(number).next.load(Relaxed), frame(number).prev.load(Relaxed));
        if next != NONE {
            frame(next).prev.store(prev, Relaxed);
        }
        if prev == NONE {
            self.first = next;
        } else {
            frame(prev).next.store(next, Relaxed);
        }
    }
}

/// The address of the object at `offset` of a frame.
fn address(number: u32, offset: u16) -> *mut u8 {
    paging::phys_to_virt(u64::from(number) * PAGE_SIZE as u64 + u64::from(offset))
}

/// The list-allocated heap and the end of its mapped memory.
struct Large {
    heap: Heap,
    end: u64,
}

impl Large {
    fn alloc(&mut self, layout: Layout) -> *mut u8 {
        loop {
            if let Ok(object) = self.heap.allocate_first_fit(layout) {
                return object.as_ptr();
            }
            if !self.grow(layout) {
                return ptr::null_mut();
            }
        }
    }

    /// Maps enough frames for `layout` behind the end. What was mapped is kept even if memory ends in the middle.
    fn grow(&mut self, layout: Layout) -> bool {
        let wanted = layout.size().saturating_add(layout.align()).saturating_add(GRANULE).max(GROWTH);
        let wanted = wanted.checked_next_multiple_of(PAGE_SIZE).unwrap_or(usize::MAX) as u64;
        // The rest of the window bounds the request, and so does free memory: no mapping that can't succeed.
        if wanted > paging::HEAP_WINDOW.end - self.end || wanted / PAGE_SIZE as u64 > frames::counts().1 {
            return false;
        }
        let start = self.end;
        let mapped = (0..wanted / PAGE_SIZE as u64).take_while(|_| self.map_one()).count();
        let bytes = mapped * PAGE_SIZE;
        if start == paging::HEAP_WINDOW.start && bytes > 0 {
            // SAFETY: the memory was just mapped, is nobody else's and stays.
            unsafe { self.heap.init_from_slice(core::slice::from_raw_parts_mut(start as *mut MaybeUninit<u8>, bytes)) };
        } else if bytes > 0 {
            // SAFETY: as above, and it follows the heap's end without a gap.
            unsafe { self.heap.extend(bytes) };
        }
        bytes as u64 == wanted
    }

    fn map_one(&mut self) -> bool {
        let Some(frame) = frames::alloc_one() else { return false };
        if !paging::map_kernel_page(self.end, frame) {
            // SAFETY: allocated above and mapped nowhere.
            unsafe { frames::free_one(frame) };
            return false;
        }
        self.end += PAGE_SIZE as u64;
        true
    }
}
