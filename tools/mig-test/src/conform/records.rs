// SPDX-License-Identifier: GPL-2.0
//! A stream of the SDK's records: taken apart, changed, and put together again with a right length
//! and checksum.

use std::collections::BTreeSet;

use mdev_model::stream::{Header, StreamChecksum, Tag, END_LEN, HEADER_LEN};

/// A record of at most so many bytes is bent in each of them in each way. Of a longer one the first
/// few are, and of the others one of so many in each session, in one way, which changes.
const SHORT: usize = 512;
const BENT: usize = 32;
const SHARED: usize = 3;
/// Of a record of a page or more, or of a kind that occurs again, which is memory, one in this
/// number of the others is.
const PAGE: usize = 4096;
const SAMPLED: usize = 509;
/// The ways in which a byte is bent.
const FLIPS: [u8; 4] = [0x01, 0x10, 0x80, 0xff];

/// A record: header and payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The kind of payload.
    pub tag: Tag,
    optional: bool,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Record {
    /// Returns whether it is the driver's and not the SDK's.
    pub fn is_of_driver(&self) -> bool {
        self.tag.0 >= Tag::FIRST_DRIVER.0
    }
}

/// Parses a stream of records; `None` if it is none.
pub fn parse(stream: &[u8]) -> Option<Vec<Record>> {
    let (mut records, mut rest) = (Vec::new(), stream);
    while let Some((header, behind)) = rest.split_first_chunk::<HEADER_LEN>() {
        let header = Header::decode(header).ok()?;
        let size = usize::try_from(header.size).ok()?;
        let (payload, behind) = behind.split_at_checked(size)?;
        records.push(Record {
            tag: header.tag,
            optional: header.optional,
            payload: payload.to_vec(),
        });
        rest = behind;
    }
    let is_session = records.first()?.tag == Tag::MATCH && records.last()?.tag == Tag::END;
    (rest.is_empty() && is_session).then_some(records)
}

/// Returns the stream of the records, with an end of its own.
fn build(records: &[Record]) -> Vec<u8> {
    // The kernel's crc32c() inverts neither the seed nor the result.
    let mut sum = StreamChecksum::new(|seed, bytes| !crc32c::crc32c_append(!seed, bytes));
    let mut stream = Vec::new();
    for record in records.iter().filter(|record| record.tag != Tag::END) {
        let header = Header {
            size: record.payload.len() as u64,
            optional: record.optional,
            tag: record.tag,
        };
        for bytes in [&header.encode()[..], &record.payload] {
            sum.account(bytes);
            stream.extend_from_slice(bytes);
        }
    }
    stream.extend_from_slice(&sum.end());
    stream
}

/// Returns the name of a tag.
pub fn name(tag: Tag) -> String {
    format!("{:#x}", tag.0)
}

/// Returns the names of the driver's tags in a stream.
pub fn tags(stream: &[u8]) -> BTreeSet<String> {
    let records = parse(stream).unwrap_or_default();
    let of_driver = records.iter().filter(|record| record.is_of_driver());
    of_driver.map(|record| name(record.tag)).collect()
}

/// A changed stream.
pub struct Bent {
    /// The rule that it is for.
    pub rule: &'static str,
    /// What was changed.
    pub what: String,
    /// The tag of the changed record.
    pub tag: Tag,
    /// The records.
    pub records: Vec<Record>,
    /// How they end.
    pub end: End,
}

/// The end of a changed stream.
#[derive(Clone, Copy, PartialEq)]
pub enum End {
    /// The length and the checksum of the records.
    Right,
    /// A checksum with a changed bit.
    Wrong,
    /// None.
    Missing,
}

impl Bent {
    /// Returns how what a device saves that has taken this differs from the whole session, if the
    /// change only repeats a record or moves it.
    pub fn unlike(&self, session: &[Record], saved: &[u8]) -> Option<String> {
        match self.rule {
            "stream.repeated" | "stream.reordered" => differs(session, &parse(saved)?),
            _ => None,
        }
    }

