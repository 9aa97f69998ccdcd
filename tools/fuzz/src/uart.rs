// SPDX-License-Identifier: GPL-2.0
//! The UART of mtty_rs: any accesses, moved between any two of them, and any saved state.

use arbitrary::Arbitrary;
use mdev_model::record::{Field, Record};
use mtty_model::{mainline, state::State, uart::Uart};

use crate::input;

#[derive(Arbitrary, Debug)]
enum Op {
    Read(u8),
    Write(u8, u8),
    /// The port is saved, and another one goes on with its state.
    Move,
    /// The port goes on with a state as it comes, if that is one.
    Load([u8; State::LEN]),
    /// The same, from the C driver's stream.
    LoadMainline([u8; mainline::PORT_LEN]),
    Reset,
}

/// A port that is moved shows its guest what one shows that stays.
pub fn run(data: &[u8]) {
    let Some(ops) = input::of::<Vec<Op>>(data) else {
        return;
    };
    let (mut moved, mut stays) = (Uart::new(), Uart::new());
    for op in ops {
        match op {
            Op::Read(reg) => assert_eq!(moved.read(reg), stays.read(reg), "register {reg}"),
            Op::Write(reg, value) => {
                moved.write(reg, value);
                stays.write(reg, value);
            }
            Op::Move => {
                let bytes = encode(&moved.state());
                let state = State::decode(&bytes).expect("the port takes its own state");
                moved = Uart::restore(state);
            }
            Op::Load(bytes) => {
                if let Ok(state) = State::decode(&bytes) {
                    assert_eq!(encode(&state), bytes, "a state that saves to other bytes");
                    (moved, stays) = (Uart::restore(state), Uart::restore(state));
                }
            }
            Op::LoadMainline(port) => {
                if let Ok(state) = mainline::decode_port(&port) {
                    (moved, stays) = (Uart::restore(state), Uart::restore(state));
                }
            }
            Op::Reset => {
                moved.reset();
                stays.reset();
            }
        }
        assert_eq!(moved.irq_level(), stays.irq_level());
        let state = moved.state();
        assert_eq!(encode(&state), encode(&stays.state()));
        assert!(state.check().is_ok(), "{state:?}");
    }
}

fn encode(state: &State) -> [u8; State::LEN] {
    let mut bytes = [0; State::LEN];
    state.put(&mut bytes);
    bytes
}
