//! Kernel stacks, each above an unmapped guard.
//!
//! The window is cut into slots of [`SLOT`] bytes; the upper part of a slot is mapped, the rest stays a guard, so that an
//! overflow faults on the guard (and the fault, having no stack, becomes a double fault on its own stack). A stack that is
//! given back stays mapped and is handed out again: no other CPU has to forget a translation.
use super::paging::STACK_WINDOW;
use super::sync::IrqLock;
use super::{frames, paging};
use crate::PAGE_SIZE;

/// Bytes of a stack. Unoptimised code uses several times more.
pub const STACK_SIZE: usize = if cfg!(debug_assertions) { 128 * 1024 } else { 32 * 1024 };
/// Bytes from one stack's top to the next.
const SLOT: u64 = 256 * 1024;
const SLOTS: u64 = (STACK_WINDOW.end - STACK_WINDOW.start) / SLOT;

struct Pool {
    /// Slots that were never used start here.
    fresh: u64,
    /// Top of a free stack, whose highest word is the next one's top; 0 for none.
    free: u64,
}

static POOL: IrqLock<Pool> = IrqLock::new(Pool { fresh: 0, free: 0 });

/// An owned kernel stack.
pub(super) struct Stack {
    top: u64,
}

impl Stack {
    /// A stack, or `None` when memory is short.
    pub(super) fn new() -> Option<Stack> {
        let mut pool = POOL.lock();
        if pool.free != 0 {
            let top = pool.free;
            // SAFETY: a free stack is mapped, and its highest word is the link.
            pool.free = unsafe { *link(top) };
            return Some(Stack { top });
        }
        if pool.fresh == SLOTS {
            return None;
        }
        let top = STACK_WINDOW.start + (pool.fresh + 1) * SLOT;
        let bottom = top - STACK_SIZE as u64;
        for virt in (bottom..top).step_by(PAGE_SIZE) {
            // A slot that could not be mapped in full resumes here next time.
            if paging::virt_to_phys(virt as *const u8).is_none() {
                let frame = frames::alloc_one()?;
                if !paging::map_kernel_page(virt, frame) {
                    // SAFETY: allocated above and mapped nowhere.
                    unsafe { frames::free_one(frame) };
                    return None;
                }
            }
        }
        pool.fresh += 1;
        Some(Stack { top })
    }

    /// The address past the highest byte, 16-byte aligned.
    pub(super) fn top(&self) -> u64 {
        self.top
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let mut pool = POOL.lock();
        // SAFETY: the stack is owned, so nobody runs on it; the word is its highest.
        unsafe { *link(self.top) = pool.free };
        pool.free = self.top;
    }
}

fn link(top: u64) -> *mut u64 {
    (top - size_of::<u64>() as u64) as *mut u64
}

/// True if `virt` is in the guard below a stack.
pub(super) fn is_guard(virt: u64) -> bool {
    STACK_WINDOW.contains(&virt) && (virt - STACK_WINDOW.start) % SLOT < SLOT - STACK_SIZE as u64
}

/// The top of the stack that `virt` is on, if it is on one.
pub(super) fn top_of(virt: u64) -> Option<u64> {
    (STACK_WINDOW.contains(&virt) && !is_guard(virt))
        .then(|| (virt - STACK_WINDOW.start) / SLOT * SLOT + SLOT + STACK_WINDOW.start)
}
