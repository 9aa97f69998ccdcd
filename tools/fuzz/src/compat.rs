// SPDX-License-Identifier: GPL-2.0
//! Compatibility texts, and the payloads of the SDK's own records.

use mdev_model::stream::{
    check_events, event_is_set, Compatibility, Header, Interrupt, MatchData, HEADER_LEN, MATCH_LEN,
};

/// A text that is read prints as one that is read as the same; a device loads what its equal saves.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // Two texts, if there is a form feed between them.
    let (source, destination) = text.split_once('\x0c').unwrap_or((text, text));
    let Ok(source) = source.parse::<Compatibility>() else {
        return;
    };
    assert_eq!(source.to_string().parse(), Ok(source));
    let is_sound = source.sends.version >= source.oldest;
    assert_eq!(source.mismatch(&source).is_none(), is_sound);
    let Ok(destination) = destination.parse::<Compatibility>() else {
        return;
    };
    if let Some(mismatch) = destination.mismatch(&source) {
        assert!(source != destination || !is_sound);
        assert!(mismatch.to_string().starts_with(mismatch.reason.reason()));
    }
}

/// A device whose names are printed as they are has a text that is read as the same.
fn check_text(sends: MatchData) {
    let is_plain = |name: &[u8; 16]| {
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(16);
        let (name, padding) = name.split_at(end);
        let graphic = |byte: &u8| byte.is_ascii_graphic() && *byte != b'\\';
        end > 0 && name.iter().all(graphic) && padding.iter().all(|byte| *byte == 0)
    };
    if is_plain(&sends.format) && is_plain(&sends.kind) {
        let compatibility = Compatibility {
            sends,
            oldest: sends.version,
            config: sends.geometry[0] as u32,
        };
        assert_eq!(compatibility.to_string().parse(), Ok(compatibility));
    }
}

/// A payload or a header that is taken is written as the same bytes.
pub fn run_payloads(data: &[u8]) {
    if let Ok(bytes) = <&[u8; MATCH_LEN]>::try_from(data) {
        if let Ok(found) = MatchData::decode(bytes) {
            assert_eq!(found.encode(), *bytes);
            check_text(found);
        }
    }
    if let Ok(bytes) = <&[u8; HEADER_LEN]>::try_from(data) {
        if let Ok(header) = Header::decode(bytes) {
            assert_eq!(header.encode(), *bytes);
        }
    }
    if let Ok(interrupt) = Interrupt::decode(data) {
        assert_eq!(interrupt.encode(), data);
    }
    if let Some((vectors, bitmap)) = data.split_first() {
        let vectors = usize::from(*vectors);
        if check_events(bitmap, vectors).is_ok() {
            assert!((vectors..bitmap.len() * 8).all(|beyond| !event_is_set(bitmap, beyond)));
        }
    }
}
