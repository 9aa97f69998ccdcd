// SPDX-License-Identifier: GPL-2.0
//! The components of the lab. To add one, write its recipe and its build, and add it to [`ALL`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::cache::{digest, remove, Cache};
use super::{boot_image, debug_kernel, qemu_root, root, stock_kernel, Choice, Kernel};
use crate::progress::Progress;

/// A part of the lab that is built once and cached.
pub struct Component {
    /// Its name in the cache.
    pub name: &'static str,
    /// Its description, for `mig-test lab status`.
    pub about: &'static str,
    /// The option of the command line that needs it, if it is not the default. Without one, every
    /// command needs it.
    pub only_for: Option<&'static str>,
    /// The disk space that its build needs, in MiB.
    pub space: u64,
    /// The components that it is built from, which must be before it in [`ALL`].
    pub needs: &'static [&'static str],
    /// Everything that determines what is built. Another text is another component.
    pub recipe: fn() -> String,
    /// Fills an empty folder and returns the facts for its users.
    pub build: fn(&Build, &Path) -> Result<BTreeMap<String, String>>,
}

/// Every component, each after those that it needs.
pub const ALL: &[Component] = &[
    root::TRIXIE,
    stock_kernel::V7_3,
    boot_image::V7_3,
    stock_kernel::V7_2,
    boot_image::V7_2,
    qemu_root::LAB,
    qemu_root::V7_2,
    qemu_root::V11_1,
    debug_kernel::TOOLCHAIN,
    debug_kernel::DEBUG,
];

/// The error if the mirror lacks packages of a component. Scenarios that need it are skipped.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// The context of a build.
pub struct Build<'a> {
    /// The components that are complete so far.
    pub lab: &'a Components,
    /// The mirror that the user has selected instead of apt's.
    pub mirror: Option<&'a str>,
    /// The file for the output of programs.
    pub log: PathBuf,
    /// The progress report.
    pub progress: &'a Progress,
}

/// A component that is complete and up to date.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Its folder.
    pub path: PathBuf,
    /// The facts found by its build.
    pub facts: BTreeMap<String, String>,
    instance: String,
}

impl Ready {
    /// Returns a fact that the component's build always records.
    pub fn fact(&self, name: &str) -> &str {
        self.facts.get(name).map_or("unknown", String::as_str)
    }

    /// Identifies this build of the component.
    pub fn instance(&self) -> &str {
        &self.instance
    }
}

/// The components that are ready, and the reasons why others are unavailable.
#[derive(Debug, Default)]
pub struct Components {
    ready: BTreeMap<&'static str, Ready>,
    unavailable: BTreeMap<&'static str, String>,
}

impl Components {
    /// Scans the cache.
    pub fn find(cache: &Cache) -> Self {
        let mut found = Components::default();
        found.refresh(cache);
        found
    }

    /// Scans the cache again, and keeps the reasons for what is unavailable.
    pub fn refresh(&mut self, cache: &Cache) {
        self.ready.clear();
        for component in ALL {
            self.add(cache, component);
        }
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
        self.ready.insert(
            component.name,
            Ready {
                path,
                facts: manifest.facts,
                instance,
            },
        );
        true
    }

    /// Returns the components that `component` would be built from, if they are ready.
    fn instances(&self, component: &Component) -> Option<BTreeMap<String, String>> {
        let instance =
            |name: &&str| Some((name.to_string(), self.ready.get(name)?.instance.clone()));
        component.needs.iter().map(instance).collect()
    }

    /// Returns the component with this name, if it is ready.
    pub fn get(&self, name: &str) -> Option<&Ready> {
        self.ready.get(name)
    }

    /// Returns the component with this name, which must be ready: for a component that needs it, or
    /// in a complete lab.
    pub fn ready(&self, name: &str) -> &Ready {
        self.get(name)
            .expect("components are built in the order of their needs")
    }

    /// Returns the reason why a component is unavailable, if it is.
    pub fn unavailable(&self, name: &str) -> Option<&str> {
        self.unavailable.get(name).map(String::as_str)
    }

    /// Returns the kernel of commands that select none. Until the root is made it is the newest one
    /// known.
    pub fn default_kernel(&self) -> Kernel {
        let root = self.get(root::TRIXIE.name);
        let name = root.map(|root| root.fact(root::DEFAULT_KERNEL));
        let known = Kernel::STOCK.into_iter();
        let mut named = known.filter(|kernel| Some(kernel.name()) == name);
        named.next().unwrap_or(Kernel::STOCK[0])
    }

