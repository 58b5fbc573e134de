//! PCI configuration space by ports 0xCF8 and 0xCFC, and the memory services the crate `virtio-drivers` asks for.
//!
//! The port mechanism reaches the first 256 bytes of every function, which is where all capabilities used here lie; it
//! needs no firmware table and works alike on PC chipsets old and new.
use super::{paging, sync::SpinLock};
use core::ptr::NonNull;
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction};
use virtio_drivers::{BufferDirection, Hal, PhysAddr};
use x86_64::instructions::port::Port;

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;

/// Orders the pairs "address, then data" of different CPUs. Interrupt handlers do not touch configuration space.
static PORTS: SpinLock<()> = SpinLock::new(());

/// Access to the configuration space of every PCI function.
#[derive(Clone, Copy)]
pub struct ConfigSpace;

/// Selects a word and runs `access` on the data port.
fn with_word<R>(function: DeviceFunction, offset: u8, access: impl FnOnce(&mut Port<u32>) -> R) -> R {
    let address = 1 << 31
        | u32::from(function.bus) << 16
        | u32::from(function.device & 31) << 11
        | u32::from(function.function & 7) << 8
        | u32::from(offset & !3);
    let _guard = PORTS.lock();
    // SAFETY: the two ports of the configuration mechanism; `PORTS` keeps the pair together.
    unsafe { Port::<u32>::new(ADDRESS).write(address) };
    access(&mut Port::new(DATA))
}

impl ConfigurationAccess for ConfigSpace {
    fn read_word(&self, function: DeviceFunction, offset: u8) -> u32 {
        // SAFETY: reading configuration space changes no memory.
        with_word(function, offset, |data| unsafe { data.read() })
    }

    fn write_word(&mut self, function: DeviceFunction, offset: u8, data: u32) {
        // SAFETY: configuration writes move and switch device decoders; drivers write only what they read as registers
        // of the function they own, and address ranges stay as the firmware set them.
        with_word(function, offset, |port| unsafe { port.write(data) });
    }

    unsafe fn unsafe_clone(&self) -> Self {
        *self
    }
}

/// What `virtio-drivers` needs of the machine. Only its transport is used, which maps registers and shares no memory: the
/// queues are our own.
pub struct VirtioHal;

// SAFETY: `dma_alloc` refuses; `mmio_phys_to_virt` gives mappings that live for ever and are no Rust object.
unsafe impl Hal for VirtioHal {
    fn dma_alloc(_pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        // Address 0 is how this interface says "no memory".
        (0, NonNull::dangling())
    }

    unsafe fn dma_dealloc(_paddr: PhysAddr, _vaddr: NonNull<u8>, _pages: usize) -> i32 {
        -1
    }

    unsafe fn mmio_phys_to_virt(paddr: PhysAddr, size: usize) -> NonNull<u8> {
        // The caller has mapped the same range before (`drivers::pci`), so a refusal is no input's doing.
        paging::map_mmio(paddr, size).expect("device registers that were mapped once can be mapped again")
    }

    unsafe fn share(_buffer: NonNull<[u8]>, _direction: BufferDirection) -> PhysAddr {
        unreachable!("the transport shares no memory")
    }

    unsafe fn unshare(_paddr: PhysAddr, _buffer: NonNull<[u8]>, _direction: BufferDirection) {
        unreachable!("the transport shares no memory")
    }
}

/// The address a message-signalled interrupt for the CPU with this APIC id is written to.
pub(super) fn message_address(apic_id: u8) -> u32 {
    0xfee0_0000 | u32::from(apic_id) << 12
}
