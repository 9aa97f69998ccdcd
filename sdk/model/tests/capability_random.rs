// SPDX-License-Identifier: GPL-2.0

//! Any list of capabilities that an identity can have makes lists that software can walk.

use crate::common::config::*;
use mdev_model::config::{Capability, Identity, OtherDevice};
use proptest::prelude::*;
use std::ops::Range;

/// Bytes of a driver's, and a mask that is not longer.
fn bytes() -> impl Strategy<Value = (&'static [u8], &'static [u8])> {
    let pairs = prop::collection::vec(any::<(u8, u8)>(), 0..40);
    (pairs, any::<prop::sample::Index>()).prop_map(|(pairs, masked)| {
        let (bytes, mut mask): (Vec<u8>, Vec<u8>) = pairs.into_iter().unzip();
        mask.truncate(masked.index(mask.len() + 1));
        (&*bytes.leak(), &*mask.leak())
    })
}

fn capability() -> impl Strategy<Value = Capability> {
    prop_oneof![
        Just(Capability::PowerManagement),
        bytes().prop_map(|(bytes, writable)| Capability::VendorSpecific { bytes, writable }),
        any::<u64>().prop_map(Capability::SerialNumber),
        (any::<u16>(), 0..16u8, bytes()).prop_map(|(id, revision, (bytes, writable))| {
            Capability::ExtendedVendorSpecific {
                id,
                revision,
                bytes,
                writable,
            }
        }),
        (1..0x40u16, 1..16u8, bytes()).prop_map(|(id, version, (bytes, writable))| {
            Capability::Extended {
                id,
                version,
                bytes,
                writable,
            }
        }),
    ]
}

/// A device whose identity is valid.
fn card() -> impl Strategy<Value = Identity> {
    let list = prop::collection::vec(capability(), 0..8);
    let express = prop::option::of((any::<bool>(), any::<prop::sample::Index>()));
    let interrupts = (any::<bool>(), any::<bool>());
    (list, express, interrupts).prop_filter_map("invalid", |(mut list, express, (msi, msix))| {
        if let Some((flr, index)) = express {
            list.insert(index.index(list.len() + 1), Capability::Express { flr });
        }
        let card = Identity {
            msi: msi.into(),
            msix: FULL.msix.filter(|_| msix),
            capabilities: list.leak(),
            config_size: if express.is_some() { 4096 } else { 256 },
            ..FULL
        };
        card.check().ok().map(|()| card)
    })
}

/// What a walk of a list finds: id, with the version of an extended capability above it; offset.
type Found = Vec<(u32, u64)>;

fn walk_conventional(config: &Config) -> Found {
    let (mut found, mut link) = (Vec::new(), 0x34);
    loop {
        let [at] = read(config, link);
        if at == 0 {
            return found;
        }
        assert!(at >= 0x40 && at % 4 == 0 && found.len() < 48);
        let at = u64::from(at);
        found.push((read::<1>(config, at)[0].into(), at));
        link = at + 1;
    }
}

fn walk_extended(config: &Config) -> Found {
    let (mut found, mut at) = (Vec::new(), 0x100);
    if config.bytes().len() == 256 || read32(config, at) == 0 {
        return found;
    }
    loop {
        let header = read32(config, at);
        found.push((header & 0xf_ffff, at));
        let next = u64::from(header >> 20);
        if next == 0 {
            return found;
        }
        assert!(next >= 0x100 && next % 4 == 0 && found.len() < 960);
        at = next;
    }
}

/// The id with its version, the list and the length of a capability.
fn facts(capability: &Capability) -> (u32, bool, u64) {
    match *capability {
        Capability::PowerManagement => (0x01, false, 8),
        Capability::Express { .. } => (0x10, false, 60),
        Capability::VendorSpecific { bytes, .. } => (0x09, false, 3 + bytes.len() as u64),
        Capability::SerialNumber(_) => (0x1_0003, true, 12),
        Capability::ExtendedVendorSpecific { bytes, .. } => {
            (0x1_000b, true, 8 + bytes.len() as u64)
        }
        Capability::Extended {
            id, version, bytes, ..
        } => {
            let id = u32::from(version) << 16 | u32::from(id);
            (id, true, 4 + bytes.len() as u64)
        }
    }
}

