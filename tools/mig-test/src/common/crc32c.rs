// SPDX-License-Identifier: GPL-2.0
//! The checksum of the toy GPU's CRC32C command and of streams, by a table.

/// The effect of each byte on a checksum.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ ((crc & 1) * 0x82f6_3b78);
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// CRC32C.
pub fn crc32c(bytes: impl IntoIterator<Item = u8>) -> u32 {
    !bytes.into_iter().fold(!0, step)
}

/// Continues a CRC32C from `seed`, without inversion at either end.
pub fn update(seed: u32, bytes: &[u8]) -> u32 {
    bytes.iter().copied().fold(seed, step)
}

fn step(crc: u32, byte: u8) -> u32 {
    (crc >> 8) ^ TABLE[(crc as u8 ^ byte) as usize]
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn the_checksum_is_that_of_iscsi() {
        assert_eq!(crc32c(*b"123456789"), 0xe306_9283);
    }
}
