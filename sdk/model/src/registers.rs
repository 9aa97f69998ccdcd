// SPDX-License-Identifier: GPL-2.0

//! Registers of a device as a table: offset, width, and what a read and a write do.
//!
//! [`registers!`](crate::registers!) writes the table; [`read()`] and [`write()`] serve an access
//! from it.

/// A register of a device whose state is `S`. [`registers!`](crate::registers!) makes it.
///
/// # Examples
///
/// [`registers!`](crate::registers!) has one.
#[derive(Debug)]
pub struct Register<S> {
    /// Offset in bytes in the BAR, a multiple of `width`.
    pub offset: u64,
    /// Width in bytes: 1, 2, 4 or 8.
    pub width: usize,
    /// Returns the value; `None` for a register that reads as 0.
    pub read: Option<fn(&S) -> u64>,
    /// Takes a value; `None` for a register that ignores writes.
    pub write: Option<fn(&mut S, u64)>,
}

impl<S> Register<S> {
    /// Returns the first byte of the register in an access to `len` bytes at `offset`, as an index
    /// into the register and one into the access, and the number of bytes that they share.
    fn shared(&self, offset: u64, len: usize) -> (usize, usize, usize) {
        let begin = self.offset.max(offset);
        let end = (self.offset + self.width as u64).min(offset + len as u64);
        let index = |base: u64| (begin - base) as usize;
        (index(self.offset), index(offset), (end - begin) as usize)
    }
}

/// Returns whether a table can be used: offsets rise, and each register is aligned to a width of
/// its own and apart from the next.
///
/// # Examples
///
/// [`registers!`](crate::registers!) calls it.
pub const fn is_valid<S>(registers: &[Register<S>]) -> bool {
    let mut free = 0;
    let mut i = 0;
    while i < registers.len() {
        let Register { offset, width, .. } = registers[i];
        if !matches!(width, 1 | 2 | 4 | 8) || offset % width as u64 != 0 || offset < free {
            return false;
        }
        free = offset + width as u64;
        i += 1;
    }
    true
}

/// Returns the offset of the first byte after the registers of a table.
///
/// # Examples
///
/// ```
/// use mdev_model::registers::{self, Register};
///
/// const TABLE: &[Register<u32>] = mdev_model::registers! { u32 {
///     0x00: u32, read |state| *state;
///     0x10: u16, read |_| 7;
/// } };
/// assert_eq!(registers::end(TABLE), 0x12);
/// ```
pub const fn end<S>(registers: &[Register<S>]) -> u64 {
    match registers.last() {
        Some(last) => last.offset + last.width as u64,
        None => 0,
    }
}

/// Returns the registers that an access to `len` bytes at `offset` touches.
fn touched<S>(
    registers: &[Register<S>],
    offset: u64,
    len: usize,
) -> impl Iterator<Item = &Register<S>> {
    let first =
        registers.partition_point(|register| register.offset + register.width as u64 <= offset);
    let rest = registers[first..].iter();
    rest.take_while(move |register| register.offset < offset + len as u64)
}

/// Reads `data.len()` bytes at `offset`. What belongs to no register reads as 0.
///
/// # Examples
///
/// [`registers!`](crate::registers!) has one.
pub fn read<S>(registers: &[Register<S>], state: &S, offset: u64, data: &mut [u8]) {
    data.fill(0);
    for register in touched(registers, offset, data.len()) {
        let value = register.read.map_or(0, |read| read(state)).to_le_bytes();
        let (from, to, len) = register.shared(offset, data.len());
        data[to..][..len].copy_from_slice(&value[from..][..len]);
    }
}

/// Writes `data` at `offset`. What belongs to no register is ignored.
///
/// A write to a part of a register writes all of it, the other bytes with what they read as. So a
/// device may be used with narrower accesses than its registers have. Where a written 1 clears a
/// bit, such a write also clears what the other bytes show: a device for which it must do something
/// else does not use a table.
///
/// # Examples
///
/// [`registers!`](crate::registers!) has one.
pub fn write<S>(registers: &[Register<S>], state: &mut S, offset: u64, data: &[u8]) {
    for register in touched(registers, offset, data.len()) {
        let Some(write) = register.write else {
            continue;
        };
        let (to, from, len) = register.shared(offset, data.len());
        let mut value = match register.read {
            Some(read) if len < register.width => read(state).to_le_bytes(),
            _ => [0; 8],
        };
        value[to..][..len].copy_from_slice(&data[from..][..len]);
        write(state, u64::from_le_bytes(value));
    }
}

