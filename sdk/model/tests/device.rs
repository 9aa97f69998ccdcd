// SPDX-License-Identifier: GPL-2.0

//! A device model with several interrupt vectors, in the machine for host tests.

use mdev_model::{
    prelude::*,
    testing::{move_at_each_step, Machine},
};

record! {
    /// Two timers, each with a vector of its own.
    pub struct Timers {
        left: [u32; 2],
        expired: [bool; 2],
    }
}

impl Record for Timers {
    fn check(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

impl Timers {
    fn start(&mut self, timer: usize, left: u32) {
        self.left[timer] = left;
        self.expired[timer] = false;
    }
}

impl DeviceModel for Timers {
    const IDENTITY: Identity = Identity {
        bars: Bar::memory32(4096).alone(),
        msi: 2,
        ..Identity::new(0x1234, 0x0002)
    };
    const FORMAT: Format = Format::first("timers");
    const REGISTERS: &'static [Register<Self>] = registers! { Timers {
        0x00: u32, read |timers| timers.left[0], write |timers, left| timers.start(0, left);
        0x04: u32, read |timers| timers.left[1], write |timers, left| timers.start(1, left);
    } };

    fn vector(&self, vector: usize) -> bool {
        self.expired[vector]
    }

    fn step(&mut self) -> Work<'_> {
        if self.left == [0; 2] {
            return Work::Idle;
        }
        for (left, expired) in self.left.iter_mut().zip(&mut self.expired) {
            *expired |= *left == 1;
            *left = left.saturating_sub(1);
        }
        Work::More
    }
}

#[test]
fn each_vector_is_counted_apart() {
    let mut machine = Machine::<Timers>::new(0);
    machine.write(0, 3u32);
    machine.write(4, 1u32);
    machine.step();
    assert_eq!(
        [0, 1, 2].map(|vector| machine.interrupts_of(vector)),
        [0, 1, 0]
    );
    machine.run(2);
    assert_eq!([0, 1].map(|vector| machine.interrupts_of(vector)), [1, 1]);
    assert_eq!(machine.interrupts(), 2);
    machine.write(4, 1u32);
    machine.run(1);
    assert_eq!([0, 1].map(|vector| machine.interrupts_of(vector)), [1, 2]);
}

#[test]
fn a_device_that_moves_interrupts_as_often_on_each_vector() {
    let steps = move_at_each_step::<Timers>(0, |machine| {
        machine.write(0, 3u32);
        machine.write(4, 5u32);
        machine.run(5);
        assert_eq!([0, 1].map(|vector| machine.interrupts_of(vector)), [1, 1]);
    });
    assert_eq!(steps, 5);
}
