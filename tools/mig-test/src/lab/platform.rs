// SPDX-License-Identifier: GPL-2.0
//! The kernel and the QEMU of the lab VM and its guests.

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
    /// Debian's kernels, the newest series first.
    pub const STOCK: [Kernel; 2] = [Kernel::V7_3, Kernel::V7_2];

    /// Returns its name on the command line; for Debian's kernels, the series.
    pub const fn name(self) -> &'static str {
        match self {
            Kernel::V7_3 => "7.3",
            Kernel::V7_2 => "7.2",
            Kernel::Debug => "debug",
        }
    }

    /// Returns its name in reports.
    pub fn label(self) -> String {
        match self {
            Kernel::Debug => "debug kernel".into(),
            series => format!("kernel {}", series.name()),
        }
    }

    /// Returns the component with the kernel and the build tree for modules.
    pub fn tree(self) -> &'static str {
        match self {
            Kernel::V7_3 => stock_kernel::V7_3.name,
            Kernel::V7_2 => stock_kernel::V7_2.name,
            Kernel::Debug => debug_kernel::DEBUG.name,
        }
    }

    /// Returns the component with the compilers for modules.
    pub fn toolchain(self) -> &'static str {
        match self {
            Kernel::V7_3 | Kernel::V7_2 => root::TRIXIE.name,
            Kernel::Debug => debug_kernel::TOOLCHAIN.name,
        }
    }

    /// Returns make's arguments for the compilers.
    pub fn compiler(self) -> String {
        match self {
            Kernel::V7_3 | Kernel::V7_2 => format!("CC={}", stock_kernel::CC),
            Kernel::Debug => "LLVM=1".into(),
        }
    }

    /// Returns the factor for timeouts, relative to Debian's kernels.
    pub fn patience(self) -> u32 {
        match self {
            Kernel::V7_3 | Kernel::V7_2 => 1,
            Kernel::Debug => 5,
        }
    }
}

/// The platform on a command line. Without a kernel it is the default one: the newest that the
/// mirror had when the root was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Choice {
    /// The kernel.
    pub kernel: Option<Kernel>,
    /// The QEMU that runs guests.
    pub qemu: Qemu,
}

impl Choice {
    /// Creates a choice of a kernel with the usual QEMU.
    pub const fn kernel(kernel: Kernel) -> Self {
        Choice {
            kernel: Some(kernel),
            qemu: Qemu::V10_0,
        }
    }

    /// Returns the platform if `default` is the default kernel.
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
    /// The kernel of guests: one of Debian's.
    pub guest: Kernel,
    /// The QEMU that runs guests.
    pub qemu: Qemu,
}

impl Platform {
    /// Returns the name of the folder for results on this platform.
    pub fn folder(self) -> String {
        format!("qemu-{}-kernel-{}", self.qemu.series(), self.kernel.name())
    }

    /// Returns the component with the initramfs. It has modules of the guests' kernel, which may
    /// also be the lab VM's; the debug kernel does not need them.
    pub fn boot(self) -> &'static str {
        match self.guest {
            Kernel::V7_2 => boot_image::V7_2.name,
            Kernel::V7_3 | Kernel::Debug => boot_image::V7_3.name,
        }
    }

    /// Returns the components that it needs.
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
