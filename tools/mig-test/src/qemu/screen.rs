// SPDX-License-Identifier: GPL-2.0
//! QEMU's dump of the screen: a binary pixmap (netpbm's ppm(5)).

use anyhow::{ensure, Context, Result};

/// The picture of a display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screen {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Red, green and blue of each pixel, red in the third byte.
    pub pixels: Vec<u32>,
}

impl Screen {
    /// Parses a dump.
    pub fn parse(file: &[u8]) -> Result<Screen> {
        let mut fields = file.splitn(4, |byte| byte.is_ascii_whitespace());
        let mut field = || fields.next().context("a dump of the screen is cut short");
        ensure!(field()? == b"P6", "a dump of the screen is no pixmap");
        let mut number = || -> Result<usize> { Ok(std::str::from_utf8(field()?)?.parse()?) };
        let (width, height) = (number()?, number()?);
        let rest = field()?;
        let data = rest.strip_prefix(b"255\n");
        let data = data.context("a dump of the screen has not 255 shades")?;
        ensure!(
            width
                .checked_mul(height)
                .and_then(|area| area.checked_mul(3))
                == Some(data.len()),
            "a dump of the screen is {width} x {height} and has {} bytes",
            data.len()
        );
        let pixel = |rgb: &[u8]| u32::from_be_bytes([0, rgb[0], rgb[1], rgb[2]]);
        Ok(Screen {
            width,
            height,
            pixels: data.chunks_exact(3).map(pixel).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pixmap_is_read_row_by_row() {
        let screen = Screen::parse(b"P6\n2 1\n255\n\x01\x02\x03 \n\xff").unwrap();
        assert_eq!((screen.width, screen.height), (2, 1));
        assert_eq!(screen.pixels, [0x0001_0203, 0x0020_0aff]);
    }

    #[test]
    fn what_is_cut_short_or_of_another_kind_is_refused() {
        let whole = b"P6\n2 1\n255\nabcdef";
        for end in 0..whole.len() {
            assert!(Screen::parse(&whole[..end]).is_err(), "{end}");
        }
        assert!(Screen::parse(b"P5\n2 1\n255\nabcdef").is_err());
        assert!(Screen::parse(b"P6\n2 1\n15\nabcdef").is_err());
    }
}