fn writes() -> impl Strategy<Value = Vec<(u64, Vec<u8>)>> {
    let data = prop::collection::vec(any::<u8>(), 0..9);
    prop::collection::vec((prop_oneof![0..0x180u64, 0..4096u64], data), 0..60)
}

/// The configuration space of a device after some writes.
fn used(card: &Identity, writes: &[(u64, Vec<u8>)]) -> Config {
    let mut config = config(card);
    for (offset, data) in writes {
        let _ = config.write(*offset, data);
    }
    config
}

proptest! {
    #[test]
    fn the_lists_have_each_capability_in_its_place_and_none_overlaps(card in card()) {
        let config = config(&card);
        let of_interrupts = [(card.msi != 0, 0x05, 0x40), (card.msix.is_some(), 0x11, 0x50)];
        let of_interrupts = of_interrupts.into_iter().filter(|(has, ..)| *has);
        let mut lists: [Found; 2] = [of_interrupts.map(|(_, id, at)| (id, at)).collect(), vec![]];
        let mut taken: Vec<Range<u64>> = std::iter::once(0..0x40).collect();
        taken.extend(lists[0].iter().map(|(id, at)| *at..*at + if *id == 5 { 14 } else { 12 }));
        for (index, capability) in card.capabilities.iter().enumerate() {
            let at = card.capability_at(index).unwrap() as u64;
            let (id, is_extended, len) = facts(capability);
            lists[usize::from(is_extended)].push((id, at));
            prop_assert!(taken.iter().all(|other| at >= other.end || at + len <= other.start));
            let most = if is_extended { 4096 } else { 256 };
            prop_assert!(at + len <= most);
            taken.push(at..at + len);
        }
        let [conventional, extended] = lists;
        prop_assert_eq!(walk_conventional(&config), conventional);
        prop_assert_eq!(walk_extended(&config), extended);
        for (at, byte) in config.bytes().iter().enumerate() {
            if !taken.iter().any(|range| range.contains(&(at as u64))) {
                prop_assert_eq!(*byte, 0, "byte {:#x}", at);
            }
        }
    }

    #[test]
    fn the_bytes_and_masks_of_the_driver_are_those_of_the_registers(card in card()) {
        let (mut ones, before) = (config(&card), config(&card));
        let space = card.space_size();
        prop_assert!(ones.write(0, &vec![0xff; space]));
        let mut zeros = config(&card);
        prop_assert!(zeros.write(0, &vec![0; space]));
        for (index, capability) in card.capabilities.iter().enumerate() {
            let (head, bytes, writable) = match *capability {
                Capability::VendorSpecific { bytes, writable } => (3, bytes, writable),
                Capability::ExtendedVendorSpecific { bytes, writable, .. } => (8, bytes, writable),
                Capability::Extended { bytes, writable, .. } => (4, bytes, writable),
                _ => continue,
            };
            let start = card.capability_at(index).unwrap();
            let at = start + head;
            prop_assert_eq!(&before.bytes()[at..at + bytes.len()], bytes);
            for i in start..at + bytes.len() {
                let masked = i.checked_sub(at).and_then(|i| writable.get(i));
                let changed = ones.bytes()[i] ^ zeros.bytes()[i];
                prop_assert_eq!(changed, masked.copied().unwrap_or(0), "byte {:#x}", i);
            }
        }
    }

    #[test]
    fn a_saved_space_is_restored_whatever_the_destination_held(
        card in card(),
        here in writes(),
        there in writes(),
    ) {
        let (source, mut destination) = (used(&card, &here), used(&card, &there));
        prop_assert_eq!(destination.check(source.bytes()), Ok(()));
        destination.restore(source.bytes());
        prop_assert_eq!(destination.bytes(), source.bytes());
    }

    #[test]
    fn a_space_of_another_device_is_refused(here in card(), there in card()) {
        let (here, there) = (config(&here), config(&there));
        let same = here.bytes() == there.bytes();
        prop_assume!(!same);
        // Two devices may differ in writable bits only, whose values after a reset do not matter.
        let fixed = |config: &Config| {
            let mut config = config.clone();
            assert!(config.write(0, &vec![0; config.bytes().len()]));
            config.bytes().to_vec()
        };
        if fixed(&here) != fixed(&there) {
            let checked = [here.check(there.bytes()), there.check(here.bytes())];
            prop_assert!(checked.contains(&Err(OtherDevice)));
        }
    }
}