    /// Returns the bytes.
    pub fn stream(&self) -> Vec<u8> {
        let mut stream = build(&self.records);
        let len = stream.len();
        match self.end {
            End::Right => {}
            End::Wrong => stream[len - 1] ^= 1,
            End::Missing => stream.truncate(len - END_LEN - HEADER_LEN),
        }
        stream
    }
}

/// Returns the changes of a session, which has a number; `other` is another one of the same device.
pub fn changes(records: &[Record], other: &[Record], number: usize) -> Vec<Bent> {
    let mut all = Vec::new();
    for (what, end) in [("no end", End::Missing), ("a wrong checksum", End::Wrong)] {
        all.push(Bent {
            rule: "stream.ended",
            what: what.into(),
            tag: Tag::END,
            records: records.to_vec(),
            end,
        });
    }
    let driver: Vec<usize> = (0..records.len())
        .filter(|at| records[*at].is_of_driver())
        .collect();
    let mut seen = BTreeSet::new();
    for at in driver {
        let record = &records[at];
        let what = format!("record {at}, tag {}", name(record.tag));
        let mut add = |rule, what: String, records| {
            all.push(Bent {
                rule,
                what,
                tag: record.tag,
                records,
                end: End::Right,
            });
        };
        let changed = |payload: Vec<u8>| {
            let mut changed = records.to_vec();
            changed[at].payload = payload;
            changed
        };
        // The first few of a kind are enough: a device may have thousands of pages.
        let count = 1 + usize::from(!seen.insert(record.tag.0));
        if count > 1 && at > 8 {
            continue;
        }
        let mut without = records.to_vec();
        without.remove(at);
        add(
            "stream.left-out",
            format!("{what} left out"),
            without.clone(),
        );
        let mut twice = records.to_vec();
        twice.insert(at, record.clone());
        add("stream.repeated", format!("{what} repeated"), twice);
        without.insert(1, record.clone());
        add(
            "stream.reordered",
            format!("{what} moved to the front"),
            without,
        );
        if let Some(theirs) = other.iter().find(|theirs| theirs.tag == record.tag) {
            if theirs != record {
                let rule = "stream.spliced";
                add(
                    rule,
                    format!("{what} from another session"),
                    changed(theirs.payload.clone()),
                );
            }
        }
        let payload = &record.payload;
        let mut sizes = vec![0, payload.len() / 2, payload.len().saturating_sub(1)];
        sizes.dedup();
        for size in sizes.into_iter().filter(|size| *size < payload.len()) {
            let rule = "stream.resized";
            add(
                rule,
                format!("{what} cut to {size} bytes"),
                changed(payload[..size].to_vec()),
            );
        }
        add(
            "stream.resized",
            format!("{what} with a byte more"),
            changed([&payload[..], &[0]].concat()),
        );
        let mut of_kind = records.iter().filter(|one| one.tag == record.tag);
        let is_memory = payload.len() >= PAGE || of_kind.nth(1).is_some();
        let is_sampled = |byte: &usize| {
            let is_short = payload.len() <= SHORT || *byte < BENT;
            let is_turn = (byte + number) % SHARED == 0;
            is_short || is_turn && !is_memory || is_memory && byte % SAMPLED == 0
        };
        for byte in (0..payload.len()).filter(is_sampled) {
            let one = [FLIPS[(byte + number) / SHARED % FLIPS.len()]];
            let flips = if payload.len() > SHORT && byte >= BENT {
                &one[..]
            } else {
                &FLIPS
            };
            for flip in flips {
                let mut bent = payload.clone();
                bent[byte] ^= flip;
                let what = format!("byte {byte} of {what} ^ {flip:#04x}");
                add("stream.bent", what, changed(bent));
            }
        }
    }
    all
}

/// Returns how the driver's records of two streams differ.
pub fn unlike(one: &[u8], other: &[u8]) -> Option<String> {
    differs(&parse(one)?, &parse(other)?)
}

