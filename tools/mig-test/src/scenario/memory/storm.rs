// SPDX-License-Identifier: GPL-2.0
//! Pins of every kind from several threads while their memory is unmapped and mapped again.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{anyhow, ensure, Result};
use mig_common::random::Random;
use rustix::io::Errno;

use super::card::{iova, Card, Channel, Kind, CHANNELS, PAGES};
use crate::health::pinned;
use crate::patience;
use crate::scenario::conformance::checks::Checks;
use crate::scenario::mgpu::random::seed;
use crate::scenario::Ctx;
use crate::vfio::dma::PAGE;

/// Pins that are tried, by all threads together, until memory goes no more.
const PINS: usize = 2000;
/// Pages that go, at the end of the guest's memory.
const GOING: usize = 400;

/// What happened.
#[derive(Default)]
pub struct Figures {
    unmaps: usize,
    pins: usize,
    refused: usize,
    revoked: usize,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} unmaps; {} pins, {} refused, {} guards found revoked",
            self.unmaps, self.pins, self.refused, self.revoked
        )
    }
}

/// Runs each worker in a thread of its own until `unmaps` is through; returns what the workers
/// return.
fn beside<W, T>(
    workers: impl Iterator<Item = W>,
    over: &AtomicBool,
    unmaps: impl FnOnce() -> Result<()>,
) -> Result<Vec<T>>
where
    W: FnOnce() -> T + Send,
    T: Send,
{
    let (unmapped, ends) = thread::scope(|scope| {
        let threads: Vec<_> = workers.map(|worker| scope.spawn(worker)).collect();
        let unmapped = unmaps();
        over.store(true, Ordering::Release);
        let ends: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        (unmapped, ends)
    });
    unmapped?;
    let ends = ends.into_iter();
    ends.map(|end| end.map_err(|_| anyhow!("a thread panicked")))
        .collect()
}

/// Cards in one container, each of which pins memory that goes as often as it can.
const CROWD: usize = 8;
/// How often it goes.
const CROWD_UNMAPS: usize = 200;
/// Pins of a card that no system call comes between.
const BURST: usize = 100;

/// Tests several busy cards in a container, which calls `dma_unmap` of one after the other until
/// none of them has pins: each time it checks again it must find fewer, or the kernel crashes
/// (`BUG()` in `vfio_dma_do_unmap()`).
pub fn crowd(checks: &mut Checks, card: &Card) -> Result<()> {
    let nothing = pinned()?;
    let others: Vec<Card> = (1..CROWD).map(|_| card.beside()).collect::<Result<_>>()?;
    let over = AtomicBool::new(false);
    let pins = [const { AtomicU32::new(0) }; CROWD];
    let busy = others.iter().chain([card]).zip(&pins).map(|(card, pins)| {
        let over = &over;
        move || {
            while !over.load(Ordering::Acquire) {
                let count = card.channel(0).pin_often(iova(0), PAGE, BURST)?;
                pins.fetch_add(count, Ordering::AcqRel);
            }
            Ok::<_, Errno>(())
        }
    });
    let counts = || pins.each_ref().map(|pins| pins.load(Ordering::Acquire));
    let deadline = patience::until(PATIENCE);
    let ends = beside(busy, &over, || {
        let mut unmaps = 0;
        while unmaps < CROWD_UNMAPS || counts().contains(&0) {
            let before = counts();
            while counts() == before {
                ensure!(!deadline.is_over(), "a card pins nothing");
                thread::yield_now();
            }
            card.unmap(0, PAGES)?;
            card.map(0, PAGES)?;
            unmaps += 1;
        }
        Ok(())
    })?;
    for end in ends {
        checks.equal("a card of the crowd", end, Ok(()));
    }
    drop(others);
    checks.equal("pages pinned after the crowd", pinned()?, nothing);
    Ok(())
}

/// How often memory goes while a card is opened and closed.
const REOPEN_UNMAPS: usize = 200;

/// Tests a card that is closed and opened again, and pins what it can, while an unmap is under way:
/// to a card that was asked for the memory it stays unmapped, even if it is new to its user.
pub fn reopens(checks: &mut Checks, card: &Card) -> Result<()> {
    let nothing = pinned()?;
    let other = card.beside()?;
    let (over, opened) = (AtomicBool::new(false), AtomicUsize::new(0));
    let busy = [other].into_iter().map(|mut card| {
        let (over, opened) = (&over, &opened);
        move || -> Result<u32> {
            let mut pins = 0;
            while !over.load(Ordering::Acquire) {
                pins += card.channel(0).pin_often(iova(0), PAGE, BURST)?;
                card = card.reopen()?;
                opened.fetch_add(1, Ordering::AcqRel);
            }
            Ok(pins)
        }
    });
    let deadline = patience::until(PATIENCE);
    let pins = beside(busy, &over, || {
        let mut unmaps = 0;
        while unmaps < REOPEN_UNMAPS || opened.load(Ordering::Acquire) < REOPEN_UNMAPS {
            ensure!(!deadline.is_over(), "the card is not opened again");
            card.unmap(0, PAGES)?;
            card.map(0, PAGES)?;
            unmaps += 1;
        }
        Ok(())
    })?;
    for pins in pins {
        checks.that("a card that is opened again has pinned nothing", pins? > 0);
    }
    checks.equal("pages pinned after the opens", pinned()?, nothing);
    Ok(())
}

