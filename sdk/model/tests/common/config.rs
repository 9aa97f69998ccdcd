// SPDX-License-Identifier: GPL-2.0

//! For tests of configuration space: a function with all that it can have, and accesses to it.

use mdev_model::config::{Bar, Capability, ConfigSpace, Identity, Msix, BARS};
use std::convert::Infallible;

/// The configuration space of a function, as after a reset.
pub type Config = ConfigSpace<Vec<u8>>;

pub fn config(identity: &Identity) -> Config {
    let Ok(new) = ConfigSpace::new(identity, |len| Ok::<_, Infallible>(vec![0xa5; len]));
    new
}

/// Offset of the first base address register.
pub const BAR0: u64 = 0x10;

pub const NONE: Bar = Bar::None;
pub const fn io(size: u32) -> Bar {
    Bar::Io { size }
}
pub const fn memory32(size: u32, prefetchable: bool) -> Bar {
    Bar::Memory32 { size, prefetchable }
}
pub const fn memory64(size: u64, prefetchable: bool) -> Bar {
    Bar::Memory64 { size, prefetchable }
}

pub const FULL: Identity = Identity {
    vendor: 0x1122,
    device: 0x3344,
    subsystem_vendor: 0x5566,
    subsystem: 0x7788,
    class: 0x99_aabb,
    revision: 0xcc,
    intx: true,
    msi: 1,
    msix: Some(Msix {
        vectors: 1,
        bar: 1,
        table: 0,
        pending: 0x800,
    }),
    bars: [
        io(8),
        memory32(0x1000, false),
        memory64(1 << 33, true),
        NONE,
        NONE,
        memory32(16, true),
    ],
    needs_bus_master: true,
    capabilities: &[],
    config_size: 256,
};

pub const EXPRESS: Capability = Capability::Express { flr: true };

/// An express device with these capabilities, without MSI and MSI-X.
pub const fn with(capabilities: &'static [Capability]) -> Identity {
    Identity {
        msi: 0,
        msix: None,
        capabilities,
        config_size: 4096,
        ..FULL
    }
}

pub fn with_bars(bars: [Bar; BARS]) -> Identity {
    Identity {
        bars,
        msix: None,
        ..FULL
    }
}

pub fn with_bar(bar: Bar) -> Identity {
    with_bars([bar, NONE, NONE, NONE, NONE, NONE])
}

pub fn read<const N: usize>(config: &Config, offset: u64) -> [u8; N] {
    let mut out = [0; N];
    assert!(config.read(offset, &mut out, false));
    out
}

pub fn read16(config: &Config, offset: u64) -> u16 {
    u16::from_le_bytes(read(config, offset))
}

pub fn read32(config: &Config, offset: u64) -> u32 {
    u32::from_le_bytes(read(config, offset))
}

pub fn write(config: &mut Config, offset: u64, data: &[u8]) {
    assert!(config.write(offset, data));
}

/// Returns the bits at `offset` that a write can change.
pub fn writable<const N: usize>(identity: &Identity, offset: u64) -> [u8; N] {
    let mut config = config(identity);
    write(&mut config, offset, &[0; N]);
    let zeros: [u8; N] = read(&config, offset);
    write(&mut config, offset, &[0xff; N]);
    let ones: [u8; N] = read(&config, offset);
    std::array::from_fn(|i| ones[i] ^ zeros[i])
}
