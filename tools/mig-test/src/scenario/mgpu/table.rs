// SPDX-License-Identifier: GPL-2.0
//! Every scenario of the toy GPU, in the order in which `mig-test test` runs them.

use super::{
    commands, dirty, guest, killed, late, log, migrate, moments, peer, rings, scope, unmap,
    unmap_dirty, viommu,
};
use crate::lab::apart::TESTS;
use crate::scenario::entry::{migrates, races};
use crate::scenario::{demo, Scenario};

/// The scenarios.
pub const ALL: &[Scenario] = &[
    races(
        "mgpu-commands",
        "commands of the toy GPU against a model; errors, interrupts, reset, the picture",
        3,
        commands::run,
    ),
    races(
        "mgpu-rings",
        "four rings of the toy GPU at work, each with its own vector, migrate",
        3,
        rings::run,
    ),
    races(
        "mgpu-migrate",
        "the toy GPU migrates while it works, and sends the pages that were written",
        3,
        migrate::run,
    ),
    races(
        "mgpu-peer",
        "a toy GPU writes to another one's VRAM, and not in the P2P states",
        3,
        peer::run,
    ),
    races(
        "mgpu-random",
        "random work, moved at a random moment of it",
        3,
        moments::run,
    ),
    races(
        "mgpu-dirty",
        "what the container reports of guest memory is what commands have touched",
        3,
        dirty::run,
    ),
    races(
        "mgpu-log",
        "what the device's own DMA log reports is what commands have written",
        3,
        log::run,
    ),
    races(
        "mgpu-scope",
        "a physical device in the container makes every page dirty, and no more once it has left",
        3,
        scope::run,
    ),
    races(
        "mgpu-unmap",
        "guest memory goes while commands use it, and nothing hangs or stays pinned",
        3,
        unmap::run,
    ),
    races(
        "mgpu-killed",
        "a VMM that is killed goes, though its toy GPU waits for memory that only it could provide",
        3,
        killed::run,
    )
    .loading(&[TESTS]),
    races(
        "mgpu-late-memory",
        "guest memory comes late, and goes while commands wait for it",
        3,
        late::run,
    ),
    races(
        "mgpu-unmap-dirty",
        "guest memory that goes during pre-copy is reported dirty by the call that takes it away",
        3,
        unmap_dirty::run,
    ),
    migrates(
        "mgpu-guest",
        "a guest migrates while its toy GPU works, and finds every page and its picture",
        4,
        demo::mgpu_guest,
    ),
    migrates(
        "mgpu-guest-ping-pong",
        "the same ten times, back and forth, with a new picture at each place",
        8,
        guest::ping_pong,
    ),
    migrates(
        "mgpu-guest-random",
        "random work, migrated at a random moment",
        8,
        guest::random,
    ),
    migrates(
        "mgpu-guest-iommu",
        "a guest's IOMMU takes memory from its toy GPU during pre-copy, and no page is lost",
        6,
        viommu::run,
    ),
];
