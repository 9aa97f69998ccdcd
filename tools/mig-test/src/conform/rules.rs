// SPDX-License-Identifier: GPL-2.0
//! The rules of `mig-test conform`: what a VFIO device must do so that it can migrate, how bad it
//! is if it does not, and where that is written.

use super::rule::Severity::{Advice, QemuBreaks, UapiViolated};
use super::rule::{rule, Rule};

const STATES: &str = "<linux/vfio.h>, enum vfio_device_mig_state";
const PRECOPY: &str = "<linux/vfio.h>, struct vfio_precopy_info";
const RESET: &str = "<linux/vfio.h>, VFIO_DEVICE_RESET and enum vfio_device_mig_state";
const IRQS: &str = "<linux/vfio.h>, VFIO_DEVICE_SET_IRQS";
const V1: &str = "<linux/vfio.h> before 5.18, struct vfio_device_migration_info";
const QEMU: &str = "QEMU, hw/vfio/migration.c";
const QEMU_V1: &str = "QEMU 7.2, hw/vfio/migration.c";
const STREAM: &str = "Documentation/stream-format.md, Loading the state";
const EXERCISE: &str = "the exercise";

/// All rules, in the order in which they are checked.
pub const RULES: &[Rule] = &[
    rule(
        "uapi.info",
        UapiViolated,
        "Information about device, regions, interrupts and features is as the header says, and \
         bad questions are refused",
        "<linux/vfio.h>, VFIO_DEVICE_GET_INFO and the following",
    ),
    rule(
        "uapi.regions",
        UapiViolated,
        "Regions have the bounds that they announce, and configuration space is that of a PCI \
         device",
        "<linux/vfio.h>, VFIO_DEVICE_GET_REGION_INFO; PCI Local Bus Specification, chapter 6",
    ),
    rule(
        "uapi.interrupts",
        UapiViolated,
        "Bad calls of VFIO_DEVICE_SET_IRQS are refused, good ones signal what they are for",
        IRQS,
    ),
    rule(
        "uapi.states",
        QemuBreaks,
        "Every ordered pair of states succeeds or fails as the header says",
        STATES,
    ),
    rule(
        "uapi.data",
        QemuBreaks,
        "The data file has an end, and takes and gives pieces of any size",
        STATES,
    ),
    rule(
        "uapi.refusal",
        UapiViolated,
        "A stream that is cut short or changed is refused and changes nothing",
        STATES,
    ),
    rule(
        "uapi.lifetime",
        UapiViolated,
        "A reset or a close ends each state, and data files outlive the device",
        RESET,
    ),
    rule(
        "uapi.reopen",
        UapiViolated,
        "The device can be opened, moved and closed while others read its state in debugfs",
        "the kernel's Documentation/ABI/testing/debugfs-vfio",
    ),
    rule(
        "uapi.concurrency",
        UapiViolated,
        "Registers, states, data and reset work from several threads at once",
        STATES,
    ),
    rule(
        "v1.states",
        QemuBreaks,
        "Every ordered pair of values of device_state succeeds or fails as the header says",
        V1,
    ),
    rule(
        "v1.registers",
        UapiViolated,
        "Registers of the migration region have widths, directions and bounds",
        V1,
    ),
    rule(
        "v1.data",
        QemuBreaks,
        "Chunks are taken once, end with a record, and load in any pieces",
        QEMU_V1,
    ),
    rule(
        "v1.owner",
        UapiViolated,
        "The protocol that has moved the device first owns the session",
        "Documentation/protocols.md",
    ),
    rule(
        "v1.races",
        UapiViolated,
        "Both protocols, the window and reset work from several threads at once",
        "Documentation/protocols.md",
    ),
    rule(
        "work.alone",
        UapiViolated,
        "The exercise comes to its end without a move, and twice in the same way",
        EXERCISE,
    ),
    rule(
        "work.interrupts",
        QemuBreaks,
        "Every interrupt that the exercise waits for comes",
        EXERCISE,
    ),
    rule(
        "reset.runs",
        QemuBreaks,
        "After a reset, in whatever state and at whatever step, the device runs and works",
        RESET,
    ),
    rule(
        "reset.fresh",
        UapiViolated,
        "After a reset, in whatever state and at whatever step, the device is as new",
        RESET,
    ),
    rule(
        "move.completes",
        QemuBreaks,
        "No call of a migration fails, at whatever step of the work",
        QEMU,
    ),
    rule(
        "move.registers",
        QemuBreaks,
        "A guest reads the same registers and configuration space with and without a move",
        QEMU,
    ),
    rule(
        "move.device-memory",
        QemuBreaks,
        "A guest finds the same in the device's memory with and without a move",
        QEMU,
    ),
    rule(
        "move.guest-memory",
        QemuBreaks,
        "The device leaves the same in guest memory with and without a move",
        QEMU,
    ),
    rule(
        "move.interrupts",
        QemuBreaks,
        "A move loses no interrupt and adds at most one",
        "QEMU, hw/vfio/pci.c, vfio_intx_interrupt()",
    ),
    rule(
        "cancel.state",
        QemuBreaks,
        "A migration that is given up, in whatever state, leaves the device as it was",
        "QEMU, hw/vfio/migration.c, vfio_migration_cleanup()",
    ),
    rule(
        "stop.device",
        QemuBreaks,
        "A stopped device changes nothing by itself",
        STATES,
    ),
    rule(
        "stop.guest-memory",
        QemuBreaks,
        "A stopped device writes no guest memory",
        STATES,
    ),
    rule(
        "stop.interrupts",
        QemuBreaks,
        "A stopped device signals no interrupt",
        STATES,
    ),
    rule(
        "stop.same",
        UapiViolated,
        "What a stopped device saves twice is the same",
        STATES,
    ),
    rule(
        "load.same",
        UapiViolated,
        "What is saved right after a load is what was loaded",
        STREAM,
    ),
    rule(
        "size.stop-copy",
        QemuBreaks,
        "STOP_COPY gives at most what VFIO_DEVICE_FEATURE_MIG_DATA_SIZE has promised",
        "<linux/vfio.h>, VFIO_DEVICE_FEATURE_MIG_DATA_SIZE",
    ),
    rule(
        "size.near",
        Advice,
        "VFIO_DEVICE_FEATURE_MIG_DATA_SIZE says at most 1 MiB and twice what STOP_COPY gives: QEMU \
         weighs the downtime by it",
        "QEMU, hw/vfio/migration.c, vfio_state_pending_exact()",
    ),
    rule(
        "precopy.races",
        QemuBreaks,
        "What a guest writes to the device's memory while PRE_COPY reads it arrives",
        PRECOPY,
    ),
    rule(
        "precopy.begins-clean",
        UapiViolated,
        "At the start of PRE_COPY everything is initial data and nothing dirty",
        PRECOPY,
    ),
    rule(
        "precopy.initial-falls",
        QemuBreaks,
        "initial_bytes never grows, and is 0 at the end of the first pass",
        PRECOPY,
    ),
    rule(
        "precopy.ends",
        QemuBreaks,
        "PRE_COPY comes to its end for now although the guest goes on writing",
        PRECOPY,
    ),
    rule(
        "stream.left-out",
        UapiViolated,
        "A stream without one of its records is refused, or is whole",
        STREAM,
    ),
    rule(
        "stream.repeated",
        UapiViolated,
        "A stream with a record twice is refused, or is whole",
        STREAM,
    ),
    rule(
        "stream.reordered",
        UapiViolated,
        "A stream with its records in another order is refused, or is whole",
        STREAM,
    ),
    rule(
        "stream.spliced",
        UapiViolated,
        "A stream of the records of two sessions is refused, or is whole",
        STREAM,
    ),
    rule(
        "stream.resized",
        UapiViolated,
        "A stream with a record that is shorter or longer is refused, or is whole",
        STREAM,
    ),
    rule(
        "stream.bent",
        UapiViolated,
        "A stream with a changed byte and a right checksum is refused, or is whole",
        STREAM,
    ),
    rule(
        "stream.legal",
        QemuBreaks,
        "What a stream puts into a register is what a guest could have put there",
        STREAM,
    ),
    rule(
        "stream.ended",
        QemuBreaks,
        "A stream without its end, or with a wrong checksum, is refused and changes nothing",
        STREAM,
    ),
    rule(
        "stream.works",
        QemuBreaks,
        "Whatever stream was taken, the device runs, stops, and works after a reset",
        STREAM,
    ),
    rule(
        "advice.exercise",
        Advice,
        "There is an exercise: what the suite finds out by itself is what registers keep, not \
         what the device does",
        "Documentation/conformance.md",
    ),
];
