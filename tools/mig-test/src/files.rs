// SPDX-License-Identifier: GPL-2.0
//! Files of a source tree: which there are, and what is in them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Returns the text of a file.
pub fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

/// Returns the files that are `wanted` in a folder and those below it, sorted; of a file, itself.
pub fn files(path: &Path, wanted: impl Fn(&Path) -> bool + Copy) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.into()]);
    }
    let mut found = Vec::new();
    let entries = fs::read_dir(path).with_context(|| format!("read {}", path.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() || wanted(&path) {
            found.extend(files(&path, wanted)?);
        }
    }
    found.sort();
    Ok(found)
}

/// Returns whether the name of a file ends like this, behind a dot.
pub fn is_kind(path: &Path, kind: &str) -> bool {
    path.extension().is_some_and(|extension| extension == kind)
}
