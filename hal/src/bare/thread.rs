//! Kernel threads: a guarded stack and a saved context. Scheduling them is up to `base::sched`.
//!
//! | state | who holds a count | stack |
//! |---|---|---|
//! | ready | the scheduler | `saved_rsp` points at the registers that `switch_stacks` pushed |
//! | running | the CPU (`PerCpu::current`), the scheduler | in use |
//! | just switched from | the CPU (`PerCpu::previous`) until the next thread has run `finish_switch` | no longer in use |
//! | exited | whoever reaps it | freed with the last count |
//!
//! A thread becomes ready again in `finish_switch`, on the stack of the one that follows it: only then are its registers
//! saved, and another CPU may take it.
use super::fpu::FpuState;
use super::irq;
use super::page_table::Tables;
use super::percpu::this_cpu;
use super::stack::Stack;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::{Any, TypeId};
use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};
use x86_64::VirtAddr;
use x86_64::registers::model_specific::FsBase;

/// A kernel thread.
///
/// # Invariants
///
/// `saved_rsp` and `user` are used only by the thread itself while it runs, and by the CPU that switches from or to it,
/// with interrupts off. `running` is true from the switch to the thread until its registers have been saved, so at most
/// one CPU is in that position.
pub struct Kthread {
    saved_rsp: UnsafeCell<u64>,
    user: UnsafeCell<UserSide>,
    running: AtomicBool,
    exited: AtomicBool,
    entry: UnsafeCell<Option<Box<dyn FnOnce() + Send>>>,
    /// `None` for the boot thread before it has moved to a stack of the pool.
    _stack: Option<Stack>,
    data: Arc<dyn Any + Send + Sync>,
    /// The type of what `data` holds: asking the value for it costs a call each time.
    data_type: TypeId,
}

// SAFETY: see the type's invariants; the other fields may be shared.
unsafe impl Sync for Kthread {}
// SAFETY: as above; everything in it may be dropped by any thread.
unsafe impl Send for Kthread {}

/// What a thread that runs user mode keeps in the CPU.
struct UserSide {
    /// The id of the context that runs here; 0 for a pure kernel thread.
    context: u64,
    fs_base: u64,
    /// The registers while another thread's are in the CPU. `None` for a pure kernel thread.
    fpu: Option<Box<FpuState>>,
    space: Option<Arc<Tables>>,
}

static ON_EXIT: spin::Once<fn() -> !> = spin::Once::new();

impl Kthread {
    /// A thread that will run `entry`, with interrupts on, once it is switched to. `None` when memory is short.
    pub fn new(entry: Box<dyn FnOnce() + Send>, data: Arc<dyn Any + Send + Sync>) -> Option<Arc<Kthread>> {
        let stack = Stack::new()?;
        let rsp = stack.top() - size_of::<FirstFrame>() as u64;
        let frame = FirstFrame { callee_saved: [0; 6], start: thread_start as *const () as u64, end: 0 };
        // SAFETY: inside the new stack, which nobody else uses.
        unsafe { (rsp as *mut FirstFrame).write(frame) };
        Some(Arc::new(Kthread { saved_rsp: UnsafeCell::new(rsp), ..Kthread::blank(Some(entry), Some(stack), data) }))
    }

    fn blank(
        entry: Option<Box<dyn FnOnce() + Send>>,
        stack: Option<Stack>,
        data: Arc<dyn Any + Send + Sync>,
    ) -> Kthread {
        Kthread {
            saved_rsp: UnsafeCell::new(0),
            user: UnsafeCell::new(UserSide { context: 0, fs_base: 0, fpu: None, space: None }),
            running: AtomicBool::new(false),
            exited: AtomicBool::new(false),
            entry: UnsafeCell::new(entry),
            _stack: stack,
            data_type: (*data).type_id(),
            data,
        }
    }

    /// What the creator attached.
    pub fn data(&self) -> &Arc<dyn Any + Send + Sync> {
        &self.data
    }

    /// What the creator attached, if it is a `T`.
    #[inline]
    pub fn data_as<T: Any>(&self) -> Option<&T> {
        let data = Arc::as_ptr(&self.data).cast::<T>();
        // SAFETY: the value behind the pointer is a `T`, for its type was noted when it was attached; the borrow of `self`
        // keeps it.
        (self.data_type == TypeId::of::<T>()).then(|| unsafe { &*data })
    }

    /// True once the entry has returned.
    pub fn exited(&self) -> bool {
        self.exited.load(Ordering::Acquire)
    }

