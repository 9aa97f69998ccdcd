// SPDX-License-Identifier: GPL-2.0
//! INTx of a device that has migrated: if it was signalled and not unmasked at the source, the
//! destination signals it once, whatever the level, because user space there did not receive it.

use anyhow::{ensure, Context, Result};
use crc32c::crc32c;
use mdev_model::stream::{Header, Interrupt, Tag, END_LEN, HEADER_LEN, INTERRUPT_LEN};
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_SET_ACTION_MASK as MASK, VFIO_IRQ_SET_ACTION_TRIGGER as TRIGGER,
    VFIO_IRQ_SET_ACTION_UNMASK as UNMASK, VFIO_PCI_INTX_IRQ_INDEX as INTX,
    VFIO_PCI_MSI_IRQ_INDEX as MSI,
};

use super::checks::Checks;
use super::session::{capture, load};
use super::target::{Target, Uart};
use crate::vfio::device::Device;
use crate::vfio::irq::Event;
use crate::vfio::migration::State;

/// Interrupt enable: a transmitter that is empty raises the interrupt.
const IER_THRI: u8 = 0x02;

/// Tests streams that say that INTx was signalled, that it was not, or nothing, on each device with
/// INTx, even if the test cannot raise it.
pub fn told(checks: &mut Checks, target: &Target) -> Result<()> {
    let device = target.open()?;
    let stream = capture(&device)?;
    let intx = device.irq(INTX, None).map_or(0, |info| info.count);
    if !target.has_records(&stream) || intx == 0 {
        return Ok(());
    }
    drop(device);
    let interrupt = |intx_signalled| Some(Interrupt { intx_signalled });
    for (says, signals) in [(interrupt(true), 1), (interrupt(false), 0), (None, 1)] {
        let stream = saying(&stream, says)?;
        let device = target.open()?;
        let event = Event::new()?;
        let what = format!("a stream with {says:?}");
        device.connect(INTX, TRIGGER, event.number())?;
        load(&device, &stream)?;
        checks.equal(
            format!("{what}, signals before it runs"),
            event.take(),
            Ok(0),
        );
        settles(checks, &device, &event, &what, signals)?;

        device.reset()?;
        device.set_state(State::Stop)?;
        load(&device, &stream)?;
        device.reset()?;
        checks.equal(
            format!("{what}, signals after a reset"),
            event.take(),
            Ok(0),
        );
        device.disable(INTX)?;

        load(&device, &stream)?;
        device.set_state(State::Running)?;
        device.connect(INTX, TRIGGER, event.number())?;
        settles(
            checks,
            &device,
            &event,
            &format!("{what}, armed late"),
            signals,
        )?;
        device.disable(INTX)?;

        if device.irq(MSI, None).is_ok_and(|info| info.count > 0) {
            device.connect(MSI, TRIGGER, event.number())?;
            load(&device, &stream)?;
            device.set_state(State::Running)?;
            device.disable(MSI)?;
            device.connect(INTX, TRIGGER, event.number())?;
            checks.equal(format!("{what}, signals with MSI"), event.take(), Ok(0));
            device.disable(INTX)?;
        }
    }
    Ok(())
}

/// Tests a card that really signals at the source and has lowered its line before it is saved.
pub fn asserted(checks: &mut Checks, target: &Target, uart: Uart) -> Result<()> {
    for (unmasked, signals) in [(false, 1), (true, 0)] {
        let what = if unmasked { "unmasked" } else { "not unmasked" };
        let device = target.open()?;
        let event = Event::new()?;
        device.connect(INTX, TRIGGER, event.number())?;
        device.write_byte(uart.ier(), IER_THRI)?;
        device.write_byte(uart.ier(), 0)?;
        checks.equal(
            format!("{what}: signals at the source"),
            event.take(),
            Ok(1),
        );
        if unmasked {
            device.act(INTX, UNMASK)?;
            // That of user space is no signal.
            device.act(INTX, MASK)?;
            device.write_byte(uart.ier(), IER_THRI)?;
            device.write_byte(uart.ier(), 0)?;
        }
        let first = capture(&device)?;
        drop(device);

        // Nothing happens at the first destination.
        let device = target.open()?;
        device.connect(INTX, TRIGGER, event.number())?;
        load(&device, &first)?;
        let file = device.set_state(State::StopCopy)?;
        let (second, _) = file
            .context("STOP_COPY came without a file")?
            .read_to_end(first.len())?;
        checks.that(
            format!("{what}: the second hop's stream differs"),
            first == second,
        );
        drop(device);

        let device = target.open()?;
        device.connect(INTX, TRIGGER, event.number())?;
        load(&device, &second)?;
        settles(checks, &device, &event, what, signals)?;
    }
    Ok(())
}

/// Runs the device and requires a number of signals; then it must be silent, also when it runs once
/// more and is unmasked.
fn settles(
    checks: &mut Checks,
    device: &Device,
    event: &Event,
    what: &str,
    signals: u64,
) -> Result<()> {
    device.set_state(State::Running)?;
    checks.equal(
        format!("{what}, signals at the start"),
        event.take(),
        Ok(signals),
    );
    device.set_state(State::Stop)?;
    device.set_state(State::Running)?;
    checks.equal(format!("{what}, signals at the next"), event.take(), Ok(0));
    device.act(INTX, UNMASK)?;
    checks.equal(
        format!("{what}, signals of the unmask"),
        event.take(),
        Ok(0),
    );
    Ok(())
}

/// Returns a stream of the SDK with another INTERRUPT record, or without one.
fn saying(stream: &[u8], interrupt: Option<Interrupt>) -> Result<Vec<u8>> {
    let record = |size: usize, optional, tag| {
        let size = size as u64;
        Header {
            size,
            optional,
            tag,
        }
        .encode()
    };
    let head = record(INTERRUPT_LEN, true, Tag::INTERRUPT);
    let end = stream.len().checked_sub(HEADER_LEN + END_LEN);
    let at = end.and_then(|end| end.checked_sub(HEADER_LEN + INTERRUPT_LEN));
    let at = at.context("the stream is short")?;
    ensure!(
        stream[at..].starts_with(&head),
        "the last record but one is not INTERRUPT"
    );
    let mut out = stream[..at].to_vec();
    if let Some(interrupt) = interrupt {
        out.extend(head);
        out.extend(interrupt.encode());
    }
    let length = out.len() as u64;
    out.extend(record(END_LEN, false, Tag::END));
    out.extend(length.to_le_bytes());
    out.extend(crc32c(&out).to_le_bytes());
    Ok(out)
}
