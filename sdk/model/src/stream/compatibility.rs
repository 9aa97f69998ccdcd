// SPDX-License-Identifier: GPL-2.0

//! What must be equal, or at least fit, between two devices before one's state moves to the other;
//! as a text, so that it can be compared before the migration.

use super::{
    match_data::{Format, MatchData, Name},
    record::LoadError,
};
use crate::record::require;
use core::{
    fmt::{self, Display, Formatter, Write},
    str::FromStr,
};

/// What a destination compares with its own before it takes any state.
///
/// Its text has a line for each property: the key, a blank, and the value. A reader must ignore
/// keys that it does not know.
///
/// # Examples
///
/// ```
/// use mdev_model::stream::{name, Compatibility, Format, LoadError};
///
/// let small = Compatibility::new(&Format::first("card"), name("card-small"), [16, 0], 0x1234);
/// let text = "\
/// type card-small
/// format card
/// version 1
/// readable_by 1
/// oldest 1
/// geometry 16 0
/// config 00001234
/// ";
/// assert_eq!(small.to_string(), text);
/// assert_eq!(text.parse(), Ok(small));
///
/// let large = Compatibility::new(&Format::first("card"), name("card-large"), [64, 0], 0x1234);
/// let mismatch = large.mismatch(&small).unwrap();
/// assert_eq!(mismatch.reason, LoadError::OtherType);
/// assert_eq!(
///     mismatch.to_string(),
///     "the stream was saved by a device of another type: \
///      source card-small (card version 1, readable by 1, geometry 16 0), \
///      destination card-large (card versions 1 to 1, geometry 64 0)",
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compatibility {
    /// What the device sends.
    pub sends: MatchData,
    /// The oldest version that the device reads.
    pub oldest: u16,
    /// The identity of configuration space:
    /// [`ConfigSpace::identity_checksum`](crate::config::ConfigSpace::identity_checksum).
    pub config: u32,
}

/// A reason for which a device does not load what another one saves, and both of them.
///
/// # Examples
///
/// [`Compatibility`] has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The reason.
    pub reason: LoadError,
    /// What the source sends.
    pub source: MatchData,
    /// What the destination would send.
    pub destination: MatchData,
    /// The oldest version that the destination reads.
    pub oldest: u16,
}

impl Compatibility {
    /// Describes a device of type `kind` whose driver saves in `format`; `config` is the checksum
    /// of its configuration space's identity.
    pub fn new(format: &Format, kind: Name, geometry: [u64; 2], config: u32) -> Self {
        Compatibility {
            sends: MatchData::new(format, kind, geometry),
            oldest: format.oldest,
            config,
        }
    }

    /// Returns why this device does not load what `source` saves; `None` if it does.
    ///
    /// The reason is the first in the order of the stream.
    pub fn mismatch(&self, source: &Compatibility) -> Option<Mismatch> {
        let own = &self.sends;
        let format = Format {
            name: own.format,
            version: own.version,
            oldest: self.oldest,
            readable_by: own.readable_by,
        };
        let same_config = require(source.config == self.config, LoadError::OtherConfig);
        let checked = source.sends.check(&format, own.kind, own.geometry);
        let reason = checked.and(same_config).err()?;
        Some(Mismatch {
            reason,
            source: source.sends,
            destination: *own,
            oldest: self.oldest,
        })
    }
}

/// Returns whether a byte of a name is printed as it is.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'\\'
}

/// A name without its padding; what is not plain is escaped.
struct Printed<'a>(&'a Name);

impl Display for Printed<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let end = self.0.iter().rposition(|byte| *byte != 0);
        for &byte in &self.0[..end.map_or(0, |last| last + 1)] {
            match is_plain(byte) {
                true => f.write_char(byte.into())?,
                false => write!(f, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

impl Display for Compatibility {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let MatchData {
            format,
            version,
            readable_by,
            kind,
            geometry: [first, second],
        } = &self.sends;
        writeln!(f, "type {}", Printed(kind))?;
        writeln!(f, "format {}", Printed(format))?;
        writeln!(f, "version {version}")?;
        writeln!(f, "readable_by {readable_by}")?;
        writeln!(f, "oldest {}", self.oldest)?;
        writeln!(f, "geometry {first} {second}")?;
        writeln!(f, "config {:08x}", self.config)
    }
}

impl Display for Mismatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (from, to) = (&self.source, &self.destination);
        write!(
            f,
            "{}: source {} ({} version {}, readable by {}, geometry {} {}), \
             destination {} ({} versions {} to {}, geometry {} {})",
            self.reason.reason(),
            Printed(&from.kind),
            Printed(&from.format),
            from.version,
            from.readable_by,
            from.geometry[0],
            from.geometry[1],
            Printed(&to.kind),
            Printed(&to.format),
            self.oldest,
            to.version,
            to.geometry[0],
            to.geometry[1],
        )
    }
}

/// A key that a text lacks, or has twice, or whose value cannot be.
///
/// # Examples
///
/// ```
/// use mdev_model::stream::{BadKey, Compatibility};
///
/// assert_eq!("format card".parse::<Compatibility>(), Err(BadKey("version")));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadKey(pub &'static str);

impl FromStr for Compatibility {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let value = |key: &'static str| {
            let mut values = text.lines().filter_map(|line| {
                let (found, value) = line.split_once(' ')?;
                (found == key).then_some(value)
            });
            match (values.next(), values.next()) {
                (Some(value), None) => Ok(value),
                _ => Err(BadKey(key)),
            }
        };
        let named = |key| {
            let value: &str = value(key)?;
            let is_name = (1..=16).contains(&value.len()) && value.bytes().all(is_plain);
            is_name.then(|| super::name(value)).ok_or(BadKey(key))
        };
        let number = |key| value(key)?.parse::<u16>().map_err(|_| BadKey(key));
        let geometry = || {
            let (first, second) = value("geometry").ok()?.split_once(' ')?;
            Some([first.parse().ok()?, second.parse().ok()?])
        };
        Ok(Compatibility {
            sends: MatchData {
                format: named("format")?,
                version: number("version")?,
                readable_by: number("readable_by")?,
                kind: named("type")?,
                geometry: geometry().ok_or(BadKey("geometry"))?,
            },
            oldest: number("oldest")?,
            config: u32::from_str_radix(value("config")?, 16).map_err(|_| BadKey("config"))?,
        })
    }
}
