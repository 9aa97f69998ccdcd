// SPDX-License-Identifier: GPL-2.0
//! Making and removing devices and modules: limits, invalid writes, and objects in use.

use std::io;
use std::path::Path;
use std::thread;

use anyhow::{ensure, Context, Result};
use rustix::io::Errno;
use vfio_bindings::bindings::vfio::{VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_PCI_REQ_IRQ_INDEX};

use super::bed::{load, unload, Bed, Card, MTTY_RS, ONE_PORT, TWO_PORTS};
use super::conformance::checks::Checks;
use super::Ctx;
use crate::event::Outcome;
use crate::mdev::{random_uuid, Mdev, MdevType};
use crate::qemu::vm::Role;
use crate::vfio::device::Device;
use crate::vfio::irq::Event;

/// The limit of ports of all cards together, as in mainline's mtty.
const PORTS: u32 = 24;

fn errno(result: io::Result<()>) -> Option<Errno> {
    result.err().and_then(|error| Errno::from_io_error(&error))
}

/// Tests the limit of ports, and the writes that sysfs must refuse.
pub fn limits(ctx: &mut Ctx) -> Result<Outcome> {
    load(MTTY_RS.module)?;
    let one = MdevType::find(MTTY_RS.parent, ONE_PORT)?;
    let two = MdevType::find(MTTY_RS.parent, TWO_PORTS)?;
    let mut checks = Checks::default();

    ctx.step("attributes");
    checks.equal(
        "device_api",
        one.attribute("device_api")?.as_str(),
        "vfio-pci",
    );
    checks.that("an empty name", !one.attribute("name")?.is_empty());
    checks.that(
        "an empty description",
        !one.attribute("description")?.is_empty(),
    );

    ctx.step(format!("{PORTS} ports and no more"));
    let mut cards: Vec<Mdev> = Vec::new();
    for taken in 0..PORTS {
        let left = (PORTS - taken, (PORTS - taken) / 2);
        checks.equal(
            format!("free with {taken} ports"),
            (one.available()?, two.available()?),
            left,
        );
        cards.push(one.create()?);
    }
    checks.equal(
        "free with all ports",
        (one.available()?, two.available()?),
        (0, 0),
    );
    for kind in [&one, &two] {
        let result = kind.write_create(&random_uuid()?);
        checks.equal("one card too many", errno(result), Some(Errno::NOSPC));
    }
    cards.pop();
    checks.equal(
        "free with a card removed",
        (one.available()?, two.available()?),
        (1, 0),
    );
    let result = two.write_create(&random_uuid()?);
    checks.equal(
        "two ports where one is free",
        errno(result),
        Some(Errno::NOSPC),
    );
    cards.clear();
    checks.equal(
        "free with no card",
        (one.available()?, two.available()?),
        (PORTS, PORTS / 2),
    );

    ctx.step("bad writes");
    for bad in [
        "",
        "\n",
        "card",
        "00000000-0000-0000-0000-00000000000",
        &"f".repeat(5000),
    ] {
        let result = one.write_create(bad);
        // An empty write does not get as far as the driver core.
        let wanted = (!bad.is_empty()).then_some(Errno::INVAL);
        let name = &bad[..bad.len().min(12)];
        checks.equal(format!("creating {name:?}"), errno(result), wanted);
    }
    let card = one.create()?;
    let twin = one.write_create(&card.uuid);
    checks.equal("creating a twin", errno(twin), Some(Errno::EXIST));
    checks.equal(
        "removing with \"x\"",
        errno(card.write_remove("x")),
        Some(Errno::INVAL),
    );
    checks.equal("free with one card", one.available()?, PORTS - 1);
    checks.that("the card is gone", card.path().exists());
    Ok(checks.outcome())
}

/// Tests that a module cannot be unloaded while its device is in use, and can be loaded again
/// afterwards.
pub fn module_in_use(ctx: &mut Ctx) -> Result<Outcome> {
    load("vfio_iommu_type1")?;
    load(MTTY_RS.module)?;
    let card = Card::make(&MTTY_RS, ONE_PORT)?;
    ctx.step("unloading with an open device");
    let device = Device::open(card.mdev.path())?;
    let refused = unload(MTTY_RS.module);
    ensure!(
        refused.is_err(),
        "the module was unloaded under an open device"
    );
    ensure!(device.info(None).is_ok(), "the device answers no more");
    drop(device);

    ctx.step("a second QEMU at a device that has one");
    let bed = Bed::prepare(ctx)?;
    let host = bed.start_with("first", vec![card], Role::Source)?;
    let refused = bed.start_again("second", &host.cards);
    let reason = refused.err().context("a second QEMU got the device")?;
    ensure!(
        format!("{reason:#}").contains("busy"),
        "the second QEMU says: {reason:#}"
    );
    let refused = unload(MTTY_RS.module);
    ensure!(
        refused.is_err(),
        "the module was unloaded under a running VM"
    );
    drop(host);

    ctx.step("unloading after use");
    unload(MTTY_RS.module)?;
    let parent = Path::new("/sys/class/mdev_bus").join(MTTY_RS.parent);
    ensure!(!parent.exists(), "the parent outlives its module");
    load(MTTY_RS.module)?;
    let free = MdevType::find(MTTY_RS.parent, ONE_PORT)?.available()?;
    ensure!(
        free == PORTS,
        "{free} of {PORTS} ports are free after the module came back"
    );
    Ok(Outcome::Passed)
}

/// Tests that the removal of a device in use asks its user to close it, and completes when the user
/// does.
pub fn remove_in_use(ctx: &mut Ctx) -> Result<Outcome> {
    load("vfio_iommu_type1")?;
    load(MTTY_RS.module)?;
    let card = MdevType::find(MTTY_RS.parent, ONE_PORT)?.create()?;
    let device = Device::open(card.path())?;
    let request = Event::new()?;
    device
        .connect(
            VFIO_PCI_REQ_IRQ_INDEX,
            VFIO_IRQ_SET_ACTION_TRIGGER,
            request.number(),
        )
        .context("listen to the request interrupt")?;
    ctx.step("removing the device while it is open");
    let signals = thread::scope(|scope| {
        let removal = scope.spawn(|| card.write_remove("1"));
        let signals = request.await_signal();
        drop(device);
        let removed = removal
            .join()
            .map_err(|_| anyhow::anyhow!("the removal panicked"))?;
        removed.context("remove the device")?;
        anyhow::Ok(signals?)
    })?;
    ensure!(signals > 0, "nobody was asked to let go of the device");
    ensure!(!card.path().exists(), "the device is still there");
    let free = MdevType::find(MTTY_RS.parent, ONE_PORT)?.available()?;
    ensure!(
        free == PORTS,
        "a port has leaked: {free} of {PORTS} are free"
    );
    Ok(Outcome::Passed)
}
