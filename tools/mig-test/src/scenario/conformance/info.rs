// SPDX-License-Identifier: GPL-2.0
//! The information about a device, its regions and its interrupts, and the errors of invalid calls.

use anyhow::Result;
use rustix::io::Errno;
use vfio_bindings::bindings::vfio::{
    VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_MIGRATION, VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
    VFIO_DEVICE_FEATURE_PROBE, VFIO_DEVICE_FEATURE_SET, VFIO_DEVICE_FLAGS_PCI,
    VFIO_DEVICE_FLAGS_RESET, VFIO_IRQ_INFO_AUTOMASKED, VFIO_IRQ_INFO_EVENTFD,
    VFIO_IRQ_INFO_MASKABLE, VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_INTX_IRQ_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_NUM_REGIONS,
    VFIO_REGION_INFO_FLAG_CAPS, VFIO_REGION_INFO_FLAG_READ,
};

use super::checks::Checks;
use super::source::on_each;
use super::target::Target;
use crate::event::Outcome;
use crate::scenario::Ctx;
use crate::vfio::device::Device;

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    on_each(ctx, test)
}

/// Tests one device.
pub fn test(ctx: &mut Ctx, target: Target) -> Result<Outcome> {
    let device = target.open()?;
    let mut checks = Checks::default();

    let info = device.info(None)?;
    checks.that("not a PCI device", info.flags & VFIO_DEVICE_FLAGS_PCI != 0);
    // Without it a reboot of the guest does not reset the device.
    checks.that(
        "no VFIO_DEVICE_FLAGS_RESET",
        info.flags & VFIO_DEVICE_FLAGS_RESET != 0,
    );
    checks.that(
        "fewer regions than PCI has",
        info.regions > VFIO_PCI_CONFIG_REGION_INDEX,
    );
    checks.that(
        "fewer interrupts than PCI has",
        info.irqs > VFIO_PCI_MSIX_IRQ_INDEX,
    );
    for short in [0, 15] {
        let result = device.info(Some(short));
        checks.refused(format!("GET_INFO of {short} bytes"), result, Errno::INVAL);
    }
    regions(&mut checks, &device, info.regions)?;
    interrupts(&mut checks, &device, info.irqs)?;
    features(&mut checks, &device);
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

fn regions(checks: &mut Checks, device: &Device, count: u32) -> Result<()> {
    let mut ends: Vec<(u64, u64)> = Vec::new();
    for index in 0..count {
        let region = match device.region(index, None) {
            Ok(region) => region,
            // QEMU asks for BARs and configuration space and demands an answer; the rest is
            // optional.
            Err(error) => {
                let demanded = index < VFIO_PCI_NUM_REGIONS
                    && (index < 6 || index == VFIO_PCI_CONFIG_REGION_INDEX);
                checks.that(format!("region {index}: {error:?}"), !demanded);
                continue;
            }
        };
        let span = (region.offset, region.offset + region.size);
        let apart = ends
            .iter()
            .all(|(start, end)| span.0 >= *end || span.1 <= *start);
        checks.that(format!("region {index} overlaps another"), apart);
        ends.push(span);
        if region.flags & VFIO_REGION_INFO_FLAG_CAPS != 0 {
            // The answer did not fit; asked with room for it, it must.
            let again = device.region(index, Some(region.argsz));
            checks.that(
                format!("region {index} with its capabilities"),
                again.is_ok(),
            );
        }
        checks.refused(
            format!("region {index}, short"),
            device.region(index, Some(31)),
            Errno::INVAL,
        );
    }
    let config = device.region(VFIO_PCI_CONFIG_REGION_INDEX, None)?;
    checks.that(
        format!("configuration space of {} bytes", config.size),
        matches!(config.size, 256 | 4096),
    );
    checks.that(
        "unreadable configuration",
        config.flags & VFIO_REGION_INFO_FLAG_READ != 0,
    );
    for index in [count, count + 1, u32::MAX] {
        checks.refused(
            format!("region {index}"),
            device.region(index, None),
            Errno::INVAL,
        );
    }
    Ok(())
}

fn interrupts(checks: &mut Checks, device: &Device, count: u32) -> Result<()> {
    let intx = device.irq(VFIO_PCI_INTX_IRQ_INDEX, None)?;
    if intx.count > 0 {
        let wanted = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED;
        checks.equal("flags of INTx", intx.flags & wanted, wanted);
        checks.equal("interrupts of INTx", intx.count, 1);
    }
    if let Ok(msi) = device.irq(VFIO_PCI_MSI_IRQ_INDEX, None) {
        let eventfd = msi.count == 0 || msi.flags & VFIO_IRQ_INFO_EVENTFD != 0;
        checks.that("MSI without eventfd", eventfd);
    }
    for index in [count, u32::MAX] {
        checks.refused(
            format!("interrupt {index}"),
            device.irq(index, None),
            Errno::INVAL,
        );
    }
    for short in [0, 15] {
        let result = device.irq(VFIO_PCI_INTX_IRQ_INDEX, Some(short));
        checks.refused(
            format!("GET_IRQ_INFO of {short} bytes"),
            result,
            Errno::INVAL,
        );
    }
    Ok(())
}

fn features(checks: &mut Checks, device: &Device) {
    const GET: u32 = VFIO_DEVICE_FEATURE_GET;
    const SET: u32 = VFIO_DEVICE_FEATURE_SET;
    const PROBE: u32 = VFIO_DEVICE_FEATURE_PROBE;
    const STATE: u32 = VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;
    const MIGRATION: u32 = VFIO_DEVICE_FEATURE_MIGRATION;
    let mut feature = |what: &str, flags: u32, argsz: Option<u32>, wanted: Result<(), Errno>| {
        let found = device.feature(flags, &[0; 8], argsz).map(drop);
        checks.equal(format!("feature: {what}"), found, wanted);
    };
    feature(
        "probe of the state",
        PROBE | GET | SET | STATE,
        None,
        Ok(()),
    );
    feature("probe of MIGRATION", PROBE | GET | MIGRATION, None, Ok(()));
    feature(
        "probe of setting MIGRATION",
        PROBE | SET | MIGRATION,
        None,
        Err(Errno::INVAL),
    );
    feature(
        "setting MIGRATION",
        SET | MIGRATION,
        None,
        Err(Errno::INVAL),
    );
    feature(
        "GET and SET at once",
        GET | SET | STATE,
        None,
        Err(Errno::INVAL),
    );
    feature("neither GET nor SET", STATE, None, Err(Errno::INVAL));
    feature("a short state", GET | STATE, Some(15), Err(Errno::INVAL));
    feature(
        "shorter than its header",
        GET | STATE,
        Some(7),
        Err(Errno::INVAL),
    );
    feature(
        "one that is not known",
        GET | 0xffff,
        None,
        Err(Errno::NOTTY),
    );
}
