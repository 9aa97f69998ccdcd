// SPDX-License-Identifier: GPL-2.0

//! Match data: what source and destination must have in common, checked before any state moves.

use super::record::{Fields, LoadError};

/// Length in bytes of the payload of a [`Tag::MATCH`](super::Tag::MATCH) record.
pub const MATCH_LEN: usize = 64;

/// The first bytes of match data.
pub const MAGIC: [u8; 8] = *b"MDEVMIG\n";
/// The version of the framing; any other is refused.
pub const FRAMING: u16 = 1;

/// A name of at most 16 bytes, padded with NUL.
///
/// # Examples
///
/// [`name`](fn@name) makes one.
pub type Name = [u8; 16];

/// Returns `name` as in match data; a name of more than 16 bytes panics, in a constant at compile
/// time.
///
/// # Examples
///
/// ```
/// use mdev_model::stream::{name, Name};
///
/// const CARD: Name = name("card-1");
/// assert_eq!(&CARD, b"card-1\0\0\0\0\0\0\0\0\0\0");
/// ```
pub const fn name(name: &str) -> Name {
    let bytes = name.as_bytes();
    assert!(
        bytes.len() <= 16,
        "a format or type name has at most 16 bytes"
    );
    let mut out = [0; 16];
    let mut i = 0;
    while i < bytes.len() {
        out[i] = bytes[i];
        i += 1;
    }
    out
}

/// The format of a driver, and the versions of it that the driver reads.
///
/// # Examples
///
/// Version 3 reads version 2, and not version 1. All that it adds is an optional record, so
/// version 2 can load what it writes:
///
/// ```
/// use mdev_model::stream::{name, Format, LoadError, MatchData};
///
/// let (kind, geometry) = (name("card-1"), [0; 2]);
/// let old = Format { name: name("card"), version: 2, oldest: 2, readable_by: 2 };
/// let new = Format { version: 3, readable_by: 2, ..old };
/// let stream = |format| MatchData::new(format, kind, geometry);
/// assert_eq!(stream(&old).check(&new, kind, geometry), Ok(()));
/// assert_eq!(stream(&new).check(&old, kind, geometry), Ok(()));
/// let first = Format { version: 1, oldest: 1, readable_by: 1, ..old };
/// assert_eq!(stream(&first).check(&new, kind, geometry), Err(LoadError::OtherVersion));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// The name of the format, usually the driver's.
    pub name: Name,
    /// The version that this driver writes, and the newest that it is known to read.
    pub version: u16,
    /// The oldest version that this driver reads.
    pub oldest: u16,
    /// The oldest version of a reader that can load what this driver writes.
    pub readable_by: u16,
}

impl Format {
    /// Returns the first version of a format; a name of more than 16 bytes panics, in a constant at
    /// compile time.
    ///
    /// # Examples
    ///
    /// ```
    /// use mdev_model::stream::Format;
    ///
    /// const CARD: Format = Format::first("card");
    /// assert_eq!((CARD.version, CARD.oldest, CARD.readable_by), (1, 1, 1));
    /// ```
    pub const fn first(called: &str) -> Self {
        Format {
            name: name(called),
            version: 1,
            oldest: 1,
            readable_by: 1,
        }
    }
}

/// The properties that source and destination must have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatchData {
    /// The name of the format.
    pub format: Name,
    /// The version in which the source saved.
    pub version: u16,
    /// The oldest version of a reader that can load the stream.
    pub readable_by: u16,
    /// The device type.
    pub kind: Name,
    /// Two sizes that must be equal, for instance a number of ports or a size of video memory.
    pub geometry: [u64; 2],
}

impl MatchData {
    /// Creates the match data of a device of type `kind` whose driver saves in `format`.
    pub fn new(format: &Format, kind: Name, geometry: [u64; 2]) -> Self {
        MatchData {
            format: format.name,
            version: format.version,
            readable_by: format.readable_by,
            kind,
            geometry,
        }
    }

    /// Returns the payload of a match record.
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

    /// Decodes the payload of a match record.
    ///
    /// # Errors
    ///
    /// [`LoadError::NotOurs`] for another magic or framing, or padding that is not zero.
    pub fn decode(bytes: &[u8; MATCH_LEN]) -> Result<Self, LoadError> {
        let mut at = Fields(bytes);
        if at.take() != MAGIC || u16::from_le_bytes(at.take()) != FRAMING {
            return Err(LoadError::NotOurs);
        }
        let version = u16::from_le_bytes(at.take());
        let readable_by = u16::from_le_bytes(at.take());
        if at.take() != [0u8; 2] {
            return Err(LoadError::NotOurs);
        }
        Ok(MatchData {
            version,
            readable_by,
            format: at.take(),
            kind: at.take(),
            geometry: [u64::from_le_bytes(at.take()), u64::from_le_bytes(at.take())],
        })
    }

    /// Checks that a device of type `kind` and `geometry`, whose driver reads `format`, can load
    /// the stream.
    ///
    /// # Errors
    ///
    /// [`LoadError::OtherFormat`], [`OtherVersion`](LoadError::OtherVersion),
    /// [`OtherType`](LoadError::OtherType) or [`OtherGeometry`](LoadError::OtherGeometry), for the
    /// first that differs.
    pub fn check(&self, format: &Format, kind: Name, geometry: [u64; 2]) -> Result<(), LoadError> {
        if self.format != format.name {
            Err(LoadError::OtherFormat)
        } else if self.version < format.oldest
            || (self.version > format.version && self.readable_by > format.version)
        {
            Err(LoadError::OtherVersion)
        } else if self.kind != kind {
            Err(LoadError::OtherType)
        } else if self.geometry != geometry {
            Err(LoadError::OtherGeometry)
        } else {
            Ok(())
        }
    }
}
