// SPDX-License-Identifier: GPL-2.0

//! The errors of the device, as the ERROR register and a fence's status show them.

use crate::uapi;

/// An error; its discriminant is the `MGPU_ERROR_*` of `uapi/mgpu.h`, which documents each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs)] // the header is their documentation
pub enum Error {
    Opcode = 1,
    Reserved = 2,
    Length = 3,
    Alignment = 4,
    Range = 5,
    Overlap = 6,
    GuestRead = 7,
    GuestWrite = 8,
    RingGeometry = 16,
    RingTail = 17,
    RingRead = 18,
    Display = 32,
}

impl Error {
    /// Every error, in the order of the codes.
    pub const ALL: [Error; 12] = [
        Error::Opcode,
        Error::Reserved,
        Error::Length,
        Error::Alignment,
        Error::Range,
        Error::Overlap,
        Error::GuestRead,
        Error::GuestWrite,
        Error::RingGeometry,
        Error::RingTail,
        Error::RingRead,
        Error::Display,
    ];

    /// Returns the code that the guest sees.
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// Returns the error with this code, if there is one.
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|error| error.code() == code)
    }

    /// Returns whether only the command fails, and the ring continues.
    pub const fn is_of_a_command(self) -> bool {
        self.code() < Error::RingGeometry.code()
    }

    /// Returns whether the error belongs to a command in the ring, and so has an index.
    pub const fn has_index(self) -> bool {
        self.is_of_a_command() || matches!(self, Error::RingRead)
    }
}

/// An error and its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The error.
    pub error: Error,
    /// The command's index in the ring; [`uapi::NO_INDEX`] if the error belongs to no command.
    pub index: u32,
}

impl Failure {
    /// Creates a failure that belongs to no command.
    pub(crate) const fn without_index(error: Error) -> Self {
        Failure {
            error,
            index: uapi::NO_INDEX,
        }
    }

    /// Returns code and index as a guest sees them, also if there is no failure.
    pub(crate) fn show(failure: Option<Self>) -> (u32, u32) {
        failure.map_or((0, uapi::NO_INDEX), |f| (f.error.code(), f.index))
    }
}
