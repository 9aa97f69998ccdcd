// SPDX-License-Identifier: GPL-2.0
//! Streams whose records were left out, repeated, reordered, spliced, resized or bent, with a right
//! length and a right checksum, so that they reach the driver's own checks. The device must refuse
//! them and change nothing, or hold a state that the stream alone determines.

use std::collections::BTreeSet;

use anyhow::Result;
use mdev_model::stream::{Header, StreamChecksum, Tag, HEADER_LEN};
use mig_common::crc32c;

use super::exercise::Step;
use super::moves::undisturbed;
use super::play::Player;
use super::rig::Rig;
use super::snapshot::{Part, Snapshot};
use super::suite::Suite;
use crate::vfio::migration::State;

/// A record of at most so many bytes is bent in each of them; a longer one, which is memory, in the
/// first few.
const SHORT: usize = 512;
const BENT: usize = 32;
/// Streams that are bent, at most.
const STREAMS: usize = 6;
const LARGE: usize = 1 << 20;

/// A record: header and payload.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    tag: Tag,
    optional: bool,
    payload: Vec<u8>,
}

impl Record {
    fn is_of_driver(&self) -> bool {
        self.tag.0 >= Tag::FIRST_DRIVER.0
    }
}

/// Parses a stream of records; `None` if it is none.
fn parse(stream: &[u8]) -> Option<Vec<Record>> {
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
    let mut sum = StreamChecksum::new(crc32c::update);
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

fn name(tag: Tag) -> String {
    format!("{:#x}", tag.0)
}

/// Returns the names of the driver's tags in a stream.
pub fn tags(stream: &[u8]) -> BTreeSet<String> {
    let records = parse(stream).unwrap_or_default();
    let of_driver = records.iter().filter(|record| record.is_of_driver());
    of_driver.map(|record| name(record.tag)).collect()
}

/// A changed stream.
struct Bent {
    rule: &'static str,
    what: String,
    tag: Tag,
    records: Vec<Record>,
}

/// Returns the changes of a session; `other` is another one of the same device.
fn changes(records: &[Record], other: &[Record]) -> Vec<Bent> {
    let mut all = Vec::new();
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
        let bent = if payload.len() > SHORT {
            BENT
        } else {
            payload.len()
        };
        for byte in 0..bent {
            for flip in [0x01, 0x10, 0x80, 0xff] {
                let mut bent = payload.clone();
                bent[byte] ^= flip;
                let what = format!("byte {byte} of {what} ^ {flip:#04x}");
                add("stream.bent", what, changed(bent));
            }
        }
    }
    all
}

/// The rules of this file.
const RULES: [&str; 8] = [
    "stream.left-out",
    "stream.repeated",
    "stream.reordered",
    "stream.spliced",
    "stream.resized",
    "stream.bent",
    "stream.legal",
    "stream.rests",
];

/// Bends streams of the device.
pub fn bent(suite: &mut Suite<'_>) -> Result<()> {
    let rig = suite.open()?;
    // Those of devices at work first: they hold the most.
    let (mut at_work, mut at_rest) = (Vec::new(), Vec::new());
    for (work, interrupt) in suite.works() {
        let work = suite.work(&work);
        let waits = |step: &Step| matches!(step, Step::Wait(_) | Step::Interrupt(_));
        let first = work.steps.iter().position(waits);
        let ends = [
            (first, &mut at_work),
            (Some(work.steps.len()), &mut at_rest),
        ];
        for (end, sessions) in ends {
            let Some(end) = end else { continue };
            rig.reset()?;
            let mut player = Player::begin(suite.exercise, &work, &rig, interrupt)?;
            if player.play(&rig, end)?.is_none() {
                let stream = save(&rig)?;
                suite.seen(stream.clone());
                sessions.push(stream);
            }
            rig.listen(None)?;
        }
    }
    let mut sessions = [at_work, at_rest].concat();
    let mut seen = BTreeSet::new();
    sessions.retain(|session| seen.insert(session.clone()));
    let parsed: Option<Vec<Vec<Record>>> = sessions.iter().map(|stream| parse(stream)).collect();
    let Some(sessions) = parsed.filter(|sessions| !sessions.is_empty()) else {
        let reason = "the stream does not consist of the SDK's records";
        for rule in RULES {
            suite.skipped(rule, reason);
        }
        return Ok(());
    };
    let others = sessions.iter().cycle().skip(1);
    let mut bench = Bench::new(suite, &rig)?;
    for (session, other) in sessions.iter().zip(others).take(STREAMS) {
        let changes = changes(session, other);
        suite.told(&format!(
            "a stream of {} records, changed in {} ways",
            session.len(),
            changes.len()
        ));
        for change in changes {
            suite.bent += 1;
            suite.bent_tags.insert(name(change.tag));
            bench.check(suite, &change)?;
            if suite.is_enough() {
                return Ok(());
            }
        }
    }
    for rule in RULES {
        suite.passed(rule);
    }
    Ok(())
}

