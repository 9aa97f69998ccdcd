// SPDX-License-Identifier: GPL-2.0
//! A card whose IOMMU translates nothing: most memory is beyond the reach of its engine.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::MODULE;

/// What an IOMMU does for a card, as sysfs calls it.
const IDENTITY: &str = "identity";
const TRANSLATED: &str = "DMA";

/// A card without translation, until this is dropped.
pub struct Identity<'a>(&'a str);

impl<'a> Identity<'a> {
    /// Ends the translation for `card`; `None` if there is no IOMMU.
    pub fn of(card: &'a str) -> Result<Option<Self>> {
        if !Path::new(&group(card)).exists() {
            return Ok(None);
        }
        let ended = Identity(card);
        translate(card, IDENTITY)?;
        Ok(Some(ended))
    }
}

impl Drop for Identity<'_> {
    fn drop(&mut self) {
        if let Err(error) = translate(self.0, TRANSLATED) {
            eprintln!("{} has no translation any more: {error:#}", self.0);
        }
    }
}

fn group(card: &str) -> String {
    format!("/sys/bus/pci/devices/{card}/iommu_group")
}

/// Changes what the IOMMU does for `card`, which its driver must not have meanwhile.
fn translate(card: &str, how: &str) -> Result<()> {
    let driver = format!("/sys/bus/pci/drivers/{MODULE}");
    if Path::new(&format!("{driver}/{card}")).exists() {
        fs::write(format!("{driver}/unbind"), card).context("unbind the card")?;
    }
    let changed = fs::write(format!("{}/type", group(card)), how);
    fs::write(format!("{driver}/bind"), card)
        .with_context(|| format!("bind the card again, whose IOMMU is to do {how}"))?;
    changed.with_context(|| format!("have the IOMMU of {card} do {how}"))
}
