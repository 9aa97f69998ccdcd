// SPDX-License-Identifier: GPL-2.0
//! The pictures that the guest draws, for comparison with a dump of the screen.

/// Pixels in a row.
pub const WIDTH: usize = 320;
/// Rows.
pub const HEIGHT: usize = 240;

/// Returns a pixel of a picture by its number: red in the third byte, then green and blue. Every
/// other number changes every field of the board, and every place changes the ramp on it.
pub fn pixel(number: u32, x: usize, y: usize) -> u32 {
    let field = (x / 20 + y / 20 * (WIDTH / 20)) as u32;
    let colour = (number << 10 | field).wrapping_mul(0x9e37_79b1) & 0x00ff_ff00;
    colour | (x as u32 ^ y as u32) & 0xff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pictures_differ_in_almost_every_pixel() {
        let places = || (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (x, y)));
        let same = places().filter(|&(x, y)| pixel(1, x, y) == pixel(2, x, y));
        assert!(same.count() < WIDTH * HEIGHT / 100);
    }
}
