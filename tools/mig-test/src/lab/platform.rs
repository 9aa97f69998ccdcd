// SPDX-License-Identifier: GPL-2.0
//! What the lab VM consists of, as far as there is a choice.

use clap::ValueEnum;

use super::{boot_image, debug_kernel, qemu_root, root, stock_kernel};
use crate::qemu::version::Qemu;

/// The kernel of the lab VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kernel {
    /// Debian's 7.3
    #[value(name = "7.3")]
    V7_3,
    /// Debian's 7.2
    #[value(name = "7.2")]
    V7_2,
    /// The newest of them, built with the kernel's own checkers
    Debug,
}

impl Kernel {
    /// Debian's, the newest series first.
    pub const STOCK: [Kernel; 2] = [Kernel::V7_3, Kernel::V7_2];

    /// Its name on the command line; of Debian's, the series.
    pub const fn name(self) -> &'static str {
        match self {
            Kernel::V7_3 => "7.3",
            Kernel::V7_2 => "7.2",
            Kernel::Debug => "debug",
        }
    }

    /// How a report names it.
    pub fn label(self) -> String {
        match self {
            Kernel::Debug => "debug kernel".into(),
            series => format!("kernel {}", series.name()),
        }
    }

    /// The component with the kernel and the tree that modules are built in.
    pub fn tree(self) -> &'static str {
        match self {
            Kernel::V7_3 => stock_kernel::V7_3.name,
            Kernel::V7_2 => stock_kernel::V7_2.name,
            Kernel::Debug => debug_kernel::DEBUG.name,
        }
    }

    /// The component with the compilers for modules.
    pub fn toolchain(self) -> &'static str {
        match self {
            Kernel::V7_3 | Kernel::V7_2 => root::TRIXIE.name,
            Kernel::Debug => debug_kernel::TOOLCHAIN.name,
        }
    }

    /// How make is told of the compilers.
    pub fn compiler(self) -> String {
        match self {
            Kernel::V7_3 | Kernel::V7_2 => format!("CC={}", stock_kernel::CC),
            Kernel::Debug => "LLVM=1".into(),
        }
    }

    /// How many times longer than on Debian's kernels anything may take.
    pub fn patience(self) -> u32 {
        match self {
            Kernel::V7_3 | Kernel::V7_2 => 1,
            Kernel::Debug => 5,
        }
    }
}

/// What a command line says of a platform. No kernel means the default one, which the lab knows:
/// the newest that the mirror had when the root was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Choice {
    /// The kernel.
    pub kernel: Option<Kernel>,
    /// What runs guests.
    pub qemu: Qemu,
}

impl Choice {
    /// A kernel, and the usual QEMU.
    pub const fn kernel(kernel: Kernel) -> Self {
        Choice {
            kernel: Some(kernel),
            qemu: Qemu::V10_0,
        }
    }

    /// The platform where `default` is the default kernel.
    pub fn platform(self, default: Kernel) -> Platform {
        let kernel = self.kernel.unwrap_or(default);
        Platform {
            kernel,
            guest: match kernel {
                Kernel::Debug => default,
                stock => stock,
            },
            qemu: self.qemu,
        }
    }
}

/// A kernel for the lab VM, and its guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Platform {
    /// The kernel of the lab VM.
    pub kernel: Kernel,
    /// That of guests: one of Debian's.
    pub guest: Kernel,
    /// What runs guests.
    pub qemu: Qemu,
}

impl Platform {
    /// The name of a folder with what was seen there.
    pub fn folder(self) -> String {
        format!("qemu-{}-kernel-{}", self.qemu.series(), self.kernel.name())
    }

    /// The component with the initramfs. It has modules of the guests' kernel, which may be the lab
    /// VM's; the debug kernel needs none of it.
    pub fn boot(self) -> &'static str {
        match self.guest {
            Kernel::V7_2 => boot_image::V7_2.name,
            Kernel::V7_3 | Kernel::Debug => boot_image::V7_3.name,
        }
    }

    /// The components it needs.
    pub fn components(self) -> [&'static str; 5] {
        [
            self.boot(),
            self.guest.tree(),
            self.kernel.toolchain(),
            self.kernel.tree(),
            qemu_root::component(self.qemu),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_command_line() {
        for kernel in Kernel::value_variants() {
            let name = kernel.to_possible_value().unwrap();
            assert_eq!(name.get_name(), kernel.name());
        }
    }

    #[test]
    fn guests_run_the_labs_kernel_and_under_the_debug_kernel_the_default_one() {
        let platform = |kernel| {
            Choice {
                kernel,
                ..Choice::default()
            }
            .platform(Kernel::V7_2)
        };
        let pair = |kernel| (platform(kernel).kernel, platform(kernel).guest);
        assert_eq!(pair(None), (Kernel::V7_2, Kernel::V7_2));
        assert_eq!(pair(Some(Kernel::V7_3)), (Kernel::V7_3, Kernel::V7_3));
        assert_eq!(pair(Some(Kernel::Debug)), (Kernel::Debug, Kernel::V7_2));
    }

    #[test]
    fn what_was_seen_on_two_kernels_is_kept_apart() {
        let folder = |kernel| Choice::kernel(kernel).platform(Kernel::V7_3).folder();
        assert_ne!(folder(Kernel::V7_3), folder(Kernel::V7_2));
        assert_ne!(folder(Kernel::V7_3), folder(Kernel::Debug));
    }
}
