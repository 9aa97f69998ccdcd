// SPDX-License-Identifier: GPL-2.0

//! A record of a stream: its header, and the errors that refuse it.

/// Length in bytes of a record header.
///
/// # Examples
///
/// ```
/// use mdev_model::stream::HEADER_LEN;
///
/// /// Returns the bytes that `count` records of a page take in the stream.
/// fn pages(count: u64) -> u64 {
///     count * (HEADER_LEN + 4096) as u64
/// }
/// assert_eq!(pages(2), 8224);
/// ```
pub const HEADER_LEN: usize = 16;

/// The type of a record. Tags below [`Tag::FIRST_DRIVER`] are the SDK's, all others the driver's.
///
/// # Examples
///
/// ```
/// use mdev_model::stream::Tag;
///
/// const REGISTERS: Tag = Tag(Tag::FIRST_DRIVER.0);
/// const MEMORY: Tag = Tag(Tag::FIRST_DRIVER.0 + 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(pub u32);

impl Tag {
    /// Match data: the first record of a session.
    pub const MATCH: Tag = Tag(1);
    /// Length and checksum of the session: its last record.
    pub const END: Tag = Tag(2);
    /// PCI configuration space.
    pub const CONFIG: Tag = Tag(3);
    /// The signal of the interrupt that user space has not handled.
    pub const INTERRUPT: Tag = Tag(4);
    /// The vectors that have sent an event.
    pub const EVENTS: Tag = Tag(5);
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
    /// The type of the record.
    pub tag: Tag,
}

const FLAG_OPTIONAL: u32 = 1;

impl Header {
    /// Returns the header as in the stream.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let flags = if self.optional { FLAG_OPTIONAL } else { 0 };
        let mut out = [0; HEADER_LEN];
        out[..8].copy_from_slice(&self.size.to_le_bytes());
        out[8..12].copy_from_slice(&flags.to_le_bytes());
        out[12..].copy_from_slice(&self.tag.0.to_le_bytes());
        out
    }

    /// Decodes a header.
    ///
    /// # Errors
    ///
    /// [`LoadError::UnknownFlags`] for an unknown flag.
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, LoadError> {
        let mut at = Fields(bytes);
        let header = Header {
            size: u64::from_le_bytes(at.take()),
            optional: match u32::from_le_bytes(at.take()) {
                0 => false,
                FLAG_OPTIONAL => true,
                _ => return Err(LoadError::UnknownFlags),
            },
            tag: Tag(u32::from_le_bytes(at.take())),
        };
        Ok(header)
    }
}

/// A reader of consecutive fields of fixed size.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    /// Returns the next field; panics if there are too few bytes.
    pub(super) fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, tail) = self.0.split_at(N);
        self.0 = tail;
        let mut out = [0; N];
        out.copy_from_slice(head);
        out
    }
}

/// The reason for which a stream is refused. The first one ends the session.
///
/// # Examples
///
/// ```
/// use mdev_model::stream::LoadError;
///
/// /// Reads the payload of a record: the level of an interrupt.
/// fn level(payload: &[u8]) -> Result<bool, LoadError> {
///     match payload {
///         [0] => Ok(false),
///         [1] => Ok(true),
///         _ => Err(LoadError::BadState("a level that is neither 0 nor 1")),
///     }
/// }
/// assert_eq!(level(&[2]).unwrap_err().reason(), "a level that is neither 0 nor 1");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// A record header has a flag that this version does not know.
    UnknownFlags,
    /// The session does not begin with a match record of the right length.
    NoMatchData,
    /// The match data is not this SDK's, or of another framing.
    NotOurs,
    /// The stream was saved by another driver.
    OtherFormat,
    /// The stream's version is outside of what this driver reads.
    OtherVersion,
    /// The stream was saved by a device of another type.
    OtherType,
    /// The stream was saved by a device of another geometry.
    OtherGeometry,
    /// A read-only bit of configuration space is another one.
    OtherConfig,
    /// A record is unknown to this version, and not optional.
    UnknownRecord,
    /// A record is longer than its tag allows.
    RecordTooLong,
    /// The length in the closing record is not that of the session.
    WrongLength,
    /// The checksum in the closing record is not that of the session.
    WrongChecksum,
    /// The driver found a value in a record that its device cannot have.
    BadState(&'static str),
    /// The host lacks the memory for a record.
    NoMemory,
    /// The process that loads the stream is being killed.
    Killed,
}

/// The reason of a [`LoadError::BadState`].
impl From<&'static str> for LoadError {
    fn from(reason: &'static str) -> Self {
        LoadError::BadState(reason)
    }
}

impl LoadError {
    /// Returns whether the stream is that of a device which this one does not load from, so that
    /// every stream of it is refused.
    pub fn is_mismatch(self) -> bool {
        matches!(
            self,
            LoadError::OtherFormat
                | LoadError::OtherVersion
                | LoadError::OtherType
                | LoadError::OtherGeometry
                | LoadError::OtherConfig
        )
    }

    /// Returns the reason in words, for the kernel log.
    pub fn reason(self) -> &'static str {
        match self {
            LoadError::UnknownFlags => "a record has unknown flags",
            LoadError::NoMatchData => "the stream does not begin with match data",
            LoadError::NotOurs => "the match data has another magic or framing",
            LoadError::OtherFormat => "the stream was saved by another driver",
            LoadError::OtherVersion => "the stream's version is outside of the accepted window",
            LoadError::OtherType => "the stream was saved by a device of another type",
            LoadError::OtherGeometry => "the stream was saved by a device of another geometry",
            LoadError::OtherConfig => "configuration space is another device's",
            LoadError::UnknownRecord => "an unknown record is not optional",
            LoadError::RecordTooLong => "a record is longer than its tag allows",
            LoadError::WrongLength => "the closing record has another length",
            LoadError::WrongChecksum => "the closing record has another checksum",
            LoadError::BadState(reason) => reason,
            LoadError::NoMemory => "no memory for a record",
            LoadError::Killed => "the process is being killed",
        }
    }
}
