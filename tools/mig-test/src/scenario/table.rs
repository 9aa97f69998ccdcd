// SPDX-License-Identifier: GPL-2.0
//! Every scenario, in the order in which `mig-test test` runs them; then the benchmarks.

use super::entry::{joined, migrates, plain, races};
use super::{
    bench, cancel, compat, config_space, conformance, demo, digest, doorbells, edu_parent,
    fail_nth, file, guest_drivers, intx, io_memory, killed_client, killed_qemu, live, memory, mgpu,
    own_device, parameter, parent_interrupts, refusal, sysfs, tracing, vectors, Scenario,
};
use crate::conform;
use crate::lab::apart::{DIGEST, DOORBELLS, EDU, GUIDE, TESTS};
use crate::lab::Hardware;

/// The scenarios.
pub const ALL: &[Scenario] =
    &joined::<{ SCENARIOS.len() + bench::ALL.len() }>(SCENARIOS, bench::ALL);

const SCENARIOS: &[Scenario] = &joined::<{ PROOFS.len() + mgpu::ALL.len() }>(PROOFS, mgpu::ALL);

const PROOFS: &[Scenario] = &[
    migrates(
        "demo",
        "migrates a running guest with devices of mtty_rs and mgpu_rs; figures",
        4,
        demo::demo,
    ),
    migrates(
        "mtty-c-baseline",
        "the same with mainline's C mtty, so that every figure has a peer",
        4,
        demo::mtty_c_baseline,
    ),
    plain(
        "reboot",
        "a reboot of the guest resets the device, and QEMU has nothing to complain about",
        3,
        live::reboot,
    ),
    migrates(
        "ping-pong",
        "a running guest migrates back and forth ten times",
        6,
        live::ping_pong,
    ),
    migrates(
        "fifo-in-flight",
        "bytes unread in the FIFOs of a two-port card arrive in order and once",
        4,
        live::fifo_in_flight,
    ),
    migrates(
        "mainline-and-back",
        "a running guest leaves mainline's mtty for mtty_rs and goes back",
        4,
        live::mainline_and_back,
    ),
    migrates(
        "cancel",
        "a migration cancelled in each phase leaves the guest whole where it is",
        6,
        cancel::run,
    ),
    migrates(
        "refusal",
        "a destination refuses a torn, bent or foreign stream, and the source runs on",
        8,
        refusal::serial,
    ),
    migrates(
        "refusal-gpu",
        "the same with the toy GPU's records, while the GPU is at work",
        8,
        refusal::gpu,
    ),
    migrates(
        "save-and-load",
        "a guest with both devices is saved to a file and started from it",
        4,
        file::run,
    ),
    migrates(
        "intx-in-flight",
        "a guest moves while its interrupt line is raised for a card that asserts nothing any more",
        6,
        intx::run,
    ),
    migrates(
        "guest-uio",
        "interrupts of a card that uio_pci_generic hands to the guest's user space, also after a move",
        4,
        guest_drivers::uio,
    ),
    plain(
        "guest-vfio",
        "interrupts of a card that vfio-pci hands to the guest's user space, behind its IOMMU",
        4,
        guest_drivers::vfio,
    ),
    migrates(
        "own-device",
        "what mig-test migrate does, with the vendor guide's scratch card and a program that drives it",
        8,
        own_device::run,
    )
    .loading(&[GUIDE]),
    migrates(
        "doorbells-guest",
        "a guest rings the doorbells of a BAR in parts, and migrates",
        4,
        own_device::doorbells,
    )
    .loading(&[DOORBELLS]),
    migrates(
        "edu-parent",
        "two guests share a card's DMA engine, and migrate to another card and to software",
        8,
        edu_parent::run,
    )
    .with(Hardware::Cards)
    .only_with_all()
    .loading(&[EDU]),
    plain(
        "fail-nth",
        "each allocation and user copy of each call fails once, and nothing is lost",
        8,
        fail_nth::run,
    )
    .only_with_all()
    .loading(&[TESTS]),
    migrates(
        "killed-qemu",
        "a QEMU is killed at a random moment of a migration: the guest is whole, on one side at most",
        8,
        killed_qemu::run,
    ),
    races(
        "killed-client",
        "a process that uses a device is killed at random moments: the device is free at once",
        4,
        killed_client::run,
    )
    .loading(&[TESTS]),
    races(
        "edu-parent-used",
        "a card's engine copies what it should, and stops for unmaps, resets, closes and an unbind",
        3,
        edu_parent::used,
    )
    .loading(&[EDU]),
    races(
        "edu-parent-direct",
        "the same on a machine without an IOMMU, whose memory the card reaches at its addresses",
        3,
        edu_parent::used,
    )
    .with(Hardware::CardsAlone)
    .loading(&[EDU]),
    plain(
        "sysfs-limits",
        "the limit on ports, and what sysfs refuses",
        2,
        sysfs::limits,
    ),
    plain(
        "module-in-use",
        "a module in use stays, after use it goes; a device has one user",
        3,
        sysfs::module_in_use,
    ),
    plain(
        "remove-in-use",
        "removing a device in use asks its user to let go",
        2,
        sysfs::remove_in_use,
    ),
    plain(
        "migration-parameter",
        "which protocols devices offer with each value of the SDK's module parameter",
        3,
        parameter::run,
    ),
    races(
        "conformance-states",
        "every ordered pair of migration states against an oracle of its own",
        3,
        conformance::states::run,
    )
    .loading(&[GUIDE]),
    races(
        "conformance-data",
        "the data file: ends, sizes, errors, any split of reads and writes",
        3,
        conformance::data::run,
    )
    .loading(&[GUIDE]),
    races(
        "conformance-refusal",
        "streams cut short or changed anywhere are refused and change nothing",
        3,
        conformance::refusal::run,
    )
    .loading(&[GUIDE]),
    races(
        "conformance-lifetime",
        "reset and close in each state; files that outlive their device",
        3,
        conformance::lifetime::run,
    )
    .loading(&[GUIDE]),
    races(
        "conformance-reopen",
        "opens, states and closes while other threads read the state in debugfs",
        3,
        conformance::reopen::run,
    )
    .loading(&[GUIDE]),
    races(
        "conformance-info",
        "device, region, interrupt and feature information; bad questions",
        3,
        conformance::info::run,
    )
    .loading(&[GUIDE]),
    races(
        "conformance-regions",
        "bounds of the regions, configuration space, BAR sizing",
        3,
        conformance::regions::run,
    )
    .loading(&[GUIDE]),
    races(
        "conformance-interrupts",
        "INTx levels, MSI messages, VFIO_DEVICE_SET_IRQS over ranges, bad calls of it",
        3,
        conformance::interrupts::run,
    )
    .loading(&[GUIDE]),
    races(
        "conformance-concurrency",
        "registers, states, data and reset from several threads at once",
        3,
        conformance::concurrency::run,
    )
    .loading(&[GUIDE]),
    races(
        "conformance-v1-states",
        "every ordered pair of values of protocol v1's device_state",
        3,
        conformance::v1::states::run,
    )
    .loading(&[GUIDE]),
    races(
        "conformance-v1-registers",
        "widths, directions and bounds of protocol v1's region, and random accesses",
        3,
        conformance::v1::registers::run,
    )
    .loading(&[GUIDE]),
    races(
        "conformance-v1-data",
        "protocol v1's chunks: taken once, given up, loaded in any pieces, refused",
        3,
        conformance::v1::data::run,
    )
    .loading(&[GUIDE]),
    races(
        "conformance-v1-owner",
        "both protocols at one device: who has moved it first owns the session",
        3,
        conformance::v1::owner::run,
    )
    .loading(&[GUIDE]),
    races(
        "conformance-v1-crossing",
        "what is saved through either protocol loads through the other one",
        5,
        conformance::v1::crossing::run,
    ),
    races(
        "conformance-v1-races",
        "both protocols, the mapped window and reset from several threads at once",
        3,
        conformance::v1::races::run,
    )
    .loading(&[GUIDE]),
    races(
        "conform",
        "every rule of mig-test conform that no other scenario checks, for each driver",
        3,
        conform::run,
    )
    .loading(&[GUIDE, EDU, DOORBELLS, DIGEST]),
    plain(
        "conform-here",
        "mig-test conform --here: a device that keeps the rules, one that does not, and none",
        2,
        conformance::here::run,
    ),
    plain(
        "driver-mistakes",
        "drivers that break a rule of the SDK each: it is refused, and the log names the rule",
        2,
        conformance::mistakes::run,
    )
    .loading(&[TESTS]),
    races(
        "conform-mutants",
        "drivers with one defect each: conform finds every one, and nothing in the sound one",
        5,
        conform::mutants::run,
    )
    .loading(&[TESTS]),
    races(
        "conform-mainline",
        "mainline's C mtty violates the rules that Documentation/findings.md lists, and no others",
        5,
        conform::mainline::run,
    )
    .only_with_all(),
    plain(
        "config-space",
        "capabilities, function-level reset, Bus Master Enable, what the driver learns, what migrates",
        2,
        config_space::run,
    )
    .loading(&[TESTS]),
    migrates(
        "config-guest",
        "a guest has an express device behind a port, resets the function, and migrates",
        4,
        config_space::guest::run,
    )
    .loading(&[TESTS]),
    races(
        "vectors",
        "levels and events of many interrupt vectors, SET_IRQS over ranges, and what a move carries",
        3,
        vectors::run,
    )
    .loading(&[TESTS]),
    races(
        "doorbells",
        "a BAR in parts: what can be mapped, and doorbells in memory, of which no ring is lost",
        2,
        doorbells::run,
    )
    .loading(&[DOORBELLS]),
    races(
        "io-memory",
        "a page of the parent's own registers in a BAR: mapped, trapped, and of no other parent",
        2,
        io_memory::run,
    )
    .loading(&[TESTS]),
    races(
        "parent-interrupts",
        "several interrupt vectors of a PCI function, each with its own calls of the driver",
        2,
        parent_interrupts::run,
    )
    .loading(&[TESTS]),
    races(
        "digest",
        "a ring in guest memory: what is pinned for it, memory that goes, a move; a driver's attribute",
        2,
        digest::run,
    )
    .loading(&[DIGEST]),
    races(
        "guest-memory",
        "each call of the SDK's GuestMemory: copies, pins, limits, unmaps, the DMA log",
        4,
        memory::run,
    )
    .loading(&[TESTS]),
    races(
        "device-memory",
        "calls of the SDK's DeviceMemory: bounds, clearing, dirty pages; one memory behind two BARs",
        2,
        memory::device::run,
    )
    .loading(&[TESTS]),
    plain(
        "compat",
        "what sysfs says before a migration is what the destination says in it, for each pair of types",
        2,
        compat::run,
    ),
    plain(
        "trace-events",
        "a migration and pins in tracefs, event by event",
        2,
        tracing::run,
    )
    .loading(&[TESTS]),
];
