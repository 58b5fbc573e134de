//! Host backends: the API of the hardware on threads of the host.
pub mod dma;
pub mod irq;
pub mod mem;
pub mod mmio;
pub mod sync;
pub mod thread;
pub mod time;
pub mod user;