/// Saves the state of a device, which is stopped afterwards.
fn save(rig: &Rig) -> Result<Vec<u8>> {
    rig.set_state(State::Stop)?;
    saved(rig)
}

/// Saves the state of a stopped device.
fn saved(rig: &Rig) -> Result<Vec<u8>> {
    let file = rig.set_state(State::StopCopy)?;
    let (stream, _) = file.map_or(Ok((Vec::new(), true)), |file| file.read_to_end(LARGE))?;
    rig.set_state(State::Stop)?;
    Ok(stream)
}

/// A device that gets changed streams.
struct Bench<'r> {
    rig: &'r Rig,
    fresh: Snapshot,
}

impl<'r> Bench<'r> {
    fn new(suite: &Suite<'_>, rig: &'r Rig) -> Result<Self> {
        rig.reset()?;
        let fresh = Snapshot::take(rig, &suite.readable)?;
        Ok(Bench { rig, fresh })
    }

    /// Loads a stream into the stopped device; returns whether it was taken.
    fn load(&self, stream: &[u8]) -> Result<bool> {
        self.rig.set_state(State::Stop)?;
        let Some(file) = self.rig.set_state(State::Resuming)? else {
            return Ok(false);
        };
        let is_written = file.write_split(stream, &[LARGE]).is_ok();
        Ok(is_written && self.rig.set_state(State::Stop).is_ok())
    }

    fn check(&mut self, suite: &mut Suite<'_>, change: &Bent) -> Result<()> {
        let (rig, stream) = (self.rig, build(&change.records));
        let parts = [Part::Registers, Part::DeviceMemory, Part::GuestMemory];
        // First into a device that has a state, of which nothing may remain or change.
        if let Some((work, _)) = suite.works().first() {
            let work = suite.work(work);
            undisturbed(suite, rig, &work, None)?.ok();
        }
        let before = Snapshot::take(rig, &suite.readable)?;
        if !self.load(&stream)? {
            let after = Snapshot::take(rig, &suite.readable)?;
            if let Some(what) = before.differs_in(&after, &parts) {
                suite
                    .report
                    .fail(change.rule, format!("{}: refused, and {what}", change.what));
            }
            return self.as_new(suite, change);
        }
        let used = saved(rig)?;
        rig.reset()?;
        if !self.load(&stream)? {
            suite.report.fail(
                change.rule,
                format!(
                    "{}: a new device refuses what a used one takes",
                    change.what
                ),
            );
            return self.as_new(suite, change);
        }
        let new = saved(rig)?;
        if let Some(what) = unlike(&used, &new) {
            suite.report.fail(
                change.rule,
                format!(
                    "{}: taken, and something of the state before remains: {what}",
                    change.what
                ),
            );
        } else if let Some(what) = self.lost(&change.records, &new) {
            suite
                .report
                .fail(change.rule, format!("{}: taken, and {what}", change.what));
        }
        self.is_legal(suite, change)?;
        self.as_new(suite, change)
    }

