// SPDX-License-Identifier: GPL-2.0
//! The cost of a register access with either driver of a serial card; that of mtty_rs must not be
//! higher.

use anyhow::Result;
use serde::Serialize;
use vfio_bindings::bindings::vfio::VFIO_PCI_BAR0_REGION_INDEX;

use super::clock::{least, ratio, within};
use crate::event::Outcome;
use crate::mdev::MdevType;
use crate::scenario::bed::{load, Driver, MTTY_C, MTTY_RS, ONE_PORT};
use crate::scenario::Ctx;
use crate::vfio::device::Device;

/// Accesses of each kind in a batch.
const BATCH: u64 = 100;
/// Batches.
const BATCHES: u64 = 20;

/// A register, and the value to write. The values do not change the cost of other accesses.
const REGISTERS: [(&str, u64, Option<u8>); 8] = [
    ("RBR/THR", 0, None),
    ("IER", 1, Some(0)),
    ("IIR/FCR", 2, Some(1)),
    ("LCR", 3, Some(3)),
    ("MCR", 4, Some(0)),
    ("LSR", 5, None),
    ("MSR", 6, None),
    ("SCR", 7, Some(0x5a)),
];

/// The bound for the cost with mtty_rs, relative to mainline's mtty.
const BOUND: f64 = 0.99;

/// One line of the table.
#[derive(Serialize)]
struct Row {
    register: &'static str,
    access: &'static str,
    mtty_rs_instructions: u64,
    mtty_c_instructions: u64,
    /// Below 1 if mtty_rs is cheaper.
    ratio: f64,
}

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    load("vfio_iommu_type1")?;
    let rust = measure(ctx, &MTTY_RS)?;
    let c = measure(ctx, &MTTY_C)?;
    let names = REGISTERS
        .iter()
        .flat_map(|(name, _, _)| [(*name, "read"), (*name, "write")]);
    let rows: Vec<Row> = names
        .zip(rust.into_iter().zip(c))
        .filter_map(|((register, access), (rust, c))| {
            let (rust, c) = (rust?, c?);
            Some(Row {
                register,
                access,
                mtty_rs_instructions: rust,
                mtty_c_instructions: c,
                ratio: ratio(rust, c),
            })
        })
        .collect();
    let ratios = rows.iter();
    let ratios = ratios.map(|row| (format!("{} {}", row.register, row.access), row.ratio));
    let outcome = within(BOUND, "mainline's mtty", ratios);
    ctx.report(rows)?;
    Ok(outcome)
}

/// Returns the instructions of a read and of a write of each register.
fn measure(ctx: &mut Ctx, driver: &Driver) -> Result<Vec<Option<u64>>> {
    ctx.step(format!("measuring {}", driver.module));
    load(driver.module)?;
    let card = MdevType::find(driver.parent, ONE_PORT)?.create()?;
    let device = Device::open(card.path())?;
    let base = device.region(VFIO_PCI_BAR0_REGION_INDEX, None)?.offset;
    let mut costs = Vec::new();
    for (_, offset, value) in REGISTERS {
        let at = base + offset;
        costs.push(Some(cost(|| device.read_byte(at).map(drop))?));
        costs.push(match value {
            Some(value) => Some(cost(|| device.write_byte(at, value))?),
            None => None,
        });
    }
    Ok(costs)
}

fn cost(mut access: impl FnMut() -> rustix::io::Result<()>) -> Result<u64> {
    let batch = least(BATCHES, || (0..BATCH).try_for_each(|_| access()))?;
    Ok(batch / BATCH)
}
