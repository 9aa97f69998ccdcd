// SPDX-License-Identifier: GPL-2.0
//! Digests of the contents that something is built from: equal digests mean equal results. File
//! times would not do, because a checkout, a copy and a build without changes all set them. And
//! folders of results, with such a digest beside them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::cache;

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

/// A folder of results, and the stamp of what they were built from.
pub struct Results {
    folder: PathBuf,
    stamp: PathBuf,
}

impl Results {
    /// What the stamp also says if nothing in the folder was compiled with a warning. A build that
    /// changes a part of the folder is silent about the rest.
    const CLEAN: &str = " clean";

    /// Returns the folder of this name, whose stamp is beside it.
    pub fn new(target: &Path, name: &str) -> Self {
        Results {
            folder: target.join(name),
            stamp: target.join(format!("{name}.stamp")),
        }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.stamp).unwrap_or_default()
    }

    /// Returns whether they were built from exactly this.
    pub fn are_of(&self, stamp: &str) -> bool {
        let said = self.said();
        said.strip_suffix(Self::CLEAN).unwrap_or(&said) == stamp && self.folder.exists()
    }

    /// Returns whether nothing was compiled with a warning.
    pub fn are_clean(&self) -> bool {
        self.said().ends_with(Self::CLEAN) && self.folder.exists()
    }

    /// Removes the stamp during a build, so that the results of an interrupted one are not used.
    pub fn forget(&self) -> Result<()> {
        cache::remove(&self.stamp)
    }

    /// Notes what they were built from, and whether nothing was compiled with a warning.
    pub fn set(&self, stamp: &str, is_clean: bool) -> Result<()> {
        let clean = if is_clean { Self::CLEAN } else { "" };
        Ok(fs::write(&self.stamp, format!("{stamp}{clean}"))?)
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
    fn results_are_of_what_their_stamp_says_while_they_are_there() {
        let target = tempfile::tempdir().unwrap();
        let results = Results::new(target.path(), "kmod");
        assert!(!results.are_of("a") && !results.are_clean());
        fs::create_dir(target.path().join("kmod")).unwrap();
        results.set("a", false).unwrap();
        assert!(results.are_of("a") && !results.are_of("b") && !results.are_clean());
        results.set("b", true).unwrap();
        assert!(results.are_of("b") && !results.are_of("a") && results.are_clean());
        results.forget().unwrap();
        assert!(!results.are_of("b") && !results.are_clean());
        results.set("b", true).unwrap();
        fs::remove_dir(target.path().join("kmod")).unwrap();
        assert!(!results.are_of("b") && !results.are_clean());
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
