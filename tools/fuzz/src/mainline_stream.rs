// SPDX-License-Identifier: GPL-2.0
//! The stream of the kernel's C sample, mtty.c, as mtty_rs reads it.

use mdev_model::record::Record;
use mtty_model::mainline::{decode_port, encode_header, encode_port, Piece, Reader};

/// What is taken is a port's state, which saves to a port that is taken, too, and stays what it is.
pub fn run(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    let ports = 1 + u32::from(choice & 1);
    // Every second input has a right header, so that its ports are reached.
    let header = match choice & 2 {
        0 => &encode_header(ports)[..],
        _ => &[],
    };
    let mut reader = Reader::default();
    for byte in header.iter().chain(data) {
        let state = match reader.push(*byte, ports) {
            Ok(Some(Piece::Port(state))) => state,
            Ok(Some(Piece::Header)) => {
                assert!(reader.is_whole());
                continue;
            }
            Ok(None) => continue,
            Err(_) => return,
        };
        assert!(state.check().is_ok(), "{state:?}");
        let port = encode_port(&state);
        let again = decode_port(&port).expect("a port that was saved");
        assert_eq!(
            encode_port(&again),
            port,
            "a port that is not the same again"
        );
    }
}
