// SPDX-License-Identifier: GPL-2.0

//! For tests of streams: a writer of sessions, a receiver that records its calls, and a second
//! implementation of the kernel's checksum.

use mdev_model::stream::{
    name, Format, Header, Known, LoadError, Loader, MatchData, Name, Sink, StreamChecksum, Tag,
};

pub const FORMAT: Format = Format {
    name: name("sample"),
    version: 3,
    oldest: 2,
    readable_by: 2,
};
pub const TYPE: Name = name("sample-1");
pub const GEOMETRY: [u64; 2] = [4, 1 << 20];

/// The tags that the receiver knows, and the largest lengths of their payloads.
pub const SHORT: Tag = Tag(0x100);
pub const SHORT_MOST: usize = 8;
pub const LONG: Tag = Tag(0x101);
pub const LONG_MOST: usize = 1000;
/// A tag that the receiver does not know.
pub const UNKNOWN: Tag = Tag(0x1ff);

/// `crc32c(seed, data)` as in the kernel, made from a function that inverts at both ends.
pub fn kernel_crc32c(seed: u32, data: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, data)
}

pub fn loader() -> Loader {
    Loader::new(kernel_crc32c)
}

/// A record header, field by field, so that it can hold what [`Header`] cannot.
pub fn raw_header(size: u64, flags: u32, tag: u32) -> Vec<u8> {
    let mut out = size.to_le_bytes().to_vec();
    out.extend(flags.to_le_bytes());
    out.extend(tag.to_le_bytes());
    out
}

/// A session that is being written.
pub struct Session {
    bytes: Vec<u8>,
    tally: StreamChecksum,
}

impl Session {
    /// A session that fits the receiver.
    pub fn new() -> Self {
        Self::with(&MatchData::new(&FORMAT, TYPE, GEOMETRY))
    }

    pub fn with(data: &MatchData) -> Self {
        let empty = Session {
            bytes: Vec::new(),
            tally: StreamChecksum::new(kernel_crc32c),
        };
        empty.record(Tag::MATCH, &data.encode())
    }

    pub fn record(self, tag: Tag, payload: &[u8]) -> Self {
        self.header_and_payload(tag, false, payload)
    }

    pub fn optional_record(self, tag: Tag, payload: &[u8]) -> Self {
        self.header_and_payload(tag, true, payload)
    }

    fn header_and_payload(self, tag: Tag, optional: bool, payload: &[u8]) -> Self {
        let size = payload.len() as u64;
        let header = Header {
            size,
            optional,
            tag,
        };
        self.raw(&header.encode()).raw(payload)
    }

    /// Appends any bytes, and adds them to the checksum.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.tally.account(bytes);
        self.bytes.extend(bytes);
        self
    }

    /// Returns the session as far as it was written.
    pub fn cut(self) -> Vec<u8> {
        self.bytes
    }

    pub fn end(self) -> Vec<u8> {
        let end = self.tally.end();
        [self.bytes, end.to_vec()].concat()
    }
}

/// Returns a session with all that a session can have.
pub fn whole_session() -> Vec<u8> {
    Session::new()
        .record(SHORT, b"first")
        .optional_record(UNKNOWN, b"what nobody asked for")
        .record(LONG, &[0x5a; 40])
        .optional_record(SHORT, b"")
        .end()
}

/// A call of the receiver that can refuse the stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Call {
    Begin,
    Payload,
    Record,
    Complete,
}

/// The error with which the receiver refuses when a test requests it.
pub const REFUSED: LoadError = LoadError::BadState("as told");

/// A receiver that takes [`FORMAT`], and records its calls.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Receiver {
    pub refuses: Option<Call>,
    pub begun: usize,
    /// Payload of the record that is arriving.
    pub arriving: Vec<u8>,
    /// Whole records of the current session.
    pub records: Vec<(Tag, Vec<u8>)>,
    pub completed: usize,
}

impl Receiver {
    fn answer(&self, call: Call) -> Result<(), LoadError> {
        if self.refuses == Some(call) {
            Err(REFUSED)
        } else {
            Ok(())
        }
    }
}

impl Sink for Receiver {
    fn begin(&mut self, data: &MatchData) -> Result<(), LoadError> {
        self.answer(Call::Begin)?;
        data.check(&FORMAT, TYPE, GEOMETRY)?;
        self.begun += 1;
        self.arriving.clear();
        self.records.clear();
        Ok(())
    }

    fn known(&self, tag: Tag) -> Known {
        match tag {
            SHORT => Known::UpTo(SHORT_MOST as u64),
            LONG => Known::UpTo(LONG_MOST as u64),
            _ => Known::No,
        }
    }

    fn payload(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        self.answer(Call::Payload)?;
        self.arriving.extend(bytes);
        Ok(())
    }

    fn record(&mut self, tag: Tag) -> Result<(), LoadError> {
        self.answer(Call::Record)?;
        self.records.push((tag, std::mem::take(&mut self.arriving)));
        Ok(())
    }

    fn complete(&mut self) -> Result<(), LoadError> {
        self.answer(Call::Complete)?;
        self.completed += 1;
        Ok(())
    }
}

/// The result of receiving a stream.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    pub result: Result<(), LoadError>,
    pub complete: bool,
    pub receiver: Receiver,
}

pub fn receive<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let (mut loader, mut receiver) = (loader(), Receiver::default());
    let result = pieces
        .into_iter()
        .try_for_each(|piece| loader.push(piece, &mut receiver));
    Outcome {
        result,
        complete: loader.is_complete(),
        receiver,
    }
}

/// Returns the reason for which the stream is refused; `None` if it is not.
pub fn refusal(stream: &[u8]) -> Option<LoadError> {
    let Outcome {
        result, complete, ..
    } = receive([stream]);
    assert!(!(complete && result.is_err()), "refused and yet complete");
    result.err()
}
