// SPDX-License-Identifier: GPL-2.0
//! Digests of the contents that something is built from: equal digests mean equal results. File
//! times would not do, because a checkout, a copy and a build without changes all set them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// A digest that is being computed.
#[derive(Default)]
pub struct Stamp(Sha256);

impl Stamp {
    /// Adds bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        // With the length, so that no two lists of them run into the same.
        self.0.update(bytes.len().to_le_bytes());
        self.0.update(bytes);
    }

    /// Adds a file, or all files below a folder, with their names.
    pub fn path(&mut self, path: &Path) -> Result<()> {
        if path.is_dir() {
            let entries = fs::read_dir(path).with_context(|| path.display().to_string())?;
            let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
            entries.sort_by_key(fs::DirEntry::file_name);
            for entry in entries {
                self.path(&entry.path())?;
            }
        } else {
            self.bytes(path.as_os_str().as_encoded_bytes());
            self.bytes(&fs::read(path).with_context(|| path.display().to_string())?);
        }
        Ok(())
    }

    /// Returns the digest.
    pub fn finish(self) -> String {
        let digest = self.0.finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Returns the digest of contents.
pub fn of(bytes: &[u8]) -> String {
    let mut stamp = Stamp::default();
    stamp.bytes(bytes);
    stamp.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_named_by_names_and_contents_and_not_by_times() {
        let folder = tempfile::tempdir().unwrap();
        let name = || {
            let mut stamp = Stamp::default();
            stamp.path(folder.path()).unwrap();
            stamp.finish()
        };
        let write = |file: &str, text: &str| {
            let file = folder.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
            name()
        };
        let first = write("a.rs", "x");
        assert_eq!(write("a.rs", "x"), first);
        let more = write("sub/b.rs", "");
        assert_ne!(more, first);
        assert_ne!(write("sub/b.rs", "y"), more);
        fs::rename(folder.path().join("a.rs"), folder.path().join("c.rs")).unwrap();
        assert_ne!(name(), first);
    }

    #[test]
    fn lists_that_join_to_the_same_bytes_differ() {
        let name = |parts: [&str; 2]| {
            let mut stamp = Stamp::default();
            for part in parts {
                stamp.bytes(part.as_bytes());
            }
            stamp.finish()
        };
        assert_ne!(name(["ab", "c"]), name(["a", "bc"]));
    }
}