fn differs(one: &[Record], other: &[Record]) -> Option<String> {
    let of_driver = |records: &[Record]| -> Vec<Record> {
        let mine = records.iter().filter(|record| record.is_of_driver());
        mine.cloned().collect()
    };
    let (one, other) = (of_driver(one), of_driver(other));
    if one.len() != other.len() {
        return Some(format!("{} records and not {}", one.len(), other.len()));
    }
    let differs = one.iter().zip(&other).find(|(one, other)| one != other);
    differs.map(|(one, _)| format!("a record with tag {} differs", name(one.tag)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conform::rule::RULES;

    fn record(tag: u32, payload: &[u8]) -> Record {
        Record {
            tag: Tag(tag),
            optional: false,
            payload: payload.to_vec(),
        }
    }

    #[test]
    fn a_stream_of_records_reads_back_and_ends_with_its_own_checksum() {
        let records = [
            record(1, &[0; 64]),
            record(0x100, b"abc"),
            record(0x101, b""),
        ];
        let stream = build(&records);
        let read = parse(&stream).unwrap();
        assert_eq!(read[..3], records);
        assert_eq!(read[3].tag, Tag::END);
        assert_eq!(build(&read), stream);
        assert_eq!(parse(&stream[1..]), None);
        assert_eq!(parse(&stream[..stream.len() - 1]), None);
        assert_eq!(
            tags(&stream),
            ["0x100".to_owned(), "0x101".to_owned()].into()
        );
    }

    #[test]
    fn each_rule_has_a_change_and_the_frame_of_the_session_stays() {
        let session =
            |payload: &[u8]| [record(1, &[0; 64]), record(0x100, payload), record(2, &[])];
        let all = changes(&session(b"abcd"), &session(b"efgh"), 0);
        let of_stream = RULES.iter().map(|rule| rule.id);
        let of_stream = of_stream.filter(|id| id.starts_with("stream."));
        // These two are about whatever was taken.
        for rule in of_stream.filter(|id| !matches!(*id, "stream.legal" | "stream.works")) {
            assert!(all.iter().any(|change| change.rule == rule), "{rule}");
        }
        assert!(all.iter().all(|change| change.records[0].tag == Tag::MATCH));
        let bent = all.iter().filter(|change| change.rule == "stream.bent");
        assert_eq!(bent.count(), 16);
    }

    #[test]
    fn a_long_state_is_bent_in_each_byte_and_memory_in_its_head() {
        let (state, page) = (record(0x100, &[0; 1000]), record(0x101, &[0; 4097]));
        let frame = |records: &[Record]| {
            let records = records.iter().cloned();
            let all = [record(1, &[0; 64])].into_iter().chain(records);
            all.chain([record(2, &[])]).collect::<Vec<_>>()
        };
        let session = frame(&[page.clone(), page, state.clone()]);
        let bent = |number| -> Vec<Vec<u8>> {
            let all = changes(&session, &session, number).into_iter();
            let bent = all.filter(|one| one.rule == "stream.bent" && one.tag == state.tag);
            bent.map(|one| one.records[3].payload.clone()).collect()
        };
        for byte in [0, 31, 32, 999] {
            let sessions = 0..SHARED * FLIPS.len();
            let flips: BTreeSet<u8> = sessions.flat_map(bent).map(|one| one[byte]).collect();
            assert!(FLIPS.iter().all(|flip| flips.contains(flip)), "{byte}");
        }
        let all: usize = (0..SHARED).map(|number| bent(number).len()).sum();
        assert_eq!(all, 4 * BENT * SHARED + 1000 - BENT);
        let all = changes(&session, &session, 0);
        let of_pages = all
            .iter()
            .filter(|one| one.rule == "stream.bent" && one.tag != state.tag);
        assert_eq!(of_pages.count(), 2 * (4 * BENT + 4096 / SAMPLED));
    }
}
