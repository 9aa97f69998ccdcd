// SPDX-License-Identifier: GPL-2.0
//! Streams for the loader: sessions with right lengths and checksums, bent at will.

use arbitrary::Arbitrary;
use mdev_model::stream::{Format, MatchData, Tag, END_LEN, HEADER_LEN};

use crate::fixtures::stream::{
    raw_header, receive, Session, FORMAT, GEOMETRY, LONG, LONG_MOST, SHORT, SHORT_MOST, TYPE,
    UNKNOWN,
};
use crate::input;

#[derive(Arbitrary, Debug)]
struct Input {
    parts: Vec<Part>,
    /// The lengths of the pieces in which the stream arrives; the last one has the rest.
    pieces: Vec<u8>,
}

#[derive(Arbitrary, Debug)]
enum Part {
    /// A match record, of a source that fits in each respect that is `true`.
    Begin {
        format: bool,
        version: u8,
        readable_by: u8,
        kind: bool,
        geometry: bool,
    },
    Record(Kind, bool, Vec<u8>),
    /// A header as it comes, and a payload of another length, perhaps.
    Bent(u64, u32, u32, Vec<u8>),
    Bytes(Vec<u8>),
    /// The end record of the session.
    End,
    /// The session ends without one.
    Cut,
}

#[derive(Arbitrary, Debug)]
enum Kind {
    Short,
    Long,
    Unknown,
}

impl Part {
    /// Returns whether it is a record that fits, in a session.
    fn is_sound(&self) -> bool {
        match self {
            Part::Record(Kind::Short, _, payload) => payload.len() <= SHORT_MOST,
            Part::Record(Kind::Long, _, payload) => payload.len() <= LONG_MOST,
            Part::Record(Kind::Unknown, optional, _) => *optional,
            Part::End => true,
            _ => false,
        }
    }

    /// Adds the part to the stream, and to the session that is open.
    fn add(self, stream: &mut Vec<u8>, open: &mut Option<Session>) {
        let session = open.take();
        let next = match self {
            Part::Begin {
                format,
                version,
                readable_by,
                kind,
                geometry,
            } => {
                stream.extend(session.map(Session::cut).unwrap_or_default());
                let other = |fits: bool| u8::from(!fits);
                let mut data = MatchData::new(
                    &Format {
                        version: version.into(),
                        readable_by: readable_by.into(),
                        ..FORMAT
                    },
                    TYPE,
                    [GEOMETRY[0], GEOMETRY[1] + u64::from(other(geometry))],
                );
                data.format[15] = other(format);
                data.kind[15] = other(kind);
                Some(Session::with(&data))
            }
            Part::End => {
                stream.extend(session.unwrap_or_else(Session::new).end());
                None
            }
            Part::Cut => {
                stream.extend(session.map(Session::cut).unwrap_or_default());
                None
            }
            part => Some(part.add_to(session.unwrap_or_else(Session::new))),
        };
        *open = next;
    }

    fn add_to(self, session: Session) -> Session {
        match self {
            Part::Record(kind, optional, payload) => {
                let tag = match kind {
                    Kind::Short => SHORT,
                    Kind::Long => LONG,
                    Kind::Unknown => UNKNOWN,
                };
                match optional {
                    true => session.optional_record(tag, &payload),
                    false => session.record(tag, &payload),
                }
            }
            Part::Bent(size, flags, tag, payload) => {
                session.raw(&raw_header(size, flags, tag)).raw(&payload)
            }
            Part::Bytes(bytes) => session.raw(&bytes),
            Part::Begin { .. } | Part::End | Part::Cut => session,
        }
    }
}

/// A stream has the same fate in any pieces; one that is complete has the length and the checksum
/// that its end says, and one in which nothing is bent is complete.
pub fn run(data: &[u8]) {
    let Some(input) = input::of::<Input>(data) else {
        return;
    };
    let ends = matches!(input.parts.last(), Some(Part::End));
    let is_sound = ends && input.parts.iter().all(Part::is_sound);
    let (mut stream, mut open) = (Vec::new(), None);
    for part in input.parts {
        part.add(&mut stream, &mut open);
    }
    stream.extend(open.map(Session::cut).unwrap_or_default());
    let whole = receive([&stream[..]]);
    let mut rest = &stream[..];
    let mut pieces: Vec<&[u8]> = Vec::new();
    for len in input.pieces {
        let (piece, behind) = rest.split_at(usize::from(len).min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    let in_pieces = receive(pieces);
    assert_eq!(whole, in_pieces, "in one piece, and in several");
    assert!(whole.complete || !is_sound, "{:?}", whole.result);
    for (tag, payload) in &whole.receiver.records {
        assert!(payload.len() <= if *tag == SHORT { SHORT_MOST } else { LONG_MOST });
    }
    if let Err(refusal) = whole.result {
        assert!(!refusal.reason().is_empty());
        assert!(!refusal.is_mismatch() || whole.receiver.arriving.is_empty());
    }
    if whole.complete {
        assert!(whole.result.is_ok() && whole.receiver.arriving.is_empty());
        check_end(&stream);
    }
}

/// Checks the end record of a complete stream.
fn check_end(stream: &[u8]) {
    let (before, crc) = stream.split_at(stream.len() - 4);
    let length = before.len() - (END_LEN - 4) - HEADER_LEN;
    let said: [u8; 8] = before[before.len() - 8..].try_into().expect("eight bytes");
    let said = u64::from_le_bytes(said);
    assert!(
        said <= length as u64,
        "the session is longer than the stream"
    );
    let session = &before[length - said as usize..];
    assert_eq!(session[12..16], Tag::MATCH.0.to_le_bytes());
    assert_eq!(crc, crc32c::crc32c(session).to_le_bytes());
}
