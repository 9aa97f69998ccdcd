// SPDX-License-Identifier: GPL-2.0

//! The records of a migration stream: framing, match data and the closing checksum.
//!
//! A session is a [`Tag::MATCH`] record, any number of others, and one [`Tag::END`] record whose
//! checksum covers all bytes before it. [`Loader`] takes the bytes in any segmentation and hands whole
//! decisions to a [`Sink`]; [`Saver`] keeps the count and the checksum for the other direction.
//! Documentation/stream-format.md says the same byte by byte. All integers are little endian.

/// Length in bytes of a record header.
pub const HEADER_LEN: usize = 16;
/// Length in bytes of the payload of a [`Tag::MATCH`] record.
pub const MATCH_LEN: usize = 64;
/// Length in bytes of the payload of a [`Tag::END`] record.
pub const END_LEN: usize = 12;

/// The first bytes of every session's match data.
pub const MAGIC: [u8; 8] = *b"MDEVMIG\n";
/// Version of the framing itself; another value is refused.
pub const FRAMING: u16 = 1;

/// `crc32c(seed, data)` as the kernel has it: Castagnoli, no inversion at either end.
pub type Crc32c = fn(u32, &[u8]) -> u32;

const CRC_SEED: u32 = !0;

/// What a record carries. Tags below [`Tag::FIRST_DRIVER`] are the SDK's, the others the driver's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(pub u32);

impl Tag {
    /// Match data: the first record of a session.
    pub const MATCH: Tag = Tag(1);
    /// Length and checksum of the session: its last record.
    pub const END: Tag = Tag(2);
    /// PCI configuration space.
    pub const CONFIG: Tag = Tag(3);
    /// The first tag that a driver may use.
    pub const FIRST_DRIVER: Tag = Tag(0x100);
}

/// The 16 bytes before each payload: `{ le64 size, le32 flags, le32 tag }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Length in bytes of the payload.
    pub size: u64,
    /// Whether a reader that does not know the tag may skip the record.
    pub optional: bool,
    /// What the payload is.
    pub tag: Tag,
}

const FLAG_OPTIONAL: u32 = 1;

impl Header {
    /// The header as it stands in the stream.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let flags = if self.optional { FLAG_OPTIONAL } else { 0 };
        let mut out = [0; HEADER_LEN];
        out[..8].copy_from_slice(&self.size.to_le_bytes());
        out[8..12].copy_from_slice(&flags.to_le_bytes());
        out[12..].copy_from_slice(&self.tag.0.to_le_bytes());
        out
    }

    /// Reads a header; an unknown flag is refused.
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, Refusal> {
        let mut at = Fields(bytes);
        let header = Header {
            size: u64::from_le_bytes(at.take()),
            optional: match u32::from_le_bytes(at.take()) {
                0 => false,
                FLAG_OPTIONAL => true,
                _ => return Err(Refusal::UnknownFlags),
            },
            tag: Tag(u32::from_le_bytes(at.take())),
        };
        Ok(header)
    }
}

/// Reads fixed-size fields one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, tail) = self.0.split_at(N);
        self.0 = tail;
        let mut out = [0; N];
        out.copy_from_slice(head);
        out
    }
}

/// Why a stream is refused. The first refusal ends the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A record header has a flag that this version does not know.
    UnknownFlags,
    /// The session does not begin with a match record of the right length.
    NoMatchData,
    /// The match data is not this SDK's or of another framing.
    NotOurs,
    /// The stream was saved by another driver.
    OtherFormat,
    /// The stream's version is outside of what this driver reads.
    OtherVersion,
    /// The stream was saved by a device of another type.
    OtherType,
    /// The stream was saved by a device of another geometry.
    OtherGeometry,
    /// A record that this version does not know must not be skipped.
    UnknownRecord,
    /// A record is longer than its tag allows.
    RecordTooLong,
    /// The length in the closing record is not that of the session.
    WrongLength,
    /// The checksum in the closing record is not that of the session.
    WrongChecksum,
    /// The driver found a value in a record that its device cannot have.
    BadState(&'static str),
    /// The host has not the memory to take the record.
    NoMemory,
}

impl Refusal {
    /// The reason in words, for the kernel log.
    pub fn reason(self) -> &'static str {
        match self {
            Refusal::UnknownFlags => "a record has unknown flags",
            Refusal::NoMatchData => "the stream does not begin with match data",
            Refusal::NotOurs => "the match data has another magic or framing",
            Refusal::OtherFormat => "the stream was saved by another driver",
            Refusal::OtherVersion => "the stream's version is outside of the accepted window",
            Refusal::OtherType => "the stream was saved by a device of another type",
            Refusal::OtherGeometry => "the stream was saved by a device of another geometry",
            Refusal::UnknownRecord => "an unknown record is not optional",
            Refusal::RecordTooLong => "a record is longer than its tag allows",
            Refusal::WrongLength => "the closing record has another length",
            Refusal::WrongChecksum => "the closing record has another checksum",
            Refusal::BadState(reason) => reason,
            Refusal::NoMemory => "no memory for a record",
        }
    }
}

