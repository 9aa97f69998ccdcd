// SPDX-License-Identifier: GPL-2.0

//! Reading a stream: any segmentation in, whole decisions out.

use super::{
    end::{Crc32c, StreamChecksum, END_LEN},
    match_data::{MatchData, MATCH_LEN},
    record::{Fields, Header, LoadError, Tag, HEADER_LEN},
};

/// What is to become of a record whose header was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// The tag is known; its payload has at most this many bytes.
    UpTo(u64),
    /// The tag is not known.
    No,
}

/// The receiving side of a [`Loader`]: holds what was received and knows the device.
pub trait Sink {
    /// A session begins: whatever an earlier one left is to be forgotten. Refuses match data that
    /// does not fit the device.
    fn begin(&mut self, data: &MatchData) -> Result<(), LoadError>;
    /// Whether records with `tag` are known, and how long they can be.
    fn known(&self, tag: Tag) -> Known;
    /// Takes the next bytes of the payload of the current record.
    fn payload(&mut self, bytes: &[u8]) -> Result<(), LoadError>;
    /// The payload of the current record is complete.
    fn record(&mut self, tag: Tag) -> Result<(), LoadError>;
    /// The session is complete and its checksum right. After `Ok` the state can be committed
    /// without fail.
    fn complete(&mut self) -> Result<(), LoadError>;
}

/// Where a [`Loader`] stands between two calls.
#[derive(Debug)]
enum Step {
    /// Collecting a header.
    Header,
    /// Collecting one of the two payloads that the loader itself reads.
    Own(Tag),
    /// Passing a payload of `left` more bytes on to the sink.
    Pass { tag: Tag, left: u64 },
    /// Skipping an unknown optional payload.
    Skip { left: u64 },
    /// The session is complete.
    Complete,
    /// The session was refused.
    Refused(LoadError),
}

/// Reads a stream in any segmentation.
#[derive(Debug)]
pub struct Loader {
    tally: StreamChecksum,
    step: Step,
    began: bool,
    /// Header or own payload that is being collected: the first `filled` bytes count.
    buffer: [u8; MATCH_LEN],
    filled: usize,
}

impl Loader {
    /// A loader that has read nothing.
    pub fn new(crc32c: Crc32c) -> Self {
        Loader {
            tally: StreamChecksum::new(crc32c),
            step: Step::Header,
            began: false,
            buffer: [0; MATCH_LEN],
            filled: 0,
        }
    }

    /// Whether a whole session was read and found right.
    pub fn is_complete(&self) -> bool {
        matches!(self.step, Step::Complete)
    }

    /// Takes all of `input`, or refuses the stream; after a refusal nothing is taken any more.
    pub fn push(&mut self, mut input: &[u8], sink: &mut impl Sink) -> Result<(), LoadError> {
        while !input.is_empty() {
            let taken = match self.advance(input, sink) {
                Ok(taken) => taken,
                Err(refusal) => {
                    self.step = Step::Refused(refusal);
                    return Err(refusal);
                }
            };
            input = &input[taken..];
        }
        Ok(())
    }

    fn advance(&mut self, input: &[u8], sink: &mut impl Sink) -> Result<usize, LoadError> {
        match self.step {
            Step::Refused(refusal) => Err(refusal),
            Step::Complete => {
                // Only a new session may follow.
                *self = Loader::new(self.tally.crc32c);
                self.advance(input, sink)
            }
            Step::Header => {
                let taken = self.collect(input, HEADER_LEN);
                if self.filled == HEADER_LEN {
                    self.header(sink)?;
                }
                Ok(taken)
            }
            Step::Own(tag) => {
                let wanted = if tag == Tag::MATCH {
                    MATCH_LEN
                } else {
                    END_LEN
                };
                let taken = self.collect(input, wanted);
                if self.filled == wanted {
                    self.own_payload(tag, sink)?;
                }
                Ok(taken)
            }
            Step::Pass { tag, left } => {
                let taken = bounded(left, input.len());
                sink.payload(&input[..taken])?;
                self.tally.account(&input[..taken]);
                self.pass(tag, left - taken as u64, sink)?;
                Ok(taken)
            }
            Step::Skip { left } => {
                let taken = bounded(left, input.len());
                self.tally.account(&input[..taken]);
                self.skip(left - taken as u64);
                Ok(taken)
            }
        }
    }

    /// Moves bytes into the buffer until it holds `wanted`.
    fn collect(&mut self, input: &[u8], wanted: usize) -> usize {
        let taken = input.len().min(wanted - self.filled);
        self.buffer[self.filled..self.filled + taken].copy_from_slice(&input[..taken]);
        self.filled += taken;
        taken
    }

    fn header(&mut self, sink: &mut impl Sink) -> Result<(), LoadError> {
        let bytes: [u8; HEADER_LEN] = Fields(&self.buffer).take();
        let header = Header::decode(&bytes)?;
        self.filled = 0;
        if header.tag == Tag::MATCH {
            if header.size != MATCH_LEN as u64 || header.optional {
                return Err(LoadError::NoMatchData);
            }
            // A session begins anew, also in the middle of another one that was given up.
            self.tally = StreamChecksum::new(self.tally.crc32c);
            self.tally.account(&bytes);
            self.step = Step::Own(Tag::MATCH);
            return Ok(());
        }
        if !self.began {
            return Err(LoadError::NoMatchData);
        }
        if header.tag == Tag::END {
            if header.size != END_LEN as u64 || header.optional {
                return Err(LoadError::WrongLength);
            }
            // The length counts the records before this one, so it is not accounted yet.
            self.step = Step::Own(Tag::END);
            return Ok(());
        }
        self.tally.account(&bytes);
        match sink.known(header.tag) {
            Known::UpTo(most) if header.size <= most => self.pass(header.tag, header.size, sink),
            Known::UpTo(_) => Err(LoadError::RecordTooLong),
            Known::No if header.optional => {
                self.skip(header.size);
                Ok(())
            }
            Known::No => Err(LoadError::UnknownRecord),
        }
    }

    fn own_payload(&mut self, tag: Tag, sink: &mut impl Sink) -> Result<(), LoadError> {
        self.filled = 0;
        if tag == Tag::MATCH {
            let bytes: [u8; MATCH_LEN] = self.buffer;
            sink.begin(&MatchData::decode(&bytes)?)?;
            self.tally.account(&bytes);
            self.began = true;
            self.step = Step::Header;
            return Ok(());
        }
        let mut at = Fields(&self.buffer);
        if u64::from_le_bytes(at.take()) != self.tally.length() {
            return Err(LoadError::WrongLength);
        }
        if self.tally.end()[HEADER_LEN..] != self.buffer[..END_LEN] {
            return Err(LoadError::WrongChecksum);
        }
        sink.complete()?;
        self.step = Step::Complete;
        Ok(())
    }

    fn pass(&mut self, tag: Tag, left: u64, sink: &mut impl Sink) -> Result<(), LoadError> {
        self.step = if left == 0 {
            sink.record(tag)?;
            Step::Header
        } else {
            Step::Pass { tag, left }
        };
        Ok(())
    }

    fn skip(&mut self, left: u64) {
        self.step = if left == 0 {
            Step::Header
        } else {
            Step::Skip { left }
        };
    }
}

/// `left` as far as `len` bytes go.
fn bounded(left: u64, len: usize) -> usize {
    usize::try_from(left).map_or(len, |left| left.min(len))
}