/// Makes the table of a device's registers: `&'static [Register<STATE>]`.
///
/// A row is one of these, where `TYPE` is `u8`, `u16`, `u32` or `u64`:
///
/// - `OFFSET: TYPE, keep FIELD;` is a field of `STATE`.
/// - `OFFSET: TYPE, read READ, write WRITE;` reads as a function of `&STATE`, and passes what is
///   written to a function of `&mut STATE` and the value. Without `read READ` the register reads as
///   0, without `write WRITE` it ignores writes.
/// - `..., if MAY_WRITE;` at the end of either: it ignores writes unless a function of `&STATE` is
///   true.
///
/// It does not compile if the rows are not in the order of their offsets, overlap, or are not
/// aligned.
///
/// # Examples
///
/// ```
/// use mdev_model::registers::{self, Register};
///
/// #[derive(Default)]
/// struct Timer {
///     left: u64,
///     events: u32,
/// }
///
/// const REGISTERS: &[Register<Timer>] = mdev_model::registers! { Timer {
///     0x00: u32, read |_| 0x0100_0071;
///     0x08: u64, keep left, if |timer| timer.events != 0;
///     0x10: u32, read |timer| timer.events;
///     0x14: u32, write |timer, value| timer.events &= !value;
/// } };
///
/// let mut timer = Timer { left: 0, events: 3 };
/// // The upper half of a register, and two registers at once.
/// registers::write(REGISTERS, &mut timer, 0x0c, &7u32.to_le_bytes());
/// registers::write(REGISTERS, &mut timer, 0x10, &[0xff, 0, 0, 0, 1, 0, 0, 0]);
/// assert_eq!((timer.left, timer.events), (7 << 32, 2));
/// let mut id = [0; 2];
/// registers::read(REGISTERS, &timer, 0x00, &mut id);
/// assert_eq!(id, [0x71, 0x00]);
/// ```
///
/// Two rows that overlap do not compile:
///
/// ```compile_fail,E0080
/// # use mdev_model::registers::Register;
/// # struct Timer { left: u64, events: u32 }
/// const REGISTERS: &[Register<Timer>] = mdev_model::registers! { Timer {
///     0x08: u64, keep left;
///     0x0c: u32, keep events;
/// } };
/// ```
#[macro_export]
macro_rules! registers {
    (
        $state:ty {
            $(
                $offset:literal: $type:ty
                $(, keep $field:ident)?
                $(, read $read:expr)?
                $(, write $write:expr)?
                $(, if $may_write:expr)?;
            )*
        }
    ) => {{
        const REGISTERS: &[$crate::registers::Register<$state>] = &[
            $($crate::registers::Register {
                offset: $offset,
                width: size_of::<$type>(),
                read: $crate::registers!(
                    @read $state, $type
                    $(, |state| state.$field)? $(, $read)?
                ),
                write: $crate::registers!(
                    @write $state, $type
                    $(, |state, value| state.$field = value)? $(, $write)? $(, if $may_write)?
                ),
            }),*
        ];
        const {
            assert!(
                $crate::registers::is_valid(REGISTERS),
                "registers must be aligned, in the order of their offsets, and must not overlap"
            );
        }
        REGISTERS
    }};
    (@read $state:ty, $type:ty) => {
        None
    };
    (@read $state:ty, $type:ty, $read:expr) => {{
        fn get(state: &$state) -> u64 {
            let read: fn(&$state) -> $type = $read;
            u64::from(read(state))
        }
        Some(get)
    }};
    (@write $state:ty, $type:ty) => {
        None
    };
    (@write $state:ty, $type:ty, $write:expr $(, if $may_write:expr)?) => {{
        fn set(state: &mut $state, value: u64) {
            let write: fn(&mut $state, $type) = $write;
            $(
                let may_write: fn(&$state) -> bool = $may_write;
                if !may_write(state) {
                    return;
                }
            )?
            write(state, value as $type);
        }
        Some(set)
    }};
}