    /// The user side, for the thread itself and for a switch.
    ///
    /// # Safety
    ///
    /// Interrupts are off; `self` is the running thread of this CPU, or this CPU has claimed it by `running`. No other
    /// reference is in use.
    #[allow(clippy::mut_from_ref, reason = "exclusive by the caller's promise")]
    unsafe fn user(&self) -> &mut UserSide {
        // SAFETY: the caller's promise.
        unsafe { &mut *self.user.get() }
    }

    /// Replaces the address space; returns the one before. The current thread only, interrupts off.
    pub(super) fn set_space(&self, space: Option<Arc<Tables>>) -> Option<Arc<Tables>> {
        debug_assert!(!irq::enabled() && ptr::eq(self, this_cpu().current.get()));
        // SAFETY: checked above.
        core::mem::replace(unsafe { &mut self.user().space }, space)
    }

    /// Makes `context` the one that this thread runs, with these registers. Returns where those of the one before were. The
    /// current thread only, interrupts off.
    pub(super) fn bind_user(&self, context: u64, fs_base: u64, fpu: Box<FpuState>) -> Option<Box<FpuState>> {
        debug_assert!(!irq::enabled() && ptr::eq(self, this_cpu().current.get()));
        // SAFETY: checked above.
        let user = unsafe { self.user() };
        (user.context, user.fs_base) = (context, fs_base);
        fpu.load();
        FsBase::write(VirtAddr::new_truncate(fs_base));
        this_cpu().bound_context.set(context);
        user.fpu.replace(fpu)
    }

    /// Sets the FS base of the bound context. The current thread only.
    pub(super) fn set_fs_base(&self, base: u64) {
        irq::with_disabled(|| {
            debug_assert!(ptr::eq(self, this_cpu().current.get()));
            // SAFETY: interrupts are off; the current thread.
            unsafe { self.user() }.fs_base = base;
            FsBase::write(VirtAddr::new_truncate(base));
        });
    }
}

impl UserSide {
    /// Takes the registers out of the CPU.
    fn leave(&mut self) {
        if let Some(fpu) = &mut self.fpu {
            fpu.save_here();
        }
    }

    /// Puts the registers into the CPU. A kernel thread leaves the CPU as it is, address space included.
    fn enter(&self) {
        if let Some(fpu) = &self.fpu {
            fpu.load();
            FsBase::write(VirtAddr::new_truncate(self.fs_base));
        }
        this_cpu().bound_context.set(self.context);
        if let Some(space) = &self.space {
            space.load();
        }
    }
}

/// The thread that runs on this CPU. Any context (in an interrupt: the interrupted thread).
pub fn current() -> Arc<Kthread> {
    let thread = this_cpu().current.get();
    assert!(!thread.is_null(), "no thread yet");
    // SAFETY: `current` owns a count, which it keeps; the new handle gets its own.
    unsafe {
        Arc::increment_strong_count(thread);
        Arc::from_raw(thread)
    }
}

/// Calls `f` with the thread that runs on this CPU, without counting a reference.
#[inline]
pub fn with_current<R>(f: impl FnOnce(&Kthread) -> R) -> R {
    let thread = this_cpu().current.get();
    assert!(!thread.is_null(), "no thread yet");
    // SAFETY: `current` owns a count as long as the thread runs, and `f` runs on that thread (or interrupts it).
    f(unsafe { &*thread })
}

/// True once the boot code of this CPU has become a thread.
pub fn is_started() -> bool {
    !this_cpu().current.get().is_null()
}

/// Makes the boot code a thread with `data`, so that it can be switched from. Once, before the first switch.
pub fn adopt_boot_thread(data: Arc<dyn Any + Send + Sync>) -> Arc<Kthread> {
    assert!(!is_started(), "the boot thread is adopted once");
    let thread = Arc::new(Kthread { running: AtomicBool::new(true), ..Kthread::blank(None, None, data) });
    this_cpu().current.set(Arc::into_raw(thread.clone()));
    thread
}

/// Sets the function that a thread calls, with interrupts on, when its entry has returned. It must switch away and
/// never be switched back to. Only the first call counts.
pub fn on_exit(hook: fn() -> !) {
    ON_EXIT.call_once(|| hook);
}

