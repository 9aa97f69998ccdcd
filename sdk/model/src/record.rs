// SPDX-License-Identifier: GPL-2.0

//! Records of fixed size: a struct that is written once, and gets its encoding from that.
//!
//! A record is the fields of the struct in their order, little endian, without padding.

mod member;
mod older;

pub use member::{is_same, Member};
pub use older::{is_complete, Older};

use crate::stream::LoadError;

/// Returns the error `otherwise` unless `holds`: a line for each rule that a state obeys.
///
/// # Examples
///
/// ```
/// use mdev_model::record::require;
///
/// let check = |tail: u32| require(tail < 64, "a tail beyond the ring");
/// assert_eq!(check(63), Ok(()));
/// assert_eq!(check(64), Err("a tail beyond the ring"));
/// ```
///
/// # Errors
///
/// `otherwise`.
pub fn require<E>(holds: bool, otherwise: E) -> Result<(), E> {
    holds.then_some(()).ok_or(otherwise)
}

/// Decodes a bool of a stream: only two of the 256 values are valid.
///
/// # Errors
///
/// The reason, for any other value.
pub fn flag(byte: u8) -> Result<bool, &'static str> {
    require(byte <= 1, "a flag that is neither 0 nor 1")?;
    Ok(byte == 1)
}

/// A value with an encoding of fixed size: an unsigned integer, a bool, an array of fields, or a
/// struct that [`record!`](crate::record!) defines.
///
/// # Examples
///
/// ```
/// use mdev_model::record::Field;
///
/// let mut out = [0; <[u16; 2]>::LEN];
/// [0x0102, 3u16].put(&mut out);
/// assert_eq!(out, [2, 1, 3, 0]);
/// let mut flag = false;
/// assert!(flag.take(&[2]).is_err());
/// ```
pub trait Field: Sized {
    /// Size in bytes of the encoding.
    const LEN: usize;
    /// The value whose encoding is zero.
    const ZERO: Self;

    /// Writes the encoding to `out`, which must have [`LEN`](Self::LEN) bytes.
    fn put(&self, out: &mut [u8]);

    /// Replaces the value with the one that is encoded in `bytes`, which must be
    /// [`LEN`](Self::LEN) bytes.
    ///
    /// # Errors
    ///
    /// The reason, if no value has this encoding; the value is then unspecified.
    fn take(&mut self, bytes: &[u8]) -> Result<(), &'static str>;
}

/// A record that a stream carries: fields, and the rules that their values obey.
///
/// # Examples
///
/// ```
/// use mdev_model::record::Record;
///
/// mdev_model::record! {
///     /// The registers of a timer.
///     pub struct Registers {
///         /// Ticks to go.
///         pub left: u32,
///         pub control: u8,
///     }
/// }
///
/// impl Record for Registers {
///     fn check(&self) -> Result<(), &'static str> {
///         match self.control {
///             0 | 1 => Ok(()),
///             _ => Err("unknown bits of CONTROL"),
///         }
///     }
/// }
///
/// let registers = Registers { left: 7, control: 1 };
/// assert_eq!(registers.encode(), [7, 0, 0, 0, 1]);
/// assert_eq!(Registers::decode(&[7, 0, 0, 0, 1]), Ok(registers));
/// assert!(Registers::decode(&[7, 0, 0, 0, 2]).is_err());
/// assert!(Registers::decode(&[7, 0, 0, 0]).is_err());
/// ```
pub trait Record: Field {
    /// Checks that a device can have this state: reserved bits, indices, enumerations, counts, and
    /// contradictions between fields.
    ///
    /// # Errors
    ///
    /// The reason, for the kernel log.
    fn check(&self) -> Result<(), &'static str>;

    /// Replaces the value in place with the one that is encoded in `bytes`, and checks it.
    ///
    /// # Errors
    ///
    /// [`LoadError::BadState`] for another length or a value that the record cannot have; `self` is
    /// then unspecified.
    fn replace(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        if bytes.len() != Self::LEN {
            return Err(LoadError::BadState("a record of another length"));
        }
        let replaced = self.take(bytes).and_then(|()| self.check());
        replaced.map_err(LoadError::BadState)
    }

