// SPDX-License-Identifier: GPL-2.0
//! Interrupts: invalid VFIO_DEVICE_SET_IRQS calls, and ranges of vectors; with a sample card,
//! whose interrupt can be raised and lowered at will, the level semantics of INTx and the messages
//! of MSI; INTx of a device that has migrated.

use std::os::fd::AsRawFd;

use anyhow::Result;
use rustix::io::Errno;
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_INFO_MASKABLE, VFIO_IRQ_SET_ACTION_MASK as MASK,
    VFIO_IRQ_SET_ACTION_TRIGGER as TRIGGER, VFIO_IRQ_SET_ACTION_UNMASK as UNMASK,
    VFIO_IRQ_SET_DATA_BOOL as BOOL, VFIO_IRQ_SET_DATA_EVENTFD as EVENTFD,
    VFIO_IRQ_SET_DATA_NONE as NONE, VFIO_PCI_INTX_IRQ_INDEX as INTX,
    VFIO_PCI_MSIX_IRQ_INDEX as MSIX, VFIO_PCI_MSI_IRQ_INDEX as MSI,
};

use super::checks::Checks;
use super::source::on_each;
use super::target::{Target, Uart};
use super::{disable, moved_intx, ranges};
use crate::event::Outcome;
use crate::scenario::Ctx;
use crate::vfio::device::{Device, IrqInfo};
use crate::vfio::irq::{Event, SetIrqs};
use crate::vfio::migration::State;

/// Interrupt enable: a transmitter that is empty raises the interrupt.
pub const IER_THRI: u8 = 0x02;

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    on_each(ctx, test)
}

