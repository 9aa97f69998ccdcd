// SPDX-License-Identifier: GPL-2.0
//! What the lab consists of. To add a part, write its recipe and its build, and name it in [`ALL`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::cache::{digest, remove, Cache};
use super::{boot_image, kernel_build, root};
use crate::progress::Progress;

/// A part of the lab that is built once and kept.
pub struct Component {
    /// Its name in the cache.
    pub name: &'static str,
    /// What it is, for `mig-test lab status`.
    pub about: &'static str,
    /// The room that its build takes, in MiB.
    pub space: u64,
    /// The components it is built from, which stand before it in [`ALL`].
    pub needs: &'static [&'static str],
    /// Everything that decides what is built. Another text is another component.
    pub recipe: fn() -> String,
    /// Fills an empty folder and returns the facts that its users will ask for.
    pub build: fn(&Build, &Path) -> Result<BTreeMap<String, String>>,
}

/// Every component, each after those it needs.
pub const ALL: &[Component] = &[root::TRIXIE, kernel_build::STOCK, boot_image::BOOT];

/// What a build may use.
pub struct Build<'a> {
    /// The components that are complete by now.
    pub lab: &'a Components,
    /// The mirror that the user has named instead of apt's.
    pub mirror: Option<&'a str>,
    /// Where the output of programs goes.
    pub log: PathBuf,
    /// What is being done.
    pub progress: &'a Progress,
}

/// A component that is complete and up to date.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Its folder.
    pub path: PathBuf,
    /// What its build has found out.
    pub facts: BTreeMap<String, String>,
    instance: String,
}

impl Ready {
    /// A fact that the component's build always states.
    pub fn fact(&self, name: &str) -> &str {
        self.facts.get(name).map_or("unknown", String::as_str)
    }

    /// Tells this build of the component from another.
    pub fn instance(&self) -> &str {
        &self.instance
    }
}

/// The components that are ready.
#[derive(Debug, Default)]
pub struct Components(BTreeMap<&'static str, Ready>);

impl Components {
    /// Looks through the cache.
    pub fn find(cache: &Cache) -> Self {
        let mut found = Components::default();
        for component in ALL {
            found.add(cache, component);
        }
        found
    }

    fn add(&mut self, cache: &Cache, component: &Component) -> bool {
        let recipe = component.digest();
        let Some(manifest) = cache.manifest(component.name, &recipe) else {
            return false;
        };
        if self
            .instances(component)
            .is_none_or(|needs| needs != manifest.needs)
        {
            return false;
        }
        let instance = manifest.instance();
        let path = cache.path(component.name, &recipe);
        self.0.insert(
            component.name,
            Ready {
                path,
                facts: manifest.facts,
                instance,
            },
        );
        true
    }

    /// What `component` would be built from, if that is ready.
    fn instances(&self, component: &Component) -> Option<BTreeMap<String, String>> {
        let instance = |name: &&str| Some((name.to_string(), self.0.get(name)?.instance.clone()));
        component.needs.iter().map(instance).collect()
    }

    /// The component of this name, if it is ready.
    pub fn get(&self, name: &str) -> Option<&Ready> {
        self.0.get(name)
    }

    /// The component of this name, which a component that needs it, or a whole lab, always has.
    pub fn ready(&self, name: &str) -> &Ready {
        self.get(name)
            .expect("components are built in the order of their needs")
    }

    /// Whether nothing is missing.
    pub fn complete(&self) -> bool {
        ALL.iter()
            .all(|component| self.0.contains_key(component.name))
    }

    /// The room that building what is missing takes, in bytes.
    pub fn space(&self) -> u64 {
        let missing = ALL
            .iter()
            .filter(|component| self.get(component.name).is_none());
        missing.map(|component| component.space << 20).sum()
    }

    /// Removes what nobody can use any more.
    pub fn remove_outdated(&self, cache: &Cache) -> Result<()> {
        for (path, _) in cache.entries()? {
            if !self.0.values().any(|ready| ready.path == path) {
                let progress = Progress::start(format!("removing the outdated {}", path.display()));
                remove(&path)?;
                progress.done();
            }
        }
        Ok(())
    }

    /// Builds what is missing or out of date.
    pub fn set_up(cache: &Cache, mirror: Option<&str>) -> Result<Self> {
        let mut lab = Components::find(cache);
        for component in ALL {
            if lab.get(component.name).is_some() {
                continue;
            }
            let progress = Progress::start(format!("building {}", component.about));
            let needs = lab.instances(component).expect("needs come first");
            let log = cache.log(component.name);
            cache.build(component.name, &component.digest(), needs, |path| {
                (component.build)(
                    &Build {
                        lab: &lab,
                        mirror,
                        log,
                        progress: &progress,
                    },
                    path,
                )
            })?;
            lab.add(cache, component);
            progress.done();
        }
        Ok(lab)
    }
}

impl Component {
    /// Names the recipe.
    pub fn digest(&self) -> String {
        digest(&(self.recipe)())
    }
}

#[cfg(test)]
mod tests {
    use super::super::cache::Access;
    use super::*;

    #[test]
    fn components_stand_after_those_they_need() {
        for (index, component) in ALL.iter().enumerate() {
            for need in component.needs {
                let known = ALL[..index].iter().any(|earlier| earlier.name == *need);
                assert!(known, "{} needs {need}", component.name);
            }
        }
    }

    #[test]
    fn a_component_built_from_another_instance_of_its_need_is_not_ready() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), Access::Exclusive).unwrap();
        let (base, user) = (&ALL[0], &ALL[1]);
        let build = |component: &Component, abi: &str| {
            let needs = Components::find(&cache).instances(component).unwrap();
            let facts = BTreeMap::from([("abi".to_string(), abi.to_string())]);
            cache
                .build(component.name, &component.digest(), needs, |_| Ok(facts))
                .unwrap();
        };
        build(base, "7.2.12");
        build(user, "7.2.12");
        assert!(Components::find(&cache).get(user.name).is_some());
        build(base, "7.2.13");
        let found = Components::find(&cache);
        assert!(found.get(base.name).is_some());
        assert!(found.get(user.name).is_none());
    }
}
