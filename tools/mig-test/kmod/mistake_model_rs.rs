// SPDX-License-Identifier: GPL-2.0

//! A model whose step transfers more than the SDK allows. The scenario `driver-mistakes` requires
//! that the kernel log names the rule, and that the model is told of a fault.

#![forbid(unsafe_code)]

use mdev_model::{device::MAX_TRANSFER, prelude::*};

mdev_sdk::module_mdev_model! {
    model: Greedy,
    devices: 16,
    name: "mistake_model_rs",
    authors: ["The mdev SDK authors"],
    description: "Model that transfers too much at a time, for tests of the mdev SDK",
    license: "GPL",
}

record! {
    /// The device.
    pub struct Greedy {
        /// Transfers that were asked for and not tried.
        asked: u32,
        /// Transfers that failed.
        faults: u32,
    }
}

impl Record for Greedy {
    fn check(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

impl DeviceModel for Greedy {
    const IDENTITY: Identity = Identity {
        bars: Bar::memory32(4096).alone(),
        ..Identity::new(0x4d49, 0x5355)
    };
    const FORMAT: Format = Format::first("mistake_model_rs");
    const REGISTERS: &'static [Register<Self>] = registers! { Greedy {
        0x00: u32, read |greedy| greedy.faults, write |greedy, times| greedy.asked = times;
    } };

    fn interrupt(&self) -> bool {
        false
    }

    fn step(&mut self) -> Work<'_> {
        match self.asked {
            0 => Work::Idle,
            _ => Work::Read(0, MAX_TRANSFER + 1),
        }
    }

    fn transferred(&mut self, result: Result<&[u8], Fault>) {
        self.asked -= 1;
        self.faults += u32::from(result.is_err());
    }
}
