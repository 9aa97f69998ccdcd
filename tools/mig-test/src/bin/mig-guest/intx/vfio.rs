// SPDX-License-Identifier: GPL-2.0
//! vfio-pci of the guest: INTx signals an eventfd and is masked, the program unmasks it.

use std::io;
use std::path::Path;

use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_ACTION_UNMASK, VFIO_PCI_BAR0_REGION_INDEX,
    VFIO_PCI_INTX_IRQ_INDEX,
};

use super::Handed;
use crate::pci;
use crate::vfio::device::Device;
use crate::vfio::irq::Event;
use mig_common::modules;

/// A device that vfio-pci has.
pub struct Vfio {
    event: Event,
    device: Device,
    /// Where its first BAR is in the device file.
    ports: u64,
}

impl Vfio {
    /// Takes the device in a sysfs folder from its driver.
    pub fn start(path: &Path) -> io::Result<Vfio> {
        pci::bind(path, "vfio-pci", modules::VFIO)?;
        let device = Device::open(path).map_err(|error| io::Error::other(format!("{error:#}")))?;
        let ports = device.region(VFIO_PCI_BAR0_REGION_INDEX, None)?.offset;
        let event = Event::new()?;
        device.connect(
            VFIO_PCI_INTX_IRQ_INDEX,
            VFIO_IRQ_SET_ACTION_TRIGGER,
            event.number(),
        )?;
        Ok(Vfio {
            event,
            device,
            ports,
        })
    }
}

impl Handed for Vfio {
    fn read(&self, register: u64) -> io::Result<u8> {
        Ok(self.device.read_byte(self.ports + register)?)
    }

    fn write(&self, register: u64, value: u8) -> io::Result<()> {
        Ok(self.device.write_byte(self.ports + register, value)?)
    }

    fn await_interrupts(&mut self) -> io::Result<u64> {
        Ok(self.event.await_signal()?)
    }

    fn take_interrupts(&mut self) -> io::Result<u64> {
        Ok(self.event.take()?)
    }

    fn enable(&self) -> io::Result<()> {
        Ok(self
            .device
            .act(VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_UNMASK)?)
    }
}
