// SPDX-License-Identifier: GPL-2.0
//! The data that is sent through the card: numbered lines with a check of the number, so that loss,
//! repetition and damage can be distinguished.

use std::fmt::Write;

use mig_common::message::Counters;

/// Length of every line, its newline included. More than one FIFO's worth.
pub const LINE: usize = 22;

/// The line with a number. The second word is a bijection of the first, so a line whose number was
/// damaged does not pass for another line.
pub fn line(number: u32) -> [u8; LINE] {
    let proof = (number ^ 0x5bd1_e995).wrapping_mul(0x9e37_79b1);
    let mut text = String::with_capacity(LINE);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "n={number:08x} x={proof:08x}");
    let mut bytes = [0; LINE];
    bytes.copy_from_slice(text.as_bytes());
    bytes
}

/// Tells what became of the lines that were sent.
#[derive(Default)]
pub struct Checker {
    expected: u32,
    partial: Vec<u8>,
}

impl Checker {
    /// Takes bytes as they come back and keeps the counters.
    pub fn feed(&mut self, bytes: &[u8], counters: &mut Counters) {
        counters.read += bytes.len() as u64;
        for &byte in bytes {
            self.partial.push(byte);
            if byte == b'\n' || self.partial.len() == LINE {
                self.judge(counters);
                self.partial.clear();
            }
        }
    }

    fn judge(&mut self, counters: &mut Counters) {
        let Some(number) = number_of(&self.partial) else {
            counters.corrupt += self.partial.len() as u64;
            return;
        };
        if number < self.expected {
            counters.repeated += LINE as u64;
            return;
        }
        counters.lost += u64::from(number - self.expected) * LINE as u64;
        counters.lines += 1;
        self.expected = number.wrapping_add(1);
    }
}

fn number_of(bytes: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(bytes.get(2..10)?).ok()?;
    let number = u32::from_str_radix(digits, 16).ok()?;
    (line(number) == *bytes).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parts: &[&[u8]]) -> Counters {
        let mut checker = Checker::default();
        let mut counters = Counters::default();
        for part in parts {
            checker.feed(part, &mut counters);
        }
        counters
    }

    #[test]
    fn lines_in_order_are_clean_however_they_are_cut() {
        let stream = [line(0), line(1), line(2)].concat();
        for size in 1..stream.len() {
            let counters = check(&stream.chunks(size).collect::<Vec<_>>());
            assert_eq!((counters.lines, counters.read), (3, stream.len() as u64));
            assert_eq!(
                (counters.lost, counters.repeated, counters.corrupt),
                (0, 0, 0)
            );
        }
    }

    #[test]
    fn a_missing_line_counts_as_lost() {
        let counters = check(&[&line(0), &line(2)]);
        assert_eq!(
            (counters.lost, counters.repeated, counters.corrupt),
            (LINE as u64, 0, 0)
        );
    }

    #[test]
    fn a_line_that_comes_twice_counts_as_repeated() {
        let counters = check(&[&line(0), &line(0), &line(1)]);
        assert_eq!(
            (counters.lost, counters.repeated, counters.corrupt),
            (0, LINE as u64, 0)
        );
    }

    #[test]
    fn no_change_of_a_single_byte_goes_unnoticed() {
        for position in 0..LINE {
            for flip in 1..=255u8 {
                let mut damaged = line(1);
                damaged[position] ^= flip;
                let counters = check(&[&line(0), &damaged, &line(2)]);
                assert!(counters.corrupt > 0, "byte {position} ^ {flip:#x}");
            }
        }
    }

    #[test]
    fn a_byte_that_falls_out_of_a_line_is_noticed() {
        for position in 0..LINE {
            let mut short = line(1).to_vec();
            short.remove(position);
            let counters = check(&[&line(0), &short, &line(2), &line(3)]);
            assert!(counters.corrupt > 0, "byte {position}");
        }
    }
}
