// SPDX-License-Identifier: GPL-2.0

//! The record of the interrupt's state.

use mdev_model::stream::{Interrupt, LoadError};

const SIGNALLED: Interrupt = Interrupt {
    intx_signalled: true,
};
const QUIET: Interrupt = Interrupt {
    intx_signalled: false,
};

#[test]
fn what_is_written_is_read() {
    for interrupt in [SIGNALLED, QUIET] {
        assert_eq!(Interrupt::decode(&interrupt.encode()), Ok(interrupt));
    }
    assert_eq!(SIGNALLED.encode(), [1, 0, 0, 0]);
    assert_eq!(QUIET.encode(), [0; 4]);
}

#[test]
fn another_length_and_each_unknown_flag_are_refused() {
    for len in [0, 1, 3, 5, 8] {
        let refusal = Interrupt::decode(&vec![0; len]).unwrap_err();
        assert!(matches!(refusal, LoadError::BadState(_)), "{len}");
    }
    for bit in 1..32 {
        for flags in [1 << bit, 1 << bit | 1] {
            let refusal = Interrupt::decode(&u32::to_le_bytes(flags)).unwrap_err();
            assert!(matches!(refusal, LoadError::BadState(_)), "{flags:#x}");
        }
    }
}

#[test]
fn a_stream_that_says_nothing_may_have_a_raised_line() {
    assert_eq!(Interrupt::UNSAID, SIGNALLED);
}
