//! The serial console: input by interrupt, output through the polled port of `hal`, which gives up on a port that never
//! gets ready.
use alloc::boxed::Box;
use base::errno::{Errno, Result};
use base::sync::{Arc, IrqLock, PollQueue};
use hal::bare::console;
use hal::irq;

/// The interrupt line of the first serial port.
const COM1_IRQ: u8 = 4;
/// Bytes of input that are kept until somebody reads them; what comes beyond is lost, as on every UART.
const ROOM: usize = 1024;

/// The first serial port.
pub struct Serial {
    input: IrqLock<arrayvec::ArrayVec<u8, ROOM>>,
    /// Readers; woken at every arrival.
    pub arrived: PollQueue,
}

impl Serial {
    /// Takes the port over for input. Task context, once. Errors: `ENOMEM` if there is no free interrupt vector.
    pub fn start() -> Result<Arc<Serial>> {
        let serial = Arc::new(Serial { input: IrqLock::new(arrayvec::ArrayVec::new()), arrived: PollQueue::new() });
        let port = serial.clone();
        let vector = irq::register(Box::new(move || port.interrupt())).ok_or(Errno::ENOMEM)?;
        irq::route_isa(COM1_IRQ, vector);
        console::enable_input();
        // Bytes that came before the interrupt was on raise none: the line only has edges.
        serial.interrupt();
        Ok(serial)
    }

    /// Empties the port's FIFO: the line falls only then, and rises again with the next byte.
    fn interrupt(&self) {
        let mut input = self.input.lock();
        while let Some(byte) = console::read_byte() {
            let _ = input.try_push(byte);
        }
        drop(input);
        self.arrived.wake_all();
    }

    /// Moves what has arrived into `dst`, at most its length; how many bytes, 0 if nothing. Any context.
    pub fn try_read(&self, dst: &mut [u8]) -> usize {
        let mut input = self.input.lock();
        let n = dst.len().min(input.len());
        for (to, byte) in dst.iter_mut().zip(input.drain(..n)) {
            *to = byte;
        }
        n
    }

    /// Whether a read would find something. Any context.
    pub fn readable(&self) -> bool {
        !self.input.lock().is_empty()
    }

    /// Writes bytes as they are, waiting for room in the port for a bounded time. Any context.
    pub fn write(&self, bytes: &[u8]) {
        console::write_bytes(bytes);
    }
}