    /// Decodes and checks a record.
    ///
    /// # Errors
    ///
    /// As for [`replace`](Self::replace).
    fn decode(bytes: &[u8]) -> Result<Self, LoadError> {
        let mut record = Self::ZERO;
        record.replace(bytes)?;
        Ok(record)
    }
}

macro_rules! integers {
    ($($type:ty)*) => {
        $(impl Field for $type {
            const LEN: usize = size_of::<$type>();
            const ZERO: Self = 0;

            fn put(&self, out: &mut [u8]) {
                out.copy_from_slice(&self.to_le_bytes());
            }

            fn take(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
                let mut le = [0; size_of::<$type>()];
                le.copy_from_slice(bytes);
                *self = <$type>::from_le_bytes(le);
                Ok(())
            }
        })*
    };
}

integers! { u8 u16 u32 u64 }

impl Field for bool {
    const LEN: usize = 1;
    const ZERO: Self = false;

    fn put(&self, out: &mut [u8]) {
        u8::from(*self).put(out);
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        *self = match bytes {
            [byte] => flag(*byte)?,
            _ => return Err("a flag of another length"),
        };
        Ok(())
    }
}

impl<T: Field, const N: usize> Field for [T; N] {
    const LEN: usize = N * T::LEN;
    const ZERO: Self = [T::ZERO; N];

    fn put(&self, out: &mut [u8]) {
        let places = out.chunks_exact_mut(T::LEN);
        self.iter()
            .zip(places)
            .for_each(|(item, out)| item.put(out));
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let mut items = self.iter_mut().zip(bytes.chunks_exact(T::LEN));
        items.try_for_each(|(item, bytes)| item.take(bytes))
    }
}

/// Defines a struct as a [`Field`](crate::record::Field), with a method `encode`. For the place of
/// one of its fields see [`field!`](crate::field!).
///
/// It derives `Clone`, `Copy`, `Debug`, `PartialEq` and `Eq`. Implement
/// [`Record`](crate::record::Record) for it: what a stream brings must be checked.
///
/// # Examples
///
/// [`Record`](crate::record::Record) has one.
#[macro_export]
macro_rules! record {
    (
        $(#[$attribute:meta])*
        $vis:vis struct $name:ident {
            $($(#[$field_attribute:meta])* $field_vis:vis $field:ident: $type:ty),+ $(,)?
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis struct $name {
            $($(#[$field_attribute])* $field_vis $field: $type),+
        }

        #[allow(dead_code, reason = "not every record needs both")]
        impl $name {
            /// Returns the offset of a field in the encoding, for `field!`.
            #[doc(hidden)]
            $vis const fn offset_of(field: &str) -> usize {
                let at = 0;
                $(
                    if $crate::record::is_same(field, stringify!($field)) {
                        return at;
                    }
                    let at = at + <$type as $crate::record::Field>::LEN;
                )+
                let _ = at;
                panic!("the record has no such field")
            }

            /// Returns the encoding of the record.
            $vis fn encode(&self) -> [u8; <Self as $crate::record::Field>::LEN] {
                let mut out = [0; <Self as $crate::record::Field>::LEN];
                $crate::record::Field::put(self, &mut out);
                out
            }
        }

        impl $crate::record::Field for $name {
            const LEN: usize = 0 $(+ <$type as $crate::record::Field>::LEN)+;
            const ZERO: Self = Self {
                $($field: <$type as $crate::record::Field>::ZERO),+
            };

            fn put(&self, out: &mut [u8]) {
                let rest = out;
                $(
                    let len = <$type as $crate::record::Field>::LEN;
                    let (out, rest) = rest.split_at_mut(len);
                    $crate::record::Field::put(&self.$field, out);
                )+
                let _ = rest;
            }

            fn take(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
                let rest = bytes;
                $(
                    let len = <$type as $crate::record::Field>::LEN;
                    let (bytes, rest) = rest.split_at(len);
                    $crate::record::Field::take(&mut self.$field, bytes)?;
                )+
                let _ = rest;
                Ok(())
            }
        }
    };
}
