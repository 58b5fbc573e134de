//! The ELF entry, for loaders that enter in long mode with `BootInfo` made.
use bootloader_api::BootloaderConfig;
use bootloader_api::config::Mapping;

static CONFIG: BootloaderConfig = {
    let mut config = BootloaderConfig::new_default();
    // The same place as after a PVH boot.
    config.mappings.physical_memory = Some(Mapping::FixedAddress(0xffff_8000_0000_0000));
    // The loader's own mappings have to stay out of the user half.
    config.mappings.dynamic_range_start = Some(0xffff_9000_0000_0000);
    config.mappings.dynamic_range_end = Some(0xffff_9fff_ffff_ffff);
    config.kernel_stack_size = 256 * 1024;
    config
};

bootloader_api::entry_point!(kernel::kernel_main, config = &CONFIG);
