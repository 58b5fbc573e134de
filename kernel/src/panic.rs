//! Last words.

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    hal::bare::power::exit(1)
}
