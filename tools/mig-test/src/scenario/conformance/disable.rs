// SPDX-License-Identifier: GPL-2.0
//! Interrupt Disable and Interrupt Status, by which drivers that share a line mask and identify
//! their interrupt, as `pci_check_and_mask_intx()` does for uio_pci_generic and vfio-pci.
//!
//! Source: PCI Local Bus Specification 3.0, section 6.2.2 and 6.2.3; `vfio_pci_intx_mask()` and
//! `vfio_pci_intx_unmask()` in `drivers/vfio/pci/vfio_pci_intrs.c`.

use anyhow::Result;
use rustix::io::Errno;
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_SET_ACTION_TRIGGER as TRIGGER, VFIO_IRQ_SET_ACTION_UNMASK as UNMASK,
    VFIO_PCI_CONFIG_REGION_INDEX as CONFIG, VFIO_PCI_INTX_IRQ_INDEX as INTX,
    VFIO_PCI_MSI_IRQ_INDEX as MSI,
};

use super::checks::Checks;
use super::interrupts::IER_THRI;
use super::target::Uart;
use crate::vfio::device::Device;
use crate::vfio::irq::Event;
use crate::vfio::migration::State;

const COMMAND: u64 = 0x04;
const STATUS: u64 = 0x06;
const STATUS_INTERRUPT: u8 = 0x08;
/// I/O space.
const ENABLED: u16 = 0x0001;
/// The same with INTx disabled.
const DISABLED: u16 = 0x0401;

/// The registers of a device's configuration space.
struct Registers<'a> {
    device: &'a Device,
    base: u64,
}

impl Registers<'_> {
    fn command(&self, value: u16) -> Result<(), Errno> {
        let position = self.base + COMMAND;
        let written = self.device.write(position, &value.to_le_bytes());
        written.map(drop)
    }

    fn is_pending(&self) -> Result<bool, Errno> {
        let status = self.device.read_byte(self.base + STATUS)?;
        Ok(status & STATUS_INTERRUPT != 0)
    }
}

/// Tests both bits on a card whose interrupt can be raised and lowered at will.
pub fn test(checks: &mut Checks, device: &Device, uart: Uart) -> Result<()> {
    let base = device.region(CONFIG, None)?.offset;
    let registers = Registers { device, base };
    let event = Event::new()?;
    device.connect(INTX, TRIGGER, event.number())?;
    checks.equal("status of an idle line", registers.is_pending(), Ok(false));
    registers.command(DISABLED)?;
    device.write_byte(uart.ier(), IER_THRI)?;
    checks.equal("signals while disabled", event.take(), Ok(0));
    checks.equal("status while disabled", registers.is_pending(), Ok(true));
    device.act(INTX, UNMASK)?;
    checks.equal("signals of an unmask under it", event.take(), Ok(0));
    registers.command(ENABLED)?;
    checks.equal("signals once enabled", event.take(), Ok(1));
    checks.equal("status once enabled", registers.is_pending(), Ok(true));

    // As a handler does it: disable, and only then say that the interrupt was handled.
    registers.command(DISABLED)?;
    device.act(INTX, UNMASK)?;
    checks.equal("signals after a handler", event.take(), Ok(0));
    device.write_byte(uart.ier(), 0)?;
    checks.equal(
        "status of a dropped line",
        registers.is_pending(),
        Ok(false),
    );
    registers.command(ENABLED)?;
    checks.equal("signals of a dropped line", event.take(), Ok(0));

    device.set_state(State::Stop)?;
    device.write_byte(uart.ier(), IER_THRI)?;
    registers.command(DISABLED)?;
    device.set_state(State::Running)?;
    checks.equal("signals of a start under it", event.take(), Ok(0));
    device.set_state(State::Stop)?;
    registers.command(ENABLED)?;
    checks.equal("signals of a stopped device", event.take(), Ok(0));
    device.set_state(State::Running)?;
    checks.equal("signals of a start without it", event.take(), Ok(1));

    registers.command(DISABLED)?;
    device.reset()?;
    device.act(INTX, UNMASK)?;
    device.write_byte(uart.ier(), IER_THRI)?;
    checks.equal("signals after a reset", event.take(), Ok(1));
    device.disable(INTX)?;
    messages(checks, &registers, uart)?;
    device.reset()?;
    Ok(())
}

/// Tests that Interrupt Disable does not affect MSI.
fn messages(checks: &mut Checks, registers: &Registers<'_>, uart: Uart) -> Result<()> {
    let device = registers.device;
    if device.irq(MSI, None).map_or(0, |info| info.count) == 0 {
        return Ok(());
    }
    device.reset()?;
    let event = Event::new()?;
    device.connect(MSI, TRIGGER, event.number())?;
    registers.command(DISABLED)?;
    device.write_byte(uart.ier(), IER_THRI)?;
    checks.equal("messages while INTx is disabled", event.take(), Ok(1));
    device.disable(MSI)?;
    Ok(())
}
