// SPDX-License-Identifier: GPL-2.0

//! Loading a stream: takes bytes in any segmentation, and passes records on.

use super::{
    end::{Crc32c, StreamChecksum, END_LEN},
    match_data::{MatchData, MATCH_LEN},
    record::{Fields, Header, LoadError, Tag, HEADER_LEN},
};

/// Whether the tag of a record is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// The tag is known, and a payload of it has at most this many bytes.
    UpTo(u64),
    /// The tag is not known.
    No,
}

/// The receiver of a [`Loader`]'s records, which knows the device.
pub trait Sink {
    /// Begins a session, and drops what an earlier one left.
    ///
    /// # Errors
    ///
    /// An error refuses match data that does not fit the device.
    fn begin(&mut self, data: &MatchData) -> Result<(), LoadError>;
    /// Returns whether records with `tag` are known, and their largest length.
    fn known(&self, tag: Tag) -> Known;
    /// Takes the next bytes of the payload of the current record; an error refuses them.
    fn payload(&mut self, bytes: &[u8]) -> Result<(), LoadError>;
    /// Takes the current record, whose payload is complete; an error refuses it.
    fn record(&mut self, tag: Tag) -> Result<(), LoadError>;
    /// Ends the session, which is complete and has the right checksum.
    ///
    /// After `Ok` a commit of the state must not fail; an error refuses the session.
    fn complete(&mut self) -> Result<(), LoadError>;
}

/// The progress of a [`Loader`] between two calls.
#[derive(Debug)]
enum Step {
    /// Collecting a header.
    Header,
    /// Collecting one of the two payloads that the loader itself reads.
    Own(Tag),
    /// Passing a payload, of which `left` bytes are missing, to the sink.
    Pass { tag: Tag, left: u64 },
    /// Skipping the payload of an unknown optional record.
    Skip { left: u64 },
    /// The session is complete.
    Complete,
    /// The session was refused.
    Refused(LoadError),
}

/// A loader of a stream that arrives in any segmentation.
#[derive(Debug)]
pub struct Loader {
    tally: StreamChecksum,
    step: Step,
    began: bool,
    /// The header or own payload that is being collected, of which the first `filled` bytes are
    /// valid.
    buffer: [u8; MATCH_LEN],
    filled: usize,
}

impl Loader {
    /// Creates a loader that has read nothing.
    pub fn new(crc32c: Crc32c) -> Self {
        Loader {
            tally: StreamChecksum::new(crc32c),
            step: Step::Header,
            began: false,
            buffer: [0; MATCH_LEN],
            filled: 0,
        }
    }

    /// Returns whether a whole session was loaded, with the right checksum.
    pub fn is_complete(&self) -> bool {
        matches!(self.step, Step::Complete)
    }

    /// Takes all of `input`.
    ///
    /// # Errors
    ///
    /// An error refuses the stream for good: all later calls return it again.
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

    /// Takes some bytes of `input`, at least one, and returns their number.
    fn advance(&mut self, input: &[u8], sink: &mut impl Sink) -> Result<usize, LoadError> {
        match self.step {
            Step::Refused(refusal) => Err(refusal),
            Step::Complete => {
                // Only another session may follow.
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

    /// Moves bytes to the buffer until it holds `wanted`, and returns their number.
    fn collect(&mut self, input: &[u8], wanted: usize) -> usize {
        let taken = input.len().min(wanted - self.filled);
        self.buffer[self.filled..self.filled + taken].copy_from_slice(&input[..taken]);
        self.filled += taken;
        taken
    }

    /// Handles the header in the buffer.
    fn header(&mut self, sink: &mut impl Sink) -> Result<(), LoadError> {
        let bytes: [u8; HEADER_LEN] = Fields(&self.buffer).take();
        let header = Header::decode(&bytes)?;
        self.filled = 0;
        if header.tag == Tag::MATCH {
            if header.size != MATCH_LEN as u64 || header.optional {
                return Err(LoadError::NoMatchData);
            }
            // A session may begin anew at any record, in place of one that was given up.
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
            // The length in this record counts the bytes before it, so its header is not added yet.
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

    /// Handles the payload in the buffer, of a match record or an end record.
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

    /// Passes a payload of `left` more bytes to the sink, or completes the record if it is 0.
    fn pass(&mut self, tag: Tag, left: u64, sink: &mut impl Sink) -> Result<(), LoadError> {
        self.step = if left == 0 {
            sink.record(tag)?;
            Step::Header
        } else {
            Step::Pass { tag, left }
        };
        Ok(())
    }

    /// Skips `left` more bytes.
    fn skip(&mut self, left: u64) {
        self.step = if left == 0 {
            Step::Header
        } else {
            Step::Skip { left }
        };
    }
}

/// Returns `left`, but at most `len`.
fn bounded(left: u64, len: usize) -> usize {
    usize::try_from(left).map_or(len, |left| left.min(len))
}
