// SPDX-License-Identifier: GPL-2.0
//! What the lab VM consists of, as far as there is a choice.

use clap::ValueEnum;

use super::{boot_image, debug_kernel, kernel_build, qemu_root, root};
use crate::qemu::version::Qemu;

/// The kernel of the lab VM. Guests always have the stock kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Kernel {
    /// Debian's.
    #[default]
    Stock,
    /// The one with the kernel's own checkers in it.
    Debug,
}

impl Kernel {
    /// The component with the tree that modules are built in.
    pub fn tree(self) -> &'static str {
        match self {
            Kernel::Stock => kernel_build::STOCK.name,
            Kernel::Debug => debug_kernel::DEBUG.name,
        }
    }

    /// The component with the compilers for modules.
    pub fn toolchain(self) -> &'static str {
        match self {
            Kernel::Stock => root::TRIXIE.name,
            Kernel::Debug => debug_kernel::TOOLCHAIN.name,
        }
    }

    /// How make is told of the compilers.
    pub fn compiler(self) -> String {
        match self {
            Kernel::Stock => format!("CC={}", kernel_build::CC),
            Kernel::Debug => "LLVM=1".into(),
        }
    }

    /// What the names of folders with results end in.
    pub fn suffix(self) -> &'static str {
        match self {
            Kernel::Stock => "",
            Kernel::Debug => "-debug",
        }
    }

    /// How many times longer than on the stock kernel anything may take.
    pub fn patience(self) -> u32 {
        match self {
            Kernel::Stock => 1,
            Kernel::Debug => 5,
        }
    }
}

/// A kernel for the lab VM and what its guests run under.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Platform {
    /// The kernel.
    pub kernel: Kernel,
    /// What runs guests.
    pub qemu: Qemu,
}

impl Platform {
    /// The name of a folder with what was seen there.
    pub fn folder(self) -> String {
        format!("qemu-{}{}", self.qemu.series(), self.kernel.suffix())
    }

    /// The components it needs beyond those of every command, and those too.
    pub fn components(self) -> [&'static str; 4] {
        [
            boot_image::BOOT.name,
            self.kernel.toolchain(),
            self.kernel.tree(),
            qemu_root::component(self.qemu),
        ]
    }
}
