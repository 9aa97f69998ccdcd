// SPDX-License-Identifier: GPL-2.0

//! The capabilities that an identity can have, and those that it is refused for.

use crate::common::config::*;
use mdev_model::config::{Capability, Identity};

/// Returns the rule that an express device with these capabilities breaks.
fn rule(capabilities: &[Capability]) -> Option<&'static str> {
    with(capabilities.to_vec().leak())
        .check()
        .err()
        .map(|(rule, _)| rule)
}

/// A vendor-specific capability of this many bytes.
fn vendor(len: usize) -> Capability {
    Capability::VendorSpecific {
        bytes: vec![0; len - 3].leak(),
        writable: &[],
    }
}

fn extended(id: u16, version: u8, len: usize) -> Capability {
    Capability::Extended {
        id,
        version,
        bytes: vec![0; len - 4].leak(),
        writable: &[],
    }
}

#[test]
fn capabilities_fit_in_their_part_of_the_space() {
    let conventional = "the capabilities must fit in configuration space";
    assert_eq!(rule(&[EXPRESS, vendor(0x84)]), None);
    assert_eq!(rule(&[EXPRESS, vendor(0x85)]), Some(conventional));
    assert_eq!(rule(&[EXPRESS, extended(0x18, 1, 3840)]), None);
    assert_eq!(
        rule(&[EXPRESS, extended(0x18, 1, 3841)]),
        Some(conventional)
    );
    assert_eq!(
        rule(&[
            EXPRESS,
            extended(0x18, 1, 3837),
            Capability::SerialNumber(0)
        ]),
        Some(conventional)
    );
    let small = |config_size| Identity {
        config_size,
        ..with(&[Capability::PowerManagement])
    };
    assert_eq!(small(0x48).check(), Ok(()));
    assert_eq!(small(0x47).check(), Err((conventional, None)));
}

#[test]
fn only_some_capabilities_can_be_there_twice() {
    let twice = Some("a capability of this kind must not be there twice");
    let vsec = Capability::ExtendedVendorSpecific {
        id: 1,
        revision: 0,
        bytes: &[],
        writable: &[],
    };
    for (capability, expected) in [
        (EXPRESS, twice),
        (Capability::PowerManagement, twice),
        (vendor(8), None),
        (Capability::SerialNumber(1), twice),
        (vsec, None),
        (extended(0x18, 1, 8), twice),
        (extended(0x0b, 1, 8), None),
        (extended(0x23, 1, 12), None),
        (extended(0x2e, 1, 24), None),
    ] {
        let found = rule(&[EXPRESS, capability, capability]);
        assert_eq!(found, expected, "{capability:?}");
    }
    // The kind is the id, whatever names it and whichever version it has.
    let serial = [EXPRESS, Capability::SerialNumber(1), extended(0x03, 2, 12)];
    assert_eq!(rule(&serial), twice);
    let mixed = [
        EXPRESS,
        vendor(8),
        extended(0x09, 1, 8),
        extended(0x10, 1, 8),
    ];
    assert_eq!(rule(&mixed), None);
}

#[test]
fn the_size_of_the_space_is_that_of_the_kind_of_device() {
    let with_size = |capabilities, config_size| {
        let card = Identity {
            config_size,
            ..with(capabilities)
        };
        card.check().err().map(|(rule, _)| rule)
    };
    let express = Some("configuration space of an express device must have 4,096 bytes");
    let conventional = Some("configuration space must have 64 to 256 bytes");
    assert_eq!(with_size(&[EXPRESS], 256), express);
    assert_eq!(with_size(&[EXPRESS], 4095), express);
    assert_eq!(with_size(&[EXPRESS], 4096), None);
    assert_eq!(with_size(&[], 4096), conventional);
    assert_eq!(with_size(&[], 257), conventional);
    assert_eq!(with_size(&[], 63), conventional);
    assert_eq!(with_size(&[], 255), None);
    assert_eq!(
        with_size(&[Capability::SerialNumber(1)], 256),
        Some("only an express device can have extended capabilities")
    );
}

#[test]
fn the_fields_of_a_capability_are_within_their_bits() {
    let vsec = |revision| Capability::ExtendedVendorSpecific {
        id: 0,
        revision,
        bytes: &[],
        writable: &[],
    };
    let revision = Some("the revision of a vendor-specific capability must be 0 to 15");
    assert_eq!(rule(&[EXPRESS, vsec(15)]), None);
    assert_eq!(rule(&[EXPRESS, vsec(16)]), revision);
    let version = Some("the version of an extended capability must be 1 to 15");
    assert_eq!(rule(&[EXPRESS, extended(1, 15, 4)]), None);
    assert_eq!(rule(&[EXPRESS, extended(1, 16, 4)]), version);
    assert_eq!(rule(&[EXPRESS, extended(1, 0, 4)]), version);
    let id = Some("the id of an extended capability must not be 0");
    assert_eq!(rule(&[EXPRESS, extended(0, 1, 4)]), id);
    let mask = Some("the mask of a capability must not be longer than its bytes");
    let masked = Capability::VendorSpecific {
        bytes: &[0],
        writable: &[0; 2],
    };
    assert_eq!(rule(&[EXPRESS, masked]), mask);
}
