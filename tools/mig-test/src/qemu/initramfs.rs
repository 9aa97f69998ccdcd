// SPDX-License-Identifier: GPL-2.0
//! The guest's initramfs: the guest program as `/init`, and other files.
//!
//! The format is the kernel's "newc" cpio
//! (Documentation/driver-api/early-userspace/buffer-format.rst in the kernel tree). `/dev/console`
//! comes from the archive built into every kernel.

/// Packs a program as `/init`, and other files, which may be programs, too.
pub fn pack(init: &[u8], files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut archive = Vec::with_capacity(init.len() + 512);
    entry(&mut archive, "init", 0o100_755, init);
    for (name, data) in files {
        entry(&mut archive, name, 0o100_755, data);
    }
    entry(&mut archive, "TRAILER!!!", 0, &[]);
    archive
}

fn entry(archive: &mut Vec<u8>, name: &str, mode: u32, data: &[u8]) {
    let (links, size, name_size) = (1, data.len(), name.len() + 1);
    // Inode, mode, uid, gid, links, mtime, size, device (2), device node (2), name size, checksum.
    let header = format!(
        "070701{0:08x}{mode:08x}{0:08x}{0:08x}{links:08x}{0:08x}{size:08x}{0:08x}{0:08x}{0:08x}\
         {0:08x}{name_size:08x}{0:08x}",
        0
    );
    archive.extend_from_slice(header.as_bytes());
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    pad(archive);
    archive.extend_from_slice(data);
    pad(archive);
}

fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_starts_at_a_multiple_of_four() {
        for size in 0..9 {
            let archive = pack(&vec![b'x'; size], &[]);
            let trailer = archive.windows(6).rposition(|w| w == b"070701").unwrap();
            assert_eq!(
                (trailer % 4, archive.len() % 4),
                (0, 0),
                "init of {size} bytes"
            );
        }
    }

    #[test]
    fn other_files_are_beside_init() {
        let files = [("vfio.ko.xz".to_owned(), b"module".to_vec())];
        let archive = pack(b"program", &files);
        let text = String::from_utf8_lossy(&archive);
        assert!(text.contains("vfio.ko.xz\0"));
        assert!(text.contains("module"));
    }

    #[test]
    fn the_header_names_an_executable_init_and_its_size() {
        let archive = pack(b"program", &[]);
        let text = String::from_utf8_lossy(&archive);
        assert_eq!(&text[14..22], "000081ed");
        assert_eq!(&text[54..62], "00000007");
        assert_eq!(&text[110..115], "init\0");
        assert_eq!(&archive[116..123], b"program");
    }
}
