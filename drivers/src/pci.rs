//! Finding disks on the PCI bus and bringing them up.
//!
//! A virtio block device has vendor 0x1af4 and device 0x1042, or 0x1001 where it also speaks the interface from before
//! version 1 (which is not used). Disks are named `vda`, `vdb`, ... in the order of their addresses on the bus.
use crate::virtio::blk::{Params, VirtioBlk};
use crate::virtio::transport::{CONFIG_ENTRY, MsixTransport, queue_entry};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use base::errno::{Errno, Result};
use base::sync::Arc;
use base::{sched, time};
use hal::bare::msi::MsixTable;
use hal::bare::pci::{ConfigSpace, VirtioHal};
use hal::bare::smp;
use hal::irq;
use hal::mmio::Mmio;
use spin::Once;
use virtio_drivers::transport::DeviceType;
use virtio_drivers::transport::pci::bus::{
    Command, ConfigurationAccess, DeviceFunction, HeaderType, PCI_CAP_ID_VNDR, PciRoot,
};
use virtio_drivers::transport::pci::{
    PciTransport, VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_CAP_NOTIFY_CFG, virtio_device_type,
};

/// A disk of this machine.
pub type Disk = VirtioBlk<MsixTransport<PciTransport>>;

/// Register of a bridge that names the buses on its two sides.
const BRIDGE_BUSES: u8 = 0x18;

/// How often a disk's task looks for requests that have timed out.
pub(crate) const WATCH_NS: u64 = 1_000_000_000;

/// The disks of this machine, once they were looked for.
static DISKS: Once<Vec<Arc<Disk>>> = Once::new();

/// The disks of this machine. The first call finds every virtio block device, starts it, names it and gives it a task that
/// watches it, all with its `params`; later calls return the same disks. A device that cannot be driven is logged and
/// left out; its name is not given to another. Task context.
pub fn probe_disks(params: Params) -> &'static [Arc<Disk>] {
    DISKS.call_once(|| find_disks(params))
}

fn find_disks(params: Params) -> Vec<Arc<Disk>> {
    let mut root = PciRoot::new(ConfigSpace);
    let mut disks = Vec::new();
    for (index, function) in block_devices(&root).into_iter().enumerate() {
        let name = disk_name(index);
        match bring_up(&mut root, function, name.clone(), params) {
            Ok(disk) => {
                announce(&disk, function);
                disks.push(disk);
            }
            Err(error) => log::error!("pci {function}: {name}: cannot be started: {error}"),
        }
    }
    disks
}

/// Every virtio block device, in the order of buses and device numbers.
fn block_devices(root: &PciRoot<ConfigSpace>) -> Vec<DeviceFunction> {
    let mut found = Vec::new();
    let mut buses = Vec::from([0u8]);
    let mut next = 0;
    while let Some(&bus) = buses.get(next) {
        next += 1;
        for (function, info) in root.enumerate_bus(bus) {
            if info.header_type == HeaderType::PciPciBridge {
                let behind = (ConfigSpace.read_word(function, BRIDGE_BUSES) >> 8) as u8;
                // An unset or looping bridge must not send the walk in circles.
                if behind > bus && !buses.contains(&behind) {
                    buses.push(behind);
                }
            } else if virtio_device_type(&info) == Some(DeviceType::Block) {
                found.push(function);
            }
        }
    }
    found.sort();
    found
}

/// Starts one device. Errors: `ENODEV` if it lacks a capability; `ENOMEM`; those of [`VirtioBlk::new`] and
/// [`VirtioBlk::start`].
fn bring_up(
    root: &mut PciRoot<ConfigSpace>,
    function: DeviceFunction,
    name: String,
    params: Params,
) -> Result<Arc<Disk>> {
    let (_, command) = root.get_status_command(function);
    let wanted = Command::MEMORY_SPACE | Command::BUS_MASTER | Command::INTERRUPT_DISABLE;
    root.set_command(function, command | wanted);
    // Our own mappings come first: they are checked, the transport's are not.
    let (common, _) = registers(root, function, VIRTIO_PCI_CAP_COMMON_CFG)?;
    let (notify, notify_multiplier) = registers(root, function, VIRTIO_PCI_CAP_NOTIFY_CFG)?;
    let msix = MsixTable::find(root, function).filter(|t| t.entries() > queue_entry(0)).ok_or(Errno::ENODEV)?;
    let inner = PciTransport::new::<VirtioHal, _>(root, function).map_err(|error| {
        log::error!("pci {function}: {error}");
        Errno::ENODEV
    })?;
    let transport = MsixTransport::new(inner, common, notify, notify_multiplier)?;
    let disk = Arc::new(Disk::new(name, transport, Params { queues: most_queues(&msix, params.queues), ..params })?);
    bind(&msix, &disk)?;
    let watched = disk.clone();
    sched::spawn("disk-watch", Box::new(move || watch(&watched)))?;
    disk.start()?;
    Ok(disk)
}

