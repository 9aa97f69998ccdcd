// SPDX-License-Identifier: GPL-2.0

//! What a [`DeviceModel`] is written with, for `use mdev_model::prelude::*`.

pub use crate::{
    config::{Bar, Capability, Identity},
    device::{in_bounds, DeviceModel, Fault, Work},
    field, record,
    record::{require, Older, Record},
    registers,
    registers::Register,
    stream::Format,
};