/// Tests one device.
pub fn test(ctx: &mut Ctx, target: Target) -> Result<Outcome> {
    let device = target.open()?;
    let mut checks = Checks::default();
    ctx.step("bad calls");
    bad_calls(&mut checks, &device)?;
    ctx.step("ranges of vectors");
    ranges::test(&mut checks, &device)?;
    device.reset()?;
    if let Some(uart) = target.uart(&device)? {
        ctx.step("INTx");
        intx(&mut checks, &device, uart)?;
        stopped(&mut checks, &device, uart)?;
        if target.is_ours {
            // mainline's C sample knows neither of the two bits.
            ctx.step("Interrupt Disable and Interrupt Status");
            disable::test(&mut checks, &device, uart)?;
        }
        ctx.step("MSI");
        msi(&mut checks, &device, uart)?;
    }
    let uart = target.uart(&device)?;
    drop(device);
    ctx.step("INTx of a device that has moved");
    moved_intx::told(&mut checks, &target)?;
    if let (Some(uart), true) = (uart, target.is_ours) {
        moved_intx::asserted(&mut checks, &target, uart)?;
    }
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

/// Returns the first kind of interrupt that the device has.
fn first(device: &Device) -> Option<(u32, IrqInfo)> {
    let all = [INTX, MSI, MSIX].map(|index| Some((index, device.irq(index, None).ok()?)));
    all.into_iter().flatten().find(|(_, info)| info.count > 0)
}

fn bad_calls(checks: &mut Checks, device: &Device) -> Result<()> {
    let irqs = device.info(None)?.irqs;
    let Some((index, info)) = first(device) else {
        return Ok(());
    };
    let event = Event::new()?;
    let good = SetIrqs {
        flags: EVENTFD | TRIGGER,
        index,
        count: 1,
        data: event.number().to_ne_bytes().to_vec(),
        ..SetIrqs::default()
    };
    let none = SetIrqs {
        flags: NONE | TRIGGER,
        index,
        count: 1,
        ..SetIrqs::default()
    };
    let bad = |change: fn(&mut SetIrqs), of: &SetIrqs| {
        let mut set = of.clone();
        change(&mut set);
        set
    };
    let mut calls = vec![
        (
            "shorter than its header",
            bad(|set| set.argsz = Some(19), &good),
        ),
        (
            "shorter than its data",
            bad(|set| set.argsz = Some(22), &good),
        ),
        (
            "an index far too high",
            bad(|set| set.index = u32::MAX, &good),
        ),
        (
            "a count that overflows",
            bad(|set| (set.start, set.count) = (1, u32::MAX), &none),
        ),
        ("an unknown flag", bad(|set| set.flags |= 1 << 6, &none)),
        ("two kinds of data", bad(|set| set.flags |= BOOL, &none)),
        ("no kind of data", bad(|set| set.flags = TRIGGER, &none)),
        ("a trigger of what is not set up", none.clone()),
    ];
    let (mut beyond, mut behind, mut more) = (good.clone(), good.clone(), good.clone());
    beyond.index = irqs;
    behind.start = info.count;
    more.count = info.count + 1;
    more.data = vec![0xff; 4 * more.count as usize];
    calls.extend([
        ("an index too high", beyond),
        ("a start too high", behind),
        ("a count too high", more),
    ]);
    if info.flags & VFIO_IRQ_INFO_MASKABLE != 0 {
        calls.extend([
            (
                "a mask of what is not set up",
                bad(|set| set.flags = NONE | MASK, &none),
            ),
            (
                "an unmask of what is not set up",
                bad(|set| set.flags = NONE | UNMASK, &none),
            ),
        ]);
    }
    let no_event = std::fs::File::open("/dev/null")?;
    let mut not_event = good.clone();
    not_event.data = no_event.as_raw_fd().to_ne_bytes().to_vec();
    calls.push(("no eventfd", not_event));
    for (what, set) in calls {
        let what = format!("SET_IRQS of index {index}, {what}");
        checks.refused(what, device.set_irqs(&set), Errno::INVAL);
    }
    let not_open = bad(|set| set.data = 9999i32.to_ne_bytes().to_vec(), &good);
    checks.refused(
        "SET_IRQS, a closed fd",
        device.set_irqs(&not_open),
        Errno::BADF,
    );
    checks.equal("SET_IRQS after all of them", device.set_irqs(&good), Ok(()));
    checks.equal("trigger by hand", device.set_irqs(&none), Ok(()));
    checks.equal("signals of it", event.take(), Ok(1));
    checks.equal("switching it off", device.disable(index), Ok(()));
    device.reset()?;
    Ok(())
}

/// Tests the level: signalled once, silent until unmasked, then signalled again if still asserted.
fn intx(checks: &mut Checks, device: &Device, uart: Uart) -> Result<()> {
    let (event, unmask) = (Event::new()?, Event::new()?);
    device.connect(INTX, TRIGGER, event.number())?;
    checks.equal("signals of an idle line", event.take(), Ok(0));
    device.write_byte(uart.ier(), IER_THRI)?;
    checks.equal("signals of an asserted line", event.take(), Ok(1));
    device.write_byte(uart.ier(), 0)?;
    device.write_byte(uart.ier(), IER_THRI)?;
    checks.equal("signals while automasked", event.take(), Ok(0));
    checks.equal("unmask", device.act(INTX, UNMASK), Ok(()));
    checks.equal(
        "signals of what was asserted meanwhile",
        event.take(),
        Ok(1),
    );
    device.write_byte(uart.ier(), 0)?;
    checks.equal("unmask of an idle line", device.act(INTX, UNMASK), Ok(()));
    checks.equal("signals of it", event.take(), Ok(0));

    checks.equal("mask", device.act(INTX, MASK), Ok(()));
    device.write_byte(uart.ier(), IER_THRI)?;
    checks.equal("signals while masked", event.take(), Ok(0));
    device.act(INTX, UNMASK)?;
    checks.equal("signals once unmasked", event.take(), Ok(1));

    let connected = device.connect(INTX, UNMASK, unmask.number());
    checks.equal("unmask by eventfd", connected, Ok(()));
    for round in 0..if connected.is_ok() { 3 } else { 0 } {
        unmask.signal()?;
        checks.equal(
            format!("signal {round} after an unmask by eventfd"),
            event.await_signal(),
            Ok(1),
        );
    }
    checks.equal(
        "no unmask by eventfd",
        device.connect(INTX, UNMASK, -1),
        Ok(()),
    );
    device.write_byte(uart.ier(), 0)?;
    checks.equal("switching it off", device.disable(INTX), Ok(()));
    device.write_byte(uart.ier(), IER_THRI)?;
    checks.equal("signals of what is switched off", event.take(), Ok(0));
    // The line is still asserted when somebody listens anew.
    device.connect(INTX, TRIGGER, event.number())?;
    checks.equal(
        "signals of a line that is asserted already",
        event.take(),
        Ok(1),
    );
    device.disable(INTX)?;
    device.reset()?;
    Ok(())
}

/// Tests that a stopped device raises no interrupt until it runs again.
fn stopped(checks: &mut Checks, device: &Device, uart: Uart) -> Result<()> {
    let event = Event::new()?;
    device.connect(INTX, TRIGGER, event.number())?;
    device.set_state(State::Stop)?;
    device.write_byte(uart.ier(), IER_THRI)?;
    checks.equal("signals of a stopped device", event.take(), Ok(0));
    device.set_state(State::Running)?;
    checks.equal("signals once it runs", event.take(), Ok(1));
    device.disable(INTX)?;
    device.reset()?;
    Ok(())
}

fn msi(checks: &mut Checks, device: &Device, uart: Uart) -> Result<()> {
    if device.irq(MSI, None).map_or(0, |info| info.count) == 0 {
        return Ok(());
    }
    let event = Event::new()?;
    device.connect(MSI, TRIGGER, event.number())?;
    let other = device.connect(INTX, TRIGGER, event.number());
    checks.refused("INTx while MSI is in use", other, Errno::INVAL);
    for round in 0..3 {
        device.write_byte(uart.ier(), IER_THRI)?;
        checks.equal(format!("message {round}"), event.take(), Ok(1));
        device.write_byte(uart.ier(), 0)?;
        // Reading the cause clears it.
        device.read_byte(uart.iir())?;
    }
    checks.refused("mask of MSI", device.act(MSI, MASK), Errno::NOTTY);
    checks.equal("switching MSI off", device.disable(MSI), Ok(()));
    device.write_byte(uart.ier(), IER_THRI)?;
    checks.equal("messages of what is switched off", event.take(), Ok(0));
    device.reset()?;
    Ok(())
}