/// A name of at most 16 bytes, padded with NUL.
pub type Name = [u8; 16];

/// `name` as it stands in match data; fails to compile in a constant if it is longer than 16 bytes.
pub const fn name(name: &str) -> Name {
    let bytes = name.as_bytes();
    assert!(bytes.len() <= 16, "a format or type name has at most 16 bytes");
    let mut out = [0; 16];
    let mut i = 0;
    while i < bytes.len() {
        out[i] = bytes[i];
        i += 1;
    }
    out
}

/// A driver's own format and the versions of it that it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Name of the format, usually the driver's.
    pub name: Name,
    /// The version that this driver writes, and the newest that it surely reads.
    pub version: u16,
    /// The oldest version that this driver reads.
    pub oldest: u16,
    /// The oldest version of a reader that can load what this driver writes.
    pub readable_by: u16,
}

/// What must agree between source and destination before any state moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatchData {
    /// Name, version and the oldest reader of the stream.
    pub format: Name,
    /// The version that the source wrote.
    pub version: u16,
    /// The oldest version of a reader that can load the stream.
    pub readable_by: u16,
    /// The device type.
    pub kind: Name,
    /// Sizes that must be equal: for instance a number of ports, bytes of video memory.
    pub geometry: [u64; 2],
}

impl MatchData {
    /// The match data of a device of type `kind` saved by a driver with `format`.
    pub fn new(format: &Format, kind: Name, geometry: [u64; 2]) -> Self {
        MatchData {
            format: format.name,
            version: format.version,
            readable_by: format.readable_by,
            kind,
            geometry,
        }
    }

    /// The payload of a match record.
    pub fn encode(&self) -> [u8; MATCH_LEN] {
        let mut out = [0; MATCH_LEN];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&MAGIC);
        put(&FRAMING.to_le_bytes());
        put(&self.version.to_le_bytes());
        put(&self.readable_by.to_le_bytes());
        put(&[0; 2]);
        put(&self.format);
        put(&self.kind);
        put(&self.geometry[0].to_le_bytes());
        put(&self.geometry[1].to_le_bytes());
        out
    }

    /// Reads the payload of a match record.
    pub fn decode(bytes: &[u8; MATCH_LEN]) -> Result<Self, Refusal> {
        let mut at = Fields(bytes);
        if at.take() != MAGIC || u16::from_le_bytes(at.take()) != FRAMING {
            return Err(Refusal::NotOurs);
        }
        let version = u16::from_le_bytes(at.take());
        let readable_by = u16::from_le_bytes(at.take());
        if at.take() != [0u8; 2] {
            return Err(Refusal::NotOurs);
        }
        Ok(MatchData {
            version,
            readable_by,
            format: at.take(),
            kind: at.take(),
            geometry: [u64::from_le_bytes(at.take()), u64::from_le_bytes(at.take())],
        })
    }

    /// Whether a device of type `kind` and `geometry`, whose driver reads `format`, can load a stream
    /// with this match data.
    pub fn check(&self, format: &Format, kind: Name, geometry: [u64; 2]) -> Result<(), Refusal> {
        if self.format != format.name {
            Err(Refusal::OtherFormat)
        } else if self.version < format.oldest
            || (self.version > format.version && self.readable_by > format.version)
        {
            Err(Refusal::OtherVersion)
        } else if self.kind != kind {
            Err(Refusal::OtherType)
        } else if self.geometry != geometry {
            Err(Refusal::OtherGeometry)
        } else {
            Ok(())
        }
    }
}

/// Count and checksum of what a session has put into the stream.
#[derive(Debug)]
pub struct Saver {
    crc32c: Crc32c,
    crc: u32,
    length: u64,
}

impl Saver {
    /// A session that has written nothing.
    pub fn new(crc32c: Crc32c) -> Self {
        Saver {
            crc32c,
            crc: CRC_SEED,
            length: 0,
        }
    }

    /// Accounts for `bytes`, which go into the stream now.
    pub fn account(&mut self, bytes: &[u8]) {
        self.crc = (self.crc32c)(self.crc, bytes);
        self.length += bytes.len() as u64;
    }