/// The disk's task: see the front page of `virtio::blk`.
fn watch(disk: &Disk) {
    loop {
        disk.wait_for_attention(time::now_ns().saturating_add(WATCH_NS));
        disk.check_timeouts(time::now_ns());
    }
}

/// How many queues are of use: each has a CPU, an entry of the table and a vector of its own.
fn most_queues(msix: &MsixTable, wanted: u16) -> u16 {
    let entries = msix.entries() - queue_entry(0);
    // One is for configuration changes. Without any, `bind` says so.
    let vectors = irq::free_vectors().saturating_sub(1).max(1);
    entries.min(wanted).min(smp::expected().min(vectors) as u16)
}

/// Leads the device's interrupts to the driver: that of a queue to the CPU that submits to it, or of those the first. CPUs are not
/// running yet, and send no requests, from which an interrupt could come; they are started in the order of their numbers, so the
/// first of those that share a queue runs if any of them does. The handlers keep the disk for ever.
fn bind(msix: &MsixTable, disk: &Arc<Disk>) -> Result<()> {
    const BOOT_CPU: usize = 0;
    for queue in 0..disk.queues() as u16 {
        let on_queue = disk.clone();
        let vector = irq::register(Box::new(move || on_queue.interrupt(queue))).ok_or(Errno::ENOMEM)?;
        bind_one(msix, queue_entry(queue), vector, queue.into())?;
    }
    let on_config = disk.clone();
    let vector = irq::register(Box::new(move || on_config.config_changed())).ok_or(Errno::ENOMEM)?;
    bind_one(msix, CONFIG_ENTRY, vector, BOOT_CPU)?;
    msix.enable();
    Ok(())
}

fn bind_one(msix: &MsixTable, entry: u16, vector: u8, cpu: usize) -> Result<()> {
    if msix.bind(entry, vector, cpu) { Ok(()) } else { Err(Errno::EIO) }
}

/// Maps the virtio structure `kind` of the device: its registers, and the word after the capability (the multiplier, for the
/// notification area). Errors: `ENODEV` if it has none or it lies outside its BAR; `ENOMEM`.
fn registers(root: &mut PciRoot<ConfigSpace>, function: DeviceFunction, kind: u8) -> Result<(Mmio, u32)> {
    let capability = root
        .capabilities(function)
        .find(|c| c.id == PCI_CAP_ID_VNDR && (c.private_header >> 8) as u8 == kind)
        .filter(|c| c.offset <= 0xe8)
        .ok_or(Errno::ENODEV)?;
    let word = |n: u8| ConfigSpace.read_word(function, capability.offset + 4 * n);
    let (bar, offset, len) = (word(1) as u8, u64::from(word(2)), u64::from(word(3)));
    let info = root.bar_info(function, bar).ok().flatten().ok_or(Errno::ENODEV)?;
    let (start, size) = info.memory_address_size().ok_or(Errno::ENODEV)?;
    let inside = start != 0 && offset.checked_add(len).is_some_and(|end| end <= size);
    let phys = start.checked_add(offset).filter(|_| inside).ok_or(Errno::ENODEV)?;
    let multiplier = if capability.private_header as u8 >= 20 { word(4) } else { 0 };
    Ok((Mmio::map(phys, len as usize).ok_or(Errno::ENOMEM)?, multiplier))
}

/// One line about a disk, with its durability (DUR-3).
fn announce(disk: &Disk, function: DeviceFunction) {
    use base::block::BlockDevice as _;
    let limits = disk.limits();
    log::info!(
        "{}: pci {function}, {} MiB, {}-byte blocks, queues: {} of {} requests of {} segments, writes durable: {:?}{}",
        disk.name(),
        limits.capacity_sectors / 2048,
        limits.logical_block_size,
        disk.queues(),
        disk.queue_size(),
        limits.max_segments,
        disk.durability(),
        if limits.read_only { ", read-only" } else { "" },
    );
}

/// `vda` to `vdz`, then `vdaa`.
fn disk_name(index: usize) -> String {
    let mut letters = Vec::new();
    let mut rest = index;
    loop {
        letters.push(char::from(b'a' + (rest % 26) as u8));
        match (rest / 26).checked_sub(1) {
            Some(next) => rest = next,
            None => break,
        }
    }
    core::iter::once("vd").map(String::from).chain(letters.into_iter().rev().map(String::from)).collect()
}
