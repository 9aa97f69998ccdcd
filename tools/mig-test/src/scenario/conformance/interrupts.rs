// SPDX-License-Identifier: GPL-2.0
//! Interrupts: bad VFIO_DEVICE_SET_IRQS calls, and with a sample card, whose interrupt can be raised
//! and dropped at will, the level semantics of INTx and the messages of MSI.

use anyhow::Result;
use rustix::io::Errno;
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_SET_ACTION_MASK as MASK, VFIO_IRQ_SET_ACTION_TRIGGER as TRIGGER,
    VFIO_IRQ_SET_ACTION_UNMASK as UNMASK, VFIO_IRQ_SET_DATA_BOOL as BOOL,
    VFIO_IRQ_SET_DATA_EVENTFD as EVENTFD, VFIO_IRQ_SET_DATA_NONE as NONE,
    VFIO_PCI_INTX_IRQ_INDEX as INTX, VFIO_PCI_MSI_IRQ_INDEX as MSI,
};

use super::checks::Checks;
use super::target::{Target, Uart};
use crate::event::Outcome;
use crate::scenario::Ctx;
use crate::vfio::device::Device;
use crate::vfio::irq::{Event, SetIrqs};
use crate::vfio::migration::State;

/// Interrupt enable: a transmitter that is empty raises the interrupt.
const IER_THRI: u8 = 0x02;

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    let target = Target::prepare(ctx)?;
    let device = target.open()?;
    let mut checks = Checks::default();
    ctx.step("bad calls");
    bad_calls(&mut checks, &device)?;
    if let Some(uart) = target.uart(&device)? {
        ctx.step("INTx");
        intx(&mut checks, &device, uart)?;
        stopped(&mut checks, &device, uart)?;
        ctx.step("MSI");
        msi(&mut checks, &device, uart)?;
    }
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

fn bad_calls(checks: &mut Checks, device: &Device) -> Result<()> {
    let irqs = device.info(None)?.irqs;
    let event = Event::new()?;
    let fd = event.number().to_ne_bytes().to_vec();
    let good = SetIrqs {
        flags: EVENTFD | TRIGGER,
        index: INTX,
        count: 1,
        data: fd,
        ..SetIrqs::default()
    };
    let none = SetIrqs {
        flags: NONE | TRIGGER,
        index: INTX,
        count: 1,
        ..SetIrqs::default()
    };
    let mut bad = |what: &str, set: SetIrqs| {
        checks.refused(
            format!("SET_IRQS, {what}"),
            device.set_irqs(&set),
            Errno::INVAL,
        );
    };
    bad(
        "shorter than its header",
        SetIrqs {
            argsz: Some(19),
            ..good.clone()
        },
    );
    bad(
        "shorter than its data",
        SetIrqs {
            argsz: Some(22),
            ..good.clone()
        },
    );
    bad(
        "an index too high",
        SetIrqs {
            index: irqs,
            ..good.clone()
        },
    );
    bad(
        "an index far too high",
        SetIrqs {
            index: u32::MAX,
            ..good.clone()
        },
    );
    bad(
        "a start too high",
        SetIrqs {
            start: 1,
            ..good.clone()
        },
    );
    bad(
        "a count too high",
        SetIrqs {
            count: 2,
            data: [0xff; 8].to_vec(),
            ..good.clone()
        },
    );
    bad(
        "a count that overflows",
        SetIrqs {
            start: 1,
            count: u32::MAX,
            ..none.clone()
        },
    );
    bad(
        "an unknown flag",
        SetIrqs {
            flags: NONE | TRIGGER | 1 << 6,
            ..none.clone()
        },
    );
    bad(
        "two kinds of data",
        SetIrqs {
            flags: NONE | BOOL | TRIGGER,
            ..none.clone()
        },
    );
    bad(
        "no kind of data",
        SetIrqs {
            flags: TRIGGER,
            ..none.clone()
        },
    );
    bad("a trigger of what is not set up", none.clone());
    bad(
        "a mask of what is not set up",
        SetIrqs {
            flags: NONE | MASK,
            ..none.clone()
        },
    );
    bad(
        "an unmask of what is not set up",
        SetIrqs {
            flags: NONE | UNMASK,
            ..none.clone()
        },
    );
    let not_open = SetIrqs {
        data: 9999i32.to_ne_bytes().to_vec(),
        ..good.clone()
    };
    checks.refused(
        "SET_IRQS, a closed fd",
        device.set_irqs(&not_open),
        Errno::BADF,
    );
    let no_event = std::fs::File::open("/dev/null")?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&no_event)
        .to_ne_bytes()
        .to_vec();
    let not_event = SetIrqs {
        data: number,
        ..good.clone()
    };
    checks.refused(
        "SET_IRQS, no eventfd",
        device.set_irqs(&not_event),
        Errno::INVAL,
    );
    checks.equal("SET_IRQS after all of them", device.set_irqs(&good), Ok(()));
    checks.equal("trigger by hand", device.set_irqs(&none), Ok(()));
    checks.equal("signals of it", event.take(), Ok(1));
    checks.equal("switching it off", device.disable(INTX), Ok(()));
    device.reset()?;
    Ok(())
}

/// A level: signalled once, silent until unmasked, signalled again if still asserted then.
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

/// A stopped device raises no interrupt, and catches up when it runs again.
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