/// Saves this thread and runs `next`. Returns when somebody switches back. Called with interrupts off, returns with
/// them off. The count of `next` becomes the CPU's, so that none stays behind on the stack of a thread that never runs
/// again. If another CPU is just leaving `next`, it is waited for; `next` must run nowhere else. Panics if it has exited.
pub fn switch_to(next: Arc<Kthread>) {
    assert!(!irq::enabled(), "a switch with interrupts on");
    let cpu = this_cpu();
    let prev = cpu.current.get();
    assert!(!prev.is_null() && !next.exited(), "a switch to an exited thread, or before the first");
    claim(&next);
    // SAFETY: interrupts are off; `prev` runs here, and `next` has just been claimed.
    let next_rsp = unsafe {
        (*prev).user().leave();
        next.user().enter();
        *next.saved_rsp.get()
    };
    cpu.current.set(Arc::into_raw(next));
    cpu.previous.set(prev);
    // SAFETY: `next_rsp` was left by `switch_stacks` or by `Kthread::new`, on a stack that lives as long as `current`
    // counts the thread; `prev` is counted by `previous` until the switch is finished.
    unsafe { switch_stacks((*prev).saved_rsp.get(), next_rsp) };
    finish_switch();
}

/// Takes a thread for this CPU. Another one may have picked its next thread and still be saving this one's registers: it needs
/// no lock for that and waits, if at all, only for one that had picked before, so this ends.
fn claim(next: &Kthread) {
    debug_assert!(!ptr::eq(next, this_cpu().current.get()), "a switch to the running thread");
    while next.running.swap(true, Ordering::Acquire) {
        core::hint::spin_loop();
    }
}

/// Runs first on the new stack: the thread switched from is saved now, and free to run elsewhere.
fn finish_switch() {
    let prev = this_cpu().previous.replace(ptr::null());
    if !prev.is_null() {
        // SAFETY: `previous` owned a count, which is ours now.
        let prev = unsafe { Arc::from_raw(prev) };
        prev.running.store(false, Ordering::Release);
    }
}

/// What `switch_stacks` pops on a new stack.
#[repr(C)]
struct FirstFrame {
    callee_saved: [u64; 6],
    start: u64,
    /// Ends the chain of return addresses, and leaves the stack as after a call.
    end: u64,
}

/// Saves the callee-saved registers on this stack, its pointer at `save_rsp`, and goes on on the stack at `rsp`.
///
/// # Safety
///
/// `rsp` must be what an earlier call saved, or the address of a [`FirstFrame`]. Interrupts are off.
#[unsafe(naked)]
unsafe extern "sysv64" fn switch_stacks(save_rsp: *mut u64, rsp: u64) {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rdi], rsp",
        "mov rsp, rsi",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
    )
}

/// First code of a new thread: interrupts off, on its own stack.
extern "sysv64" fn thread_start() -> ! {
    finish_switch();
    // SAFETY: the thread itself, once; nobody else uses the field.
    let entry = with_current(|thread| unsafe { (*thread.entry.get()).take() });
    irq::enable_now();
    if let Some(entry) = entry {
        entry();
    }
    with_current(|thread| thread.exited.store(true, Ordering::Release));
    match ON_EXIT.get() {
        Some(hook) => hook(),
        None => panic!("a thread ended, and nobody has said where to go on"),
    }
}

/// What [`set_tag`] left for the thread that runs on this CPU; in an interrupt, the interrupted one. One instruction.
#[inline]
pub fn tag() -> u64 {
    let tag;
    // SAFETY: GS points at this CPU's area in kernel mode; the field is a word of it.
    unsafe {
        core::arch::asm!("mov {}, gs:[{}]", out(reg) tag, const super::percpu::TAG,
            options(nostack, preserves_flags, readonly));
    }
    tag
}

/// Sets the tag of this CPU: the scheduler does, with interrupts off, when it switches.
pub fn set_tag(tag: u64) {
    this_cpu().tag.set(tag);
}

/// Asks this CPU to leave user mode: [`super::user::UserContext::run`] returns `Trap::Interrupt` before it enters user
/// mode, as long as the mark is set. Any context.
pub fn set_need_resched() {
    this_cpu().need_resched.store(true, Ordering::Relaxed);
}

/// Clears the mark; says whether it was set.
pub fn take_need_resched() -> bool {
    this_cpu().need_resched.swap(false, Ordering::Relaxed)
}

/// Leaves this stack for ever and runs `main` on the one that ends at `top`.
///
/// # Safety
///
/// The stack below `top` (16-byte aligned) is mapped, large enough, and not used by code that will run again.
pub(super) unsafe fn run_on(top: u64, main: extern "sysv64" fn() -> !) -> ! {
    // SAFETY: the caller's promise; `main` doesn't return.
    unsafe {
        core::arch::asm!("mov rsp, {}", "xor ebp, ebp", "call {}", "ud2", in(reg) top, in(reg) main, options(noreturn))
    }
}