    /// The closing record, header and payload.
    pub fn end(&self) -> [u8; HEADER_LEN + END_LEN] {
        let mut out = [0; HEADER_LEN + END_LEN];
        let header = Header {
            size: END_LEN as u64,
            optional: false,
            tag: Tag::END,
        };
        out[..HEADER_LEN].copy_from_slice(&header.encode());
        out[HEADER_LEN..HEADER_LEN + 8].copy_from_slice(&self.length.to_le_bytes());
        // The checksum covers everything before itself.
        let crc = !(self.crc32c)(self.crc, &out[..HEADER_LEN + 8]);
        out[HEADER_LEN + 8..].copy_from_slice(&crc.to_le_bytes());
        out
    }
}

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
    fn begin(&mut self, data: &MatchData) -> Result<(), Refusal>;
    /// Whether records with `tag` are known, and how long they can be.
    fn known(&self, tag: Tag) -> Known;
    /// Takes the next bytes of the payload of the current record.
    fn payload(&mut self, bytes: &[u8]) -> Result<(), Refusal>;
    /// The payload of the current record is complete.
    fn record(&mut self, tag: Tag) -> Result<(), Refusal>;
    /// The session is complete and its checksum right. After `Ok` the state can be committed without
    /// fail.
    fn complete(&mut self) -> Result<(), Refusal>;
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
    Refused(Refusal),
}

/// Reads a stream in any segmentation.
#[derive(Debug)]
pub struct Loader {
    crc32c: Crc32c,
    crc: u32,
    length: u64,
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
            crc32c,
            crc: CRC_SEED,
            length: 0,
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
    pub fn push(&mut self, mut input: &[u8], sink: &mut impl Sink) -> Result<(), Refusal> {
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

    fn advance(&mut self, input: &[u8], sink: &mut impl Sink) -> Result<usize, Refusal> {
        match self.step {
            Step::Refused(refusal) => Err(refusal),
            Step::Complete => {
                // Only a new session may follow.
                *self = Loader::new(self.crc32c);
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
                let wanted = if tag == Tag::MATCH { MATCH_LEN } else { END_LEN };
                let taken = self.collect(input, wanted);
                if self.filled == wanted {
                    self.own_payload(tag, sink)?;
                }
                Ok(taken)
            }
            Step::Pass { tag, left } => {
                let taken = bounded(left, input.len());
                sink.payload(&input[..taken])?;
                self.account(&input[..taken]);
                self.pass(tag, left - taken as u64, sink)?;
                Ok(taken)
            }
            Step::Skip { left } => {
                let taken = bounded(left, input.len());
                self.account(&input[..taken]);
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

    fn header(&mut self, sink: &mut impl Sink) -> Result<(), Refusal> {
        let bytes: [u8; HEADER_LEN] = Fields(&self.buffer).take();
        let header = Header::decode(&bytes)?;
        self.filled = 0;
        if header.tag == Tag::MATCH {
            if header.size != MATCH_LEN as u64 || header.optional {
                return Err(Refusal::NoMatchData);
            }
            // A session begins anew, also in the middle of another one that was given up.
            self.crc = CRC_SEED;
            self.length = 0;
            self.began = false;
            self.account(&bytes);
            self.step = Step::Own(Tag::MATCH);
            return Ok(());
        }
        if !self.began {
            return Err(Refusal::NoMatchData);
        }
        if header.tag == Tag::END {
            if header.size != END_LEN as u64 {
                return Err(Refusal::WrongLength);
            }
            // The length counts the records before this one, so it is not accounted yet.
            self.step = Step::Own(Tag::END);
            return Ok(());
        }
        self.account(&bytes);
        match sink.known(header.tag) {
            Known::UpTo(most) if header.size <= most => self.pass(header.tag, header.size, sink),
            Known::UpTo(_) => Err(Refusal::RecordTooLong),
            Known::No if header.optional => {
                self.skip(header.size);
                Ok(())
            }
            Known::No => Err(Refusal::UnknownRecord),
        }
    }

    fn own_payload(&mut self, tag: Tag, sink: &mut impl Sink) -> Result<(), Refusal> {
        self.filled = 0;
        if tag == Tag::MATCH {
            let bytes: [u8; MATCH_LEN] = self.buffer;
            sink.begin(&MatchData::decode(&bytes)?)?;
            self.account(&bytes);
            self.began = true;
            self.step = Step::Header;
            return Ok(());
        }
        let mut at = Fields(&self.buffer);
        if u64::from_le_bytes(at.take()) != self.length {
            return Err(Refusal::WrongLength);
        }
        let saver = Saver {
            crc32c: self.crc32c,
            crc: self.crc,
            length: self.length,
        };
        if saver.end()[HEADER_LEN..] != self.buffer[..END_LEN] {
            return Err(Refusal::WrongChecksum);
        }
        sink.complete()?;
        self.step = Step::Complete;
        Ok(())
    }

    fn pass(&mut self, tag: Tag, left: u64, sink: &mut impl Sink) -> Result<(), Refusal> {
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

    fn account(&mut self, bytes: &[u8]) {
        self.crc = (self.crc32c)(self.crc, bytes);
        // Wraps only in a stream of 16 EiB, whose closing length then does not match.
        self.length = self.length.wrapping_add(bytes.len() as u64);
    }
}

/// `left` as far as `len` bytes go.
fn bounded(left: u64, len: usize) -> usize {
    usize::try_from(left).map_or(len, |left| left.min(len))
}