    /// Returns the components that `choices` select.
    fn wanted(&self, choices: &[Choice]) -> Vec<&'static str> {
        let default = self.default_kernel();
        let platforms = choices.iter().map(|choice| choice.platform(default));
        platforms
            .flat_map(|platform| platform.components())
            .collect()
    }

    /// Returns what must be built: the components that every command needs and those in `wanted`,
    /// with the components that they are built from.
    fn missing(&self, wanted: &[&str]) -> Vec<&'static Component> {
        let mut missing = Vec::new();
        let mut wanted = wanted.to_vec();
        for component in ALL.iter().rev() {
            if component.only_for.is_some() && !wanted.contains(&component.name) {
                continue;
            }
            wanted.extend(component.needs);
            let known = self.ready.contains_key(component.name)
                || self.unavailable.contains_key(component.name);
            if !known {
                missing.insert(0, component);
            }
        }
        missing
    }

    /// Returns whether nothing must be built.
    pub fn complete(&self, choices: &[Choice]) -> bool {
        self.missing(&self.wanted(choices)).is_empty()
    }

    /// Returns the disk space for building what is missing, in bytes.
    pub fn space(&self, choices: &[Choice]) -> u64 {
        let missing = self.missing(&self.wanted(choices));
        missing.iter().map(|component| component.space << 20).sum()
    }

    /// Removes what cannot be used any more.
    pub fn remove_outdated(&self, cache: &Cache) -> Result<()> {
        for (path, _) in cache.entries()? {
            if !self.ready.values().any(|ready| ready.path == path) {
                let progress = Progress::start(format!("removing the outdated {}", path.display()));
                remove(&path)?;
                progress.done();
            }
        }
        Ok(())
    }

    /// Builds what is missing or outdated. The list may change after the build of the root, which
    /// determines the default kernel.
    pub fn set_up(
        &mut self,
        cache: &Cache,
        choices: &[Choice],
        mirror: Option<&str>,
    ) -> Result<()> {
        while let Some(component) = self.missing(&self.wanted(choices)).first() {
            let lacking = component
                .needs
                .iter()
                .find_map(|need| self.unavailable(need));
            if let Some(reason) = lacking.map(String::from) {
                self.unavailable.insert(component.name, reason);
                continue;
            }
            let progress = Progress::start(format!("building {}", component.about));
            let needs = self.instances(component).expect("needs come first");
            let log = cache.log(component.name);
            let built = cache.build(component.name, &component.digest(), needs, |path| {
                (component.build)(
                    &Build {
                        lab: self,
                        mirror,
                        log,
                        progress: &progress,
                    },
                    path,
                )
            });
            match built {
                Ok(_) => {
                    self.add(cache, component);
                    progress.done();
                }
                Err(error) if error.is::<Unavailable>() => {
                    self.unavailable
                        .insert(component.name, format!("{error:#}"));
                    progress.failed();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Component {
    /// Returns the name of the recipe.
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
    fn what_only_an_option_asks_for_is_built_only_then() {
        let names = |wanted: &[&str]| -> Vec<_> {
            let missing = Components::default().missing(wanted);
            missing.iter().map(|component| component.name).collect()
        };
        let optional = ALL.iter().find(|one| one.only_for.is_some()).unwrap().name;
        assert!(!names(&[]).contains(&optional));
        assert!(names(&[optional]).contains(&optional));
    }

    #[test]
    fn what_is_unavailable_is_not_built_again() {
        let wanted = [qemu_root::V7_2.name];
        let mut components = Components::default();
        assert_eq!(components.missing(&wanted).len(), 3);
        let reason = (wanted[0], "the mirror has none".to_string());
        components.unavailable.extend([reason]);
        assert_eq!(components.missing(&wanted).len(), 2);
        assert_eq!(
            components.unavailable(wanted[0]),
            Some("the mirror has none")
        );
    }

    /// A cache with a root that names the default kernel.
    fn rooted(folder: &Path, kernel: &str) -> Cache {
        let cache = Cache::open(folder, Access::Exclusive).unwrap();
        let root = &root::TRIXIE;
        let facts = BTreeMap::from([(root::DEFAULT_KERNEL.to_string(), kernel.to_string())]);
        cache
            .build(root.name, &root.digest(), BTreeMap::new(), |_| Ok(facts))
            .unwrap();
        cache
    }

    #[test]
    fn what_needs_something_unavailable_is_not_tried_and_gives_the_same_reason() {
        let folder = tempfile::tempdir().unwrap();
        let cache = rooted(folder.path(), "7.3");
        let mut found = Components::find(&cache);
        // All that is wanted and needs nothing else: nothing is built here.
        for component in [stock_kernel::V7_3, qemu_root::LAB] {
            let reason = "the mirror has none".to_string();
            found.unavailable.insert(component.name, reason);
        }
        found.set_up(&cache, &[Choice::default()], None).unwrap();
        assert_eq!(
            found.unavailable(boot_image::V7_3.name),
            Some("the mirror has none")
        );
    }

    #[test]
    fn the_root_says_which_kernel_a_command_needs_that_names_none() {
        let wanted = |found: Components| found.wanted(&[Choice::default()])[1];
        assert_eq!(wanted(Components::default()), stock_kernel::V7_3.name);
        let folder = tempfile::tempdir().unwrap();
        let cache = rooted(folder.path(), "7.2");
        assert_eq!(wanted(Components::find(&cache)), stock_kernel::V7_2.name);
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
