// SPDX-License-Identifier: GPL-2.0
//! A physical device beside the card in one container: it may write anywhere, so every page is
//! dirty for as long as it is there, and only what commands touch once it has gone.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};

use super::account::pages;
use super::card::{iova, Card, Command, DATA, GUEST, IOVA};
use crate::event::Outcome;
use crate::scenario::bed::load;
use crate::scenario::conformance::checks::Checks;
use crate::scenario::Ctx;
use crate::vfio::dma::PAGE;

/// QEMU's `edu`, which the lab VM has for this: vendor and device ID.
const IDS: [&str; 2] = ["0x1234", "0x11e8"];

const UNSAFE_INTERRUPTS: &str = "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts";

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    Card::load(ctx)?;
    load("vfio-pci")?;
    // The lab VM does not remap interrupts, and type1 takes no physical device without that by
    // default.
    let _allowed = UnsafeInterrupts::allow()?;
    let other = Physical::bind()?;
    let mut checks = Checks::default();
    let card = Card::started()?;
    let group = card.device.group()?;
    let dirty = || group.take_dirty(IOVA, GUEST).map(|pages| pages.len());
    let fill = [Command::fill_guest(iova(DATA), 9 * PAGE, 1)];
    let written = pages(DATA..DATA + 9 * PAGE).len();
    let all = GUEST / PAGE;

    group.track_dirty(true)?;
    card.execute(&fill)?;
    checks.equal("pages with the card alone", dirty()?, written);
    checks.equal("and once more", dirty()?, 0);

    ctx.step("a physical device joins the container");
    let member = card.device.open_beside(&other.path)?;
    for report in 0..3 {
        let what = format!("pages with a physical device, report {report}");
        checks.equal(what, dirty()?, all);
    }
    card.execute(&fill)?;
    checks.equal("pages with both at work", dirty()?, all);

    ctx.step("the physical device leaves");
    drop(member);
    checks.equal("what it may have written before", dirty()?, all);
    checks.equal("pages after that", dirty()?, 0);
    card.execute(&fill)?;
    checks.equal("pages with the card alone again", dirty()?, written);
    group.track_dirty(false)?;
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

/// That type1 takes such devices; no longer when dropped.
struct UnsafeInterrupts {
    before: String,
}

impl UnsafeInterrupts {
    fn allow() -> Result<UnsafeInterrupts> {
        let before = fs::read_to_string(UNSAFE_INTERRUPTS)?;
        fs::write(UNSAFE_INTERRUPTS, "1")?;
        Ok(UnsafeInterrupts { before })
    }
}

impl Drop for UnsafeInterrupts {
    fn drop(&mut self) {
        // What can be written once can be written again.
        let _ = fs::write(UNSAFE_INTERRUPTS, &self.before);
    }
}

/// A PCI device that vfio-pci has; given back when dropped.
struct Physical {
    path: PathBuf,
}

impl Physical {
    fn bind() -> Result<Physical> {
        for entry in fs::read_dir("/sys/bus/pci/devices")? {
            let path = entry?.path();
            let ids = ["vendor", "device"].map(|id| fs::read_to_string(path.join(id)));
            if !ids
                .iter()
                .zip(IDS)
                .all(|(id, wanted)| id.as_ref().is_ok_and(|id| id.trim() == wanted))
            {
                continue;
            }
            let found = Physical { path };
            found.probe("vfio-pci")?;
            ensure!(
                found.path.join("driver").exists(),
                "vfio-pci does not take the device"
            );
            return Ok(found);
        }
        anyhow::bail!("the lab VM has no device {}", IDS.join(":"))
    }

    /// Lets a driver take the device, or any.
    fn probe(&self, driver: &str) -> Result<()> {
        fs::write(self.path.join("driver_override"), format!("{driver}\n"))?;
        let address = self.path.file_name().context("a device without address")?;
        fs::write("/sys/bus/pci/drivers_probe", address.as_encoded_bytes())?;
        Ok(())
    }
}

impl Drop for Physical {
    fn drop(&mut self) {
        let address = self.path.file_name().unwrap_or_default();
        let unbind = Path::new("/sys/bus/pci/drivers/vfio-pci/unbind");
        // What fails leaves the device to vfio-pci, where it harms nobody.
        let _ = fs::write(unbind, address.as_encoded_bytes());
        let _ = fs::write(self.path.join("driver_override"), "\n");
    }
}
