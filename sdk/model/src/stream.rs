// SPDX-License-Identifier: GPL-2.0

//! The records of a migration stream: framing, match data, the SDK's own records and the closing
//! checksum.
//!
//! A session is a [`Tag::MATCH`] record, any number of other records, and an [`Tag::END`] record
//! whose checksum covers all bytes before it. [`Loader`] takes the bytes in any segmentation and
//! passes records to a [`Sink`]; [`StreamChecksum`] counts the bytes and computes their checksum,
//! in either direction. Documentation/stream-format.md specifies each byte. All integers are little
//! endian.

mod compatibility;
mod end;
mod events;
mod interrupt;
mod load;
mod match_data;
mod record;

pub use compatibility::{BadKey, Compatibility, Mismatch};
pub use end::{Crc32c, StreamChecksum, END_LEN};
pub use events::{check_events, encode_events, event_is_set, EVENTS_MAX};
pub use interrupt::{Interrupt, INTERRUPT_LEN};
pub use load::{Known, Loader, Sink};
pub use match_data::{name, Format, MatchData, Name, FRAMING, MAGIC, MATCH_LEN};
pub use record::{Header, LoadError, Tag, HEADER_LEN};