/// Cards in one container whose hardware takes a while to stop, and the channels of each that pin.
const SLOW: usize = 3;
const SLOW_CHANNELS: usize = 2;
/// How long it takes.
const STOP: Duration = Duration::from_millis(20);
/// How often all of the memory goes, each time with something pinned.
const SLOW_UNMAPS: usize = 10;
/// How long cards may take to pin a page.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tests that an unmap ends while the hardware of one card is being stopped, which takes longer
/// than anything that the other cards do, and these try to pin again what they have unpinned.
pub fn slow(checks: &mut Checks, card: &Card) -> Result<()> {
    let nothing = pinned()?;
    let others: Vec<Card> = (1..SLOW).map(|_| card.beside()).collect::<Result<_>>()?;
    let cards = || others.iter().chain([card]);
    let stops = || cards().map(Card::stops).sum::<Result<u32>>();
    let before = stops()?;
    let over = AtomicBool::new(false);
    let (pinning, is_pinned) = mpsc::channel();
    let channels = cards().flat_map(|card| (0..SLOW_CHANNELS).map(|n| card.channel(n)));
    let workers = channels.enumerate().map(|(page, channel)| {
        let (over, pinning) = (&over, pinning.clone());
        move || pin_slowly(channel, iova(page * PAGE), over, &pinning)
    });
    let pins = beside(workers, &over, || {
        (0..SLOW_UNMAPS).try_for_each(|_| {
            is_pinned.recv_timeout(patience::of(PATIENCE))?;
            card.unmap(0, PAGES)?;
            // What was pinned until now is gone.
            is_pinned.try_iter().for_each(drop);
            card.map(0, PAGES)
        })
    })?;
    for pins in pins {
        checks.that("a channel of a slow card has pinned nothing", pins? > 0);
    }
    checks.that("no slow hardware was stopped", stops()? > before);
    drop(others);
    checks.equal("pages pinned by slow cards", pinned()?, nothing);
    Ok(())
}

/// Pins a page, again and again, until it is over; returns how often, and tells of each time.
fn pin_slowly(
    channel: Channel,
    iova: u64,
    over: &AtomicBool,
    pinning: &mpsc::Sender<()>,
) -> Result<usize, Errno> {
    let mut pins = 0;
    while !over.load(Ordering::Acquire) {
        match channel.pin_slow(iova, PAGE, STOP) {
            Ok(()) => {
                pins += 1;
                // Nobody listens any more when it is over.
                let _ = pinning.send(());
            }
            // It is not mapped, or is being unmapped.
            Err(Errno::INVAL | Errno::FAULT) => {}
            Err(error) => return Err(error),
        }
    }
    channel.unpin()?;
    Ok(pins)
}

/// Runs it; nothing is pinned then.
pub fn run(ctx: &mut Ctx, checks: &mut Checks, card: &Card) -> Result<Figures> {
    let seed = seed(ctx)?;
    let nothing = pinned()?;
    card.unmap(0, PAGES)?;
    card.map(0, PAGES - GOING)?;
    card.map(PAGES - GOING, GOING)?;
    let (over, pins) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut all = Figures::default();
    let workers = (0..CHANNELS).map(|number| {
        let (over, pins) = (&over, &pins);
        let random = Random::new(seed + number as u64);
        move || work(card.channel(number), over, pins, random)
    });
    let ends = beside(workers, &over, || {
        while pins.load(Ordering::Acquire) < PINS {
            all.unmaps += 1;
            card.unmap(PAGES - GOING, GOING)?;
            card.map(PAGES - GOING, GOING)?;
        }
        Ok(())
    })?;
    all.pins = pins.into_inner();
    for (figures, strange) in ends {
        checks.equal("errors of no unmap", strange, Vec::new());
        all.refused += figures.refused;
        all.revoked += figures.revoked;
    }
    checks.that("no guard was revoked", all.revoked > 0);
    checks.equal("pages pinned after the storm", pinned()?, nothing);
    card.unmap(0, PAGES - GOING)?;
    card.unmap(PAGES - GOING, GOING)?;
    card.map(0, PAGES)?;
    Ok(all)
}

/// Pins and looks, until it is over. Returns errors that an unmap does not explain, too.
fn work(
    channel: Channel,
    over: &AtomicBool,
    pins: &AtomicUsize,
    mut random: Random,
) -> (Figures, Vec<Errno>) {
    let mut figures = Figures::default();
    let mut strange = Vec::new();
    while !over.load(Ordering::Acquire) {
        let len = 1 + random.below(600 * PAGE);
        let at = random.below(PAGES * PAGE - len);
        let kind = Kind::ALL[random.below(Kind::ALL.len())];
        pins.fetch_add(1, Ordering::AcqRel);
        match channel.pin(kind, iova(at), len) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::FAULT) => {
                figures.refused += 1;
                continue;
            }
            Err(error) => strange.push(error),
        }
        for _ in 0..random.below(6) {
            let offset = random.below(len);
            let some = (len - offset).min(3000);
            let answer = match kind {
                Kind::Read => channel.kept_read(offset, some).map(drop),
                Kind::Write => channel.kept_write(offset, &vec![7; some]),
                Kind::Dma | Kind::DmaRead => channel.kept_walk().map(drop),
            };
            match answer {
                Ok(()) => {}
                Err(Errno::FAULT) => figures.revoked += 1,
                Err(error) => strange.push(error),
            }
        }
    }
    strange.extend(channel.unpin().err());
    (figures, strange)
}
