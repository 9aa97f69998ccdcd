// SPDX-License-Identifier: GPL-2.0
//! The cache folder: one folder per component, complete or absent.
//!
//! A component is built under a name that ends in `.partial`, gets its manifest last, is flushed to
//! disk and then renamed. So a component with its final name is complete, however other builds
//! ended. The name contains a digest of the recipe: a changed recipe is another name.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{ensure, Context, Result};
use rustix::fs::{flock, syncfs, FlockOperation};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::failure::unusable;

const MANIFEST: &str = "manifest.json";
const PARTIAL: &str = ".partial";

/// The manifest of a complete component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Facts found by its build: versions and the like.
    pub facts: BTreeMap<String, String>,
    /// The components it was built from, as digests of their manifests.
    pub needs: BTreeMap<String, String>,
}

impl Manifest {
    /// Identifies one build of a component.
    pub fn instance(&self) -> String {
        digest(&serde_json::to_string(self).expect("a manifest is plain data"))
    }
}

/// Returns a short name for a text; equal texts have equal names.
pub fn digest(text: &str) -> String {
    Sha256::digest(text)
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The locked cache folder. While this exists, no other process changes the folder.
pub struct Cache {
    folder: PathBuf,
    _lock: File,
}

/// One entry of the cache.
#[derive(Debug, PartialEq)]
pub enum Entry {
    /// A complete component.
    Complete {
        /// Its name without the digest.
        name: String,
        /// The digest of its recipe.
        recipe: String,
        /// Its manifest.
        manifest: Manifest,
    },
    /// A leftover of an interrupted build, or an unreadable entry.
    Debris,
}

/// Whether several processes may hold the cache.
#[derive(Clone, Copy, PartialEq)]
pub enum Access {
    /// To use components.
    Shared,
    /// To add and remove components.
    Exclusive,
}

impl Cache {
    /// Returns the folder that the environment names: `MIG_TEST_CACHE`, or `mdev-sdk` in the user's
    /// cache.
    pub fn folder() -> Result<PathBuf> {
        let var = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let home = || var("HOME").map(|home| PathBuf::from(home).join(".cache"));
        let folder = match var("MIG_TEST_CACHE") {
            Some(folder) => PathBuf::from(folder),
            None => match var("XDG_CACHE_HOME").map(PathBuf::from).or_else(home) {
                Some(cache) => cache.join("mdev-sdk"),
                None => unusable!("neither MIG_TEST_CACHE nor HOME is set. Set one of them."),
            },
        };
        Ok(std::path::absolute(folder)?)
    }

    /// Locks the cache.
    pub fn open(folder: &Path, access: Access) -> Result<Self> {
        Ok(Cache {
            folder: folder.into(),
            _lock: lock(folder, access)?,
        })
    }

    /// Returns the path of the component with this name and recipe, whether or not it exists.
    pub fn path(&self, name: &str, recipe: &str) -> PathBuf {
        self.folder.join(format!("{name}-{recipe}"))
    }

    /// Returns the folder for logs of builds, which outlast the builds.
    pub fn log(&self, name: &str) -> PathBuf {
        self.file(&format!("{name}.log"))
    }

    /// Returns the path of a file beside the components, which no set-up removes.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns the manifest of a complete component.
    pub fn manifest(&self, name: &str, recipe: &str) -> Option<Manifest> {
        read_manifest(&self.path(name, recipe))
    }

    /// Returns every folder in the cache.
    pub fn entries(&self) -> Result<Vec<(PathBuf, Entry)>> {
        let mut entries = Vec::new();
        for item in fs::read_dir(&self.folder)? {
            let path = item?.path();
            if path.is_dir() {
                let entry = classify(&path);
                entries.push((path, entry));
            }
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(entries)
    }

    /// Builds a component: `build` fills the folder that it gets and returns the facts.
    pub fn build(
        &self,
        name: &str,
        recipe: &str,
        needs: BTreeMap<String, String>,
        build: impl FnOnce(&Path) -> Result<BTreeMap<String, String>>,
    ) -> Result<Manifest> {
        let path = self.path(name, recipe);
        let mut partial = path.clone().into_os_string();
        partial.push(PARTIAL);
        let partial = PathBuf::from(partial);
        remove(&partial)?;
        remove(&path)?;
        fs::create_dir_all(&partial)?;
        let manifest = Manifest {
            facts: build(&partial)?,
            needs,
        };
        fs::write(
            partial.join(MANIFEST),
            serde_json::to_string_pretty(&manifest)?,
        )?;
        syncfs(File::open(&partial)?).context("cannot flush the cache to the disk")?;
        fs::rename(&partial, &path)?;
        Ok(manifest)
    }
}

/// Locks a folder until the file is dropped, and makes the folder if necessary. Waits, with a
/// message, while another process has the lock.
pub fn lock(folder: &Path, access: Access) -> Result<File> {
    let path = folder.join("lock");
    let file = fs::create_dir_all(folder).and_then(|()| {
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
    });
    let file = match file {
        Ok(file) => file,
        Err(error) => unusable!(
            "the folder {} cannot be used ({error}). Name another: MIG_TEST_CACHE for the cache, \
             CARGO_TARGET_DIR for results.",
            folder.display()
        ),
    };
    let (now, wait) = match access {
        Access::Shared => (
            FlockOperation::NonBlockingLockShared,
            FlockOperation::LockShared,
        ),
        Access::Exclusive => (
            FlockOperation::NonBlockingLockExclusive,
            FlockOperation::LockExclusive,
        ),
    };
    match flock(&file, now) {
        Err(Errno::WOULDBLOCK) => {
            eprintln!(
                "another mig-test uses {}: waiting for it to end ...",
                folder.display()
            );
            flock(&file, wait)?;
        }
        result => result?,
    }
    Ok(file)
}

/// Removes a folder of the cache, but never follows a mount out of it.
pub fn remove(path: &Path) -> Result<()> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    // Without its manifest it is debris, should the removal be interrupted.
    let _ = fs::remove_file(path.join(MANIFEST));
    let status = Command::new("rm")
        .args(["-rf", "--one-file-system", "--"])
        .arg(path)
        .status()?;
    ensure!(status.success(), "cannot remove {}", path.display());
    Ok(())
}

fn read_manifest(path: &Path) -> Option<Manifest> {
    serde_json::from_slice(&fs::read(path.join(MANIFEST)).ok()?).ok()
}

fn classify(path: &Path) -> Entry {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let complete = || {
        if name.ends_with(PARTIAL) {
            return None;
        }
        let (name, recipe) = name.rsplit_once('-')?;
        let manifest = read_manifest(path)?;
        Some(Entry::Complete {
            name: name.into(),
            recipe: recipe.into(),
            manifest,
        })
    };
    complete().unwrap_or(Entry::Debris)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), Access::Exclusive).unwrap();
        (folder, cache)
    }

    fn facts(value: &str) -> BTreeMap<String, String> {
        [("abi".to_string(), value.to_string())].into()
    }

    #[test]
    fn a_component_is_there_once_its_build_has_succeeded() {
        let (_folder, cache) = cache();
        let built = cache.build("root", "1234", BTreeMap::new(), |path| {
            assert!(path.to_str().unwrap().ends_with("root-1234.partial"));
            Ok(facts("7.2"))
        });
        assert_eq!(cache.manifest("root", "1234"), Some(built.unwrap()));
        assert_eq!(cache.manifest("root", "5678"), None);
    }

    #[test]
    fn a_build_that_fails_leaves_only_debris() {
        let (_folder, cache) = cache();
        let failed = cache.build("root", "1234", BTreeMap::new(), |path| {
            fs::write(path.join("half"), "made")?;
            bail!("power cut")
        });
        assert!(failed.is_err());
        assert_eq!(cache.manifest("root", "1234"), None);
        assert_eq!(cache.entries().unwrap()[0].1, Entry::Debris);
    }

    #[test]
    fn the_next_build_starts_from_an_empty_folder() {
        let (_folder, cache) = cache();
        let half = cache.path("root", "1234.partial");
        fs::create_dir(&half).unwrap();
        fs::write(half.join("left over"), "").unwrap();
        let built = cache.build("root", "1234", BTreeMap::new(), |path| {
            assert_eq!(fs::read_dir(path)?.count(), 0);
            Ok(facts("7.2"))
        });
        built.unwrap();
        assert!(!half.exists());
    }

    #[test]
    fn a_folder_with_a_torn_manifest_is_debris() {
        let (_folder, cache) = cache();
        let path = cache.path("root", "1234");
        fs::create_dir(&path).unwrap();
        fs::write(path.join(MANIFEST), "{\"facts\":").unwrap();
        assert_eq!(cache.manifest("root", "1234"), None);
        assert_eq!(cache.entries().unwrap()[0].1, Entry::Debris);
    }

    #[test]
    fn a_partial_folder_is_debris_even_with_a_manifest() {
        let (_folder, cache) = cache();
        let path = cache.path("root", "1234.partial");
        fs::create_dir(&path).unwrap();
        let manifest = Manifest {
            facts: facts("7.2"),
            needs: BTreeMap::new(),
        };
        fs::write(
            path.join(MANIFEST),
            serde_json::to_string(&manifest).unwrap(),
        )
        .unwrap();
        assert_eq!(cache.entries().unwrap()[0].1, Entry::Debris);
    }

    #[test]
    fn two_builds_of_a_component_with_other_facts_are_other_instances() {
        let manifest = |abi| Manifest {
            facts: facts(abi),
            needs: BTreeMap::new(),
        };
        assert_ne!(manifest("7.2.12").instance(), manifest("7.2.13").instance());
        assert_eq!(manifest("7.2.12").instance(), manifest("7.2.12").instance());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_refused_with_what_to_do() {
        let error = Cache::open(Path::new("/proc/none"), Access::Shared)
            .err()
            .unwrap();
        assert!(format!("{error}").contains("Name another: MIG_TEST_CACHE"));
    }
}