    /// Returns what a device that has taken `records` saves otherwise. Records of a kind that
    /// occurs once are compared.
    fn lost(&self, records: &[Record], saved: &[u8]) -> Option<String> {
        let saved = parse(saved)?;
        let once = |records: &[Record], tag| {
            let mut of_tag = records.iter().filter(|record| record.tag == tag);
            of_tag.next().filter(|_| of_tag.next().is_none()).cloned()
        };
        records
            .iter()
            .filter(|record| record.is_of_driver())
            .find_map(|record| {
                let (given, kept) = (once(records, record.tag)?, once(&saved, record.tag)?);
                (given.payload != kept.payload).then(|| {
                    let at = given
                        .payload
                        .iter()
                        .zip(&kept.payload)
                        .position(|(a, b)| a != b);
                    let at = at.unwrap_or(given.payload.len().min(kept.payload.len()));
                    format!(
                        "saved again, record {} of {} bytes has {} and differs from byte {at} on",
                        name(record.tag),
                        given.payload.len(),
                        kept.payload.len()
                    )
                })
            })
    }

    /// Checks that a device that has taken a stream holds what a guest could have brought about,
    /// and comes to rest.
    fn is_legal(&self, suite: &mut Suite<'_>, change: &Bent) -> Result<()> {
        let rig = self.rig;
        let mut fail = |rule, shows| suite.report.fail(rule, format!("{}: {shows}", change.what));
        for legal in &suite.exercise.legal {
            let value = rig.read(&legal.register)?;
            if value & !legal.bits != 0 || legal.below.is_some_and(|below| value >= below) {
                fail(
                    "stream.legal",
                    format!("{} becomes {value:#x}", legal.register),
                );
            }
        }
        rig.set_state(State::Running)?;
        if let Some(rest) = &suite.exercise.rest {
            if !rig.until(|| rest.holds(rig))? {
                suite
                    .report
                    .fail("stream.rests", format!("{}: no rest", change.what));
                return Ok(());
            }
        }
        for (register, value) in suite.keeping().to_vec() {
            let found = rig.read(&register)?;
            rig.write(&register, value)?;
            if rig.read(&register)? != value {
                // It keeps nothing now.
                continue;
            }
            rig.write(&register, found)?;
            let again = rig.read(&register)?;
            if again != found {
                suite.report.fail(
                    "stream.legal",
                    format!(
                        "{}: {register} becomes {found:#x}, and a guest that writes that reads {again:#x}",
                        change.what
                    ),
                );
            }
        }
        Ok(())
    }

    /// Checks that the device is as new after a reset.
    fn as_new(&self, suite: &mut Suite<'_>, change: &Bent) -> Result<()> {
        self.rig.reset()?;
        let now = Snapshot::take(self.rig, &suite.readable)?;
        let parts = [Part::Registers, Part::DeviceMemory];
        let state = self.rig.device.state();
        if let Some(what) = self.fresh.differs_in(&now, &parts) {
            suite.report.fail(
                change.rule,
                format!("{}: after a reset {what}", change.what),
            );
        } else if state != Ok(State::Running) {
            suite.report.fail(
                change.rule,
                format!("{}: after a reset {state:?}", change.what),
            );
        }
        Ok(())
    }
}

/// Returns how the driver's records of two streams differ.
fn unlike(one: &[u8], other: &[u8]) -> Option<String> {
    let (one, other) = (parse(one)?, parse(other)?);
    let of_driver = |records: Vec<Record>| -> Vec<Record> {
        records.into_iter().filter(Record::is_of_driver).collect()
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
        let all = changes(&session(b"abcd"), &session(b"efgh"));
        for rule in &RULES[..6] {
            assert!(all.iter().any(|change| change.rule == *rule), "{rule}");
        }
        assert!(all.iter().all(|change| change.records[0].tag == Tag::MATCH));
        let bent = all.iter().filter(|change| change.rule == "stream.bent");
        assert_eq!(bent.count(), 16);
    }
}
