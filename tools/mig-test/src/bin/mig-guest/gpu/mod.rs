// SPDX-License-Identifier: GPL-2.0
//! The toy GPU: a thread that keeps it busy and knows the expected contents of every page.

mod card;
pub mod dma;
mod iommu;
mod pages;
mod screen;
mod work;

use std::io;
use std::str::FromStr;
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use card::Card;
use work::{Plan, Work};

use mig_common::message::{Checked, Message};

use crate::console::DebugConsole;

/// Rest of who has nothing to do.
const FOREVER: Duration = Duration::from_secs(1 << 30);

/// What the thread is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// `work SEED`: work as the seed says, from now on.
    Work(u64),
    /// `batches N`: tell when so many more batches were given to the card.
    Batches(u64),
    /// `renew N`: have the IOMMU take all memory from the card after each of the next N batches,
    /// tell then.
    Renew(u64),
    /// `check`: look at every page, tell, and go on.
    Check,
    /// `draw N`: draw the picture with this number, tell, and go on.
    Draw(u32),
}

impl FromStr for Order {
    type Err = io::Error;

    fn from_str(text: &str) -> io::Result<Order> {
        let unknown =
            || io::Error::other("work SEED, batches N, renew N, check and draw N are known");
        let (name, number) = text.split_once(' ').unwrap_or((text, ""));
        let number = number.parse().map_err(|_| unknown());
        match name {
            "work" => number.map(Order::Work),
            "batches" => number.map(Order::Batches),
            "renew" => number.map(Order::Renew),
            "check" => Ok(Order::Check),
            "draw" => number.map(|number| Order::Draw(number as u32)),
            _ => Err(unknown()),
        }
    }
}

/// Starts the card; orders are taken by a thread of its own.
pub fn start(console: Arc<DebugConsole>, behind_iommu: bool) -> io::Result<Sender<Order>> {
    let work = Work::start(Card::start(console.clone(), behind_iommu)?)?;
    let (sender, orders) = channel();
    thread::spawn(move || {
        let mut worker = Worker {
            console: console.clone(),
            work,
            plan: None,
            awaited: None,
            renewals: 0,
        };
        if let Err(error) = worker.run(&orders) {
            // The guest goes on without it, and whoever waits for an answer gets this one.
            let _ = console.complain("gpu", &error);
        }
    });
    Ok(sender)
}

struct Worker {
    console: Arc<DebugConsole>,
    work: Work,
    /// What there is to do.
    plan: Option<Plan>,
    /// How many batches somebody waits for.
    awaited: Option<u64>,
    /// How many batches are yet to be followed by a renewal of the card's memory.
    renewals: u64,
}

impl Worker {
    /// Works and obeys, until nobody can tell it anything any more. It rests as long as it works,
    /// and so leaves room for the rest of the guest, and for its migration.
    fn run(&mut self, orders: &Receiver<Order>) -> io::Result<()> {
        let mut rest = FOREVER;
        loop {
            match orders.recv_timeout(rest) {
                Ok(order) => self.obey(order)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            let Some(plan) = &mut self.plan else {
                continue;
            };
            let begin = Instant::now();
            self.work.batch(plan)?;
            if self.renewals > 0 {
                self.renewals -= 1;
                self.work.card.renew_memory()?;
            }
            rest = begin.elapsed();
            let (batches, _) = self.work.done();
            if self.awaited.is_some_and(|awaited| batches >= awaited) {
                self.awaited = None;
                self.console.say(&Message::Batches { batches })?;
            }
        }
    }

    fn obey(&mut self, order: Order) -> io::Result<()> {
        match order {
            Order::Work(seed) => self.plan = Some(Plan::new(seed)),
            Order::Batches(more) => self.awaited = Some(self.work.done().0 + more),
            Order::Renew(more) => {
                self.obey(Order::Batches(more))?;
                self.renewals = more;
            }
            Order::Check => {
                let (batches, commands) = self.work.done();
                let found = self.work.pages.check(&self.work.card);
                self.console.say(&Message::Checked(Checked {
                    batches,
                    commands,
                    ..found
                }))?;
            }
            Order::Draw(number) => {
                screen::draw(&mut self.work, number)?;
                self.console.say(&Message::Drawn { number })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Order;

    #[test]
    fn an_order_is_a_name_and_a_number_where_it_takes_one() {
        let order = |text: &str| text.parse::<Order>().ok();
        assert_eq!(order("work 7"), Some(Order::Work(7)));
        assert_eq!(order("batches 8"), Some(Order::Batches(8)));
        assert_eq!(order("renew 8"), Some(Order::Renew(8)));
        assert_eq!(order("check"), Some(Order::Check));
        assert_eq!(order("draw 9"), Some(Order::Draw(9)));
        for unknown in [
            "",
            "work",
            "work x",
            "batches -1",
            "renew",
            "draw",
            "rest 1",
        ] {
            assert_eq!(order(unknown), None, "{unknown}");
        }
    }
}
